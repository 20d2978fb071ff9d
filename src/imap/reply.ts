import { type ErrorCode, MergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { formatText } from '../wire/format.js';
import { ParseError } from '../wire/parse-error.js';

/** The tagged answer to a command. */
export interface Reply {
  readonly status: 'OK' | 'NO' | 'BAD';
  /** Response code without its brackets (RFC 9051 §7.1). */
  readonly code?: string;
  readonly text: string;
  /** The code is the HIGHESTMODSEQ that the client is told of by then, when it enabled QRESYNC (RFC 7162 §3.2.7). */
  readonly tellsModSeq?: boolean;
  /** What happens once the reply is on its way: TLS begins, the connection ends. */
  readonly after?: () => Promise<void>;
}

export function ok(text: string, code?: string): Reply {
  return code === undefined ? { status: 'OK', text } : { status: 'OK', text, code };
}

export function no(text: string, code?: string): Reply {
  return code === undefined ? { status: 'NO', text } : { status: 'NO', text, code };
}

export function bad(text: string): Reply {
  return { status: 'BAD', text };
}

/** The answer to a change in a mailbox opened with EXAMINE (RFC 9051 §6.3.3). */
export function readOnlyReply(): Reply {
  return no('The mailbox is open for reading only', 'READ-ONLY');
}

/** Response codes of RFC 5530, RFC 9051 §7.1 and RFC 7889 by error code; the codes left out are faults of ours. */
const CODES: Readonly<Partial<Record<ErrorCode, string>>> = {
  nonexistent: 'NONEXISTENT',
  alreadyexists: 'ALREADYEXISTS',
  cannot: 'CANNOT',
  noperm: 'NOPERM',
  trycreate: 'TRYCREATE',
  limit: 'LIMIT',
  toobig: 'TOOBIG',
  overquota: 'OVERQUOTA',
  unavailable: 'UNAVAILABLE',
  timeout: 'UNAVAILABLE',
  connection: 'UNAVAILABLE',
  authentication: 'UNAVAILABLE',
  refused: 'CANNOT',
  uidvalidity: 'NONEXISTENT',
  aborted: 'UNAVAILABLE',
  corrupt: 'CONTACTADMIN',
};

/**
 * The one place where errors become answers: what the client wrote wrong is BAD, what cannot be done is NO with its
 * code, everything else is a fault of ours, logged and told without detail.
 */
export function replyToError(error: unknown, log: Log): Reply {
  if (error instanceof ParseError) return bad(formatText(error.message));
  if (error instanceof MergeboxError) {
    const code = CODES[error.code];
    if (code !== undefined) return no(formatText(error.message), code);
  }
  log.error({ err: error }, 'a command failed');
  return no('Internal error, see the server log', 'SERVERBUG');
}

/** `tag OK [CODE] text`, with its line end. */
export function replyLine(tag: string, reply: Reply): string {
  const code = reply.code === undefined ? '' : `[${reply.code}] `;
  return `${tag} ${reply.status} ${code}${reply.text}\r\n`;
}
