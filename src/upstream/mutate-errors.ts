import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';
import { loginRefusal, type Refusal, refusal } from './errors.js';

/** What imapflow hangs on its errors. */
interface LibraryError {
  readonly code?: unknown;
  readonly authenticationFailed?: unknown;
  readonly responseStatus?: unknown;
  readonly responseText?: unknown;
  readonly serverResponseCode?: unknown;
  readonly response?: unknown;
  readonly reason?: unknown;
  readonly mailboxMissing?: unknown;
}

const TIMEOUTS = new Set(['CONNECT_TIMEOUT', 'GREETING_TIMEOUT', 'UPGRADE_TIMEOUT', 'ETIMEOUT', 'ETIMEDOUT']);
const PROTOCOL =
  /^(UnexpectedTag|InvalidResponse|ResponseProcessingFailed|STARTTLS_INJECTION|ParserError.*|MAX_IMAP_NESTING_REACHED|(Line|Literal|Response)TooLarge)$/;

/** Any error of imapflow in the port's words; MergeboxErrors pass through. */
export function libraryError(doing: string, thrown: unknown): MergeboxError {
  if (isMergeboxError(thrown)) return thrown;
  const error: LibraryError = typeof thrown === 'object' && thrown !== null ? thrown : {};
  const refused = refusalOf(error);
  const text = `${doing}: ${describe(thrown, error)}`;
  if (error.authenticationFailed === true || /unsupported authentication mechanism/i.test(errorText(thrown))) {
    return refused === null ? new MergeboxError('authentication', text) : loginRefusal(doing, refused);
  }
  if (error.mailboxMissing === true) return new MergeboxError('nonexistent', `${doing}: no such folder`);
  if (refused !== null) return refusal(doing, refused);
  const code = typeof error.code === 'string' ? error.code : '';
  if (TIMEOUTS.has(code)) return new MergeboxError('timeout', text);
  if (PROTOCOL.test(code)) return new MergeboxError('protocol', text);
  return new MergeboxError('connection', text);
}

function describe(thrown: unknown, error: LibraryError): string {
  return typeof error.reason === 'string' ? `${errorText(thrown)} (${error.reason})` : errorText(thrown);
}

function refusalOf(error: LibraryError): Refusal | null {
  const status = error.responseStatus;
  if (status !== 'NO' && status !== 'BAD') return null;
  const text = typeof error.responseText === 'string' ? error.responseText.slice(0, 1_000) : '';
  const code = typeof error.serverResponseCode === 'string' ? error.serverResponseCode : codeIn(error.response);
  return { status, code, text };
}

/** A response as imapflow parses it, as far as it is looked at here. */
export interface ParsedResponse {
  readonly command?: string;
  readonly attributes?: readonly unknown[];
}

/** The words of the response code, such as `['APPENDUID', '38505', '3955']`; empty when there is none. */
export function responseCode(response: unknown): readonly string[] {
  const attributes = (response as ParsedResponse | null | undefined)?.attributes;
  const first = Array.isArray(attributes) ? (attributes[0] as { section?: unknown } | null) : null;
  if (!Array.isArray(first?.section)) return [];
  return first.section.map((token: { value?: unknown } | null) => String(token?.value ?? ''));
}

function codeIn(response: unknown): string | null {
  return responseCode(response)[0]?.toUpperCase() ?? null;
}
