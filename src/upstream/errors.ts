import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';

/** The server answered NO or BAD. `responseCode` tells which retry can help (RFC 5530), where the server gave one. */
export class RefusedError extends MergeboxError {
  /** Upper case, such as `OVERQUOTA`; null when the server gave none. */
  readonly responseCode: string | null;
  /** The server's own words. */
  readonly serverText: string;

  constructor(doing: string, refusal: Refusal) {
    const code = refusal.code === null ? '' : `[${refusal.code}] `;
    super('refused', `${doing}: the server refused: ${code}${refusal.text || refusal.status}`);
    this.name = 'RefusedError';
    this.responseCode = refusal.code;
    this.serverText = refusal.text;
  }
}

export interface Refusal {
  readonly status: 'NO' | 'BAD';
  readonly code: string | null;
  readonly text: string;
}

/** The error of a refused command: `nonexistent` when the server says so (RFC 5530, RFC 9051 TRYCREATE). */
export function refusal(doing: string, refused: Refusal): MergeboxError {
  if (refused.code === 'NONEXISTENT' || refused.code === 'TRYCREATE') {
    return new MergeboxError('nonexistent', `${doing}: ${refused.text || 'no such folder'}`);
  }
  return new RefusedError(doing, refused);
}

/** What a server out of order says instead of judging the password. */
const NOT_NOW =
  /too many|maximum number|temporar|try again|unavailable|not available|limit|busy|internal error|timed? ?out/i;
const NOT_NOW_CODES = new Set(['UNAVAILABLE', 'LIMIT', 'INUSE', 'SERVERBUG', 'OVERQUOTA', 'THROTTLED']);
const LOGIN_CODES = new Set([
  'AUTHENTICATIONFAILED',
  'AUTHORIZATIONFAILED',
  'EXPIRED',
  'PRIVACYREQUIRED',
  'CONTACTADMIN',
]);

/**
 * The error of a refused login (RFC 5530 §3): `authentication` for what only a person can change, `connection` for a
 * server that cannot tell now, so that a busy one is not taken for a wrong password.
 */
export function loginRefusal(doing: string, refused: Refusal): MergeboxError {
  const code = refused.code === null ? '' : `[${refused.code}] `;
  const text = `${doing}: the server refused the login: ${code}${refused.text || refused.status}`;
  const wrong = refused.code !== null && LOGIN_CODES.has(refused.code);
  const notNow = refused.code !== null && NOT_NOW_CODES.has(refused.code);
  if (!wrong && (notNow || NOT_NOW.test(refused.text))) return new MergeboxError('connection', text);
  return new MergeboxError('authentication', text);
}

/** Any failure of a socket as a MergeboxError: itself when it is one, else `connection`. */
export function connectionError(doing: string, error: unknown): MergeboxError {
  if (isMergeboxError(error)) return error;
  return new MergeboxError('connection', `${doing}: ${errorText(error)}`, { cause: error });
}

export function abortedError(doing: string): MergeboxError {
  return new MergeboxError('aborted', `${doing}: called off`);
}
