import { ATOM, isAll } from './chars.js';
import { encodeMutf7 } from './mutf7.js';

/**
 * Pieces of server responses. Functions that may need a literal or carry a message's own octets return a Buffer; the
 * others return text to be written as UTF-8, which is ASCII but for mailbox names in UTF-8 mode.
 */

/** RFC 9051 §9 nil. */
export const NIL = 'NIL';

/** Longer strings become literals: some clients have fixed buffers for a quoted string. */
const MAX_QUOTED = 1_000;

/** The text is for people; an upstream's may be of any length. */
const MAX_TEXT = 500;

const CRLF = Buffer.from('\r\n');

/** `quoted` for text in printable ASCII or TAB; null when it needs a literal (CR, LF, NUL, other controls, 8-bit). */
export function formatQuoted(text: string): string | null {
  if (!/^[\t\x20-\x7e]*$/.test(text)) return null;
  return `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/** `string`: quoted where short and printable ASCII, else a literal. Text is encoded in UTF-8. */
export function formatString(value: Buffer | string): Buffer {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value;
  const quoted = bytes.length <= MAX_QUOTED ? formatQuoted(bytes.toString('latin1')) : null;
  return quoted === null ? formatLiteral(bytes) : Buffer.from(quoted, 'latin1');
}

/** `nstring`: NIL for null. */
export function formatNstring(value: Buffer | string | null): Buffer {
  return value === null ? Buffer.from(NIL) : formatString(value);
}

/** `{n}` CRLF and the octets. */
export function formatLiteral(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from(literalHeader(bytes.length)), bytes]);
}

/** `{n}` CRLF, with `~` in front for octets that may hold NUL (RFC 9051 §9 literal8); the octets follow. */
export function literalHeader(size: number, { binary = false }: { binary?: boolean } = {}): string {
  return `${binary ? '~' : ''}{${size}}\r\n`;
}

/** `astring` for text that may be an atom; a literal where it cannot be quoted. */
export function formatAstring(text: string): string {
  if (isAll(text, ATOM) && text.toUpperCase() !== NIL) return text;
  return formatQuoted(text) ?? `${literalHeader(Buffer.byteLength(text))}${text}`;
}

/**
 * `mailbox` in a response: always quoted, which every client reads. In modified UTF-7, or as UTF-8 with `utf8`
 * (RFC 6855 §3, RFC 9051 §5.1).
 */
export function formatMailbox(name: string, { utf8 }: { utf8: boolean }): string {
  if (!utf8) return `"${encodeMutf7(name).replace(/["\\]/g, '\\$&')}"`;
  if (/[\0\r\n]/.test(name)) return `${literalHeader(Buffer.byteLength(name))}${name}`;
  return `"${name.replace(/["\\]/g, '\\$&')}"`;
}

/** `"(" [flag *(SP flag)] ")"`; also for lists of attributes. */
export function formatFlagList(flags: Iterable<string>): string {
  return `(${[...flags].join(' ')})`;
}

/** Hierarchy delimiter of LIST: `QUOTED-CHAR` in quotes, or NIL. */
export function formatDelimiter(delimiter: string | null): string {
  return delimiter === null ? NIL : `"${delimiter.replace(/["\\]/g, '\\$&')}"`;
}

/**
 * Human-readable text of a status response (`resp-text`, RFC 9051 §9): one line, in ASCII unless `utf8`; never empty,
 * and never beginning with `[`, which would read as a response code.
 */
export function formatText(text: string, { utf8 = false }: { utf8?: boolean } = {}): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not get through
  const line = text.replace(/[\x00-\x1f\x7f]+/g, ' ').trim();
  const safe = utf8 ? line : line.replace(/[^\x20-\x7e]+/g, '?');
  const short = safe.length > MAX_TEXT ? `${safe.slice(0, MAX_TEXT)}...` : safe;
  if (short === '') return '-';
  return short.startsWith('[') ? `- ${short}` : short;
}

/** Joins text and octets into one Buffer, with CRLF at the end. */
export function formatLine(parts: readonly (Buffer | string)[]): Buffer {
  const buffers = parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part));
  return Buffer.concat([...buffers, CRLF]);
}
