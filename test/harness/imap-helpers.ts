import { type ImapClient, quoted } from './imap-client.js';

/** One message of a folder, as assertions want it. */
export interface ListedMessage {
  readonly uid: number;
  /** In the server's order, without \Recent. */
  readonly flags: readonly string[];
  /** The Message-ID header field with its brackets, or null. */
  readonly messageId: string | null;
  readonly subject: string | null;
  readonly size: number;
}

/** All of `folder` in UID order, read-only. */
export async function listFolder(client: ImapClient, folder: string): Promise<ListedMessage[]> {
  await client.ok(`EXAMINE ${quoted(folder)}`);
  const { untagged } = await client.ok(
    'UID FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[HEADER.FIELDS (MESSAGE-ID SUBJECT)])',
  );
  return untagged
    .filter((response) => /^\d+ FETCH .*\bUID \d+/s.test(response))
    .map(parseListed)
    .sort((a, b) => a.uid - b.uid);
}

function parseListed(response: string): ListedMessage {
  const number = (item: string): number => Number(new RegExp(`\\b${item} (\\d+)`).exec(response)?.[1]);
  const header = response.slice(response.indexOf('{')).replace(/\r\n[ \t]+/g, ' ');
  const field = (name: string): string | null =>
    new RegExp(`^${name}:[ \\t]*(.*?)\\r?$`, 'im').exec(header)?.[1]?.trim() ?? null;
  return {
    uid: number('UID'),
    flags: flagsOf(response),
    messageId: field('Message-ID'),
    subject: field('Subject'),
    size: number('RFC822\\.SIZE'),
  };
}

/** The flags that a FETCH response tells, without \Recent. */
export function flagsOf(response: string): string[] {
  const list = /\bFLAGS \(([^)]*)\)/.exec(response)?.[1] ?? '';
  return list.split(' ').filter((flag) => flag !== '' && flag !== '\\Recent');
}

/** The octets of the first literal in a response. */
export function literalOf(response: string): Buffer {
  const match = /\{(\d+)\}\r\n/.exec(response);
  if (match === null) throw new Error(`no literal in: ${response.slice(0, 200)}`);
  const start = match.index + match[0].length;
  return Buffer.from(response.slice(start, start + Number(match[1])), 'latin1');
}

/** APPENDs and resolves to the UID of APPENDUID (RFC 4315 §3); 0 where the server does not tell. */
export async function appendMessage(
  client: ImapClient,
  folder: string,
  message: Buffer | string,
  flags: readonly string[] = [],
  date?: Date,
): Promise<number> {
  const octets = crlf(message);
  const time = date === undefined ? '' : ` ${imapDate(date)}`;
  const reply = await client.ok(`APPEND ${quoted(folder)} (${flags.join(' ')})${time} {}`, octets);
  return Number(/\[APPENDUID \d+ (\d+)\]/.exec(reply.text)?.[1] ?? 0);
}

/** The text with CRLF line ends; a Buffer is taken as it is. */
export function crlf(message: Buffer | string): Buffer {
  return typeof message === 'string' ? Buffer.from(message.replace(/\r?\n/g, '\r\n')) : message;
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** `"dd-Mon-yyyy hh:mm:ss +0000"` with its quotes (RFC 9051 date-time). */
export function imapDate(date: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const day = `${String(date.getUTCDate()).padStart(2, ' ')}-${MONTHS[date.getUTCMonth()]}-${date.getUTCFullYear()}`;
  return `"${day} ${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())} +0000"`;
}
