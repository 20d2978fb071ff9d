import { ATOM, scan, TAG } from './chars.js';
import { MAX_COMMAND_NAME, MAX_TAG } from './limits.js';

/** The start of a command line: its tag and name. */
export interface CommandHead {
  readonly tag: string;
  /** Upper case, without `UID`. */
  readonly name: string;
  readonly uid: boolean;
  /** Where the arguments start: the offset behind the name. */
  readonly end: number;
}

/** Why a line has no head; the tag where that at least is there. */
export interface HeadFault {
  readonly tag: string | null;
  readonly reason: string;
}

/** `tag SP command`, where `command` is `[ "UID" SP ] atom`, at the start of `line`. */
export function parseHead(line: Buffer): CommandHead | HeadFault {
  const tagEnd = scan(line, 0, TAG);
  if (tagEnd === 0) return { tag: null, reason: line.length === 0 ? 'Empty line' : 'Expected a tag' };
  if (tagEnd > MAX_TAG) return { tag: null, reason: `A tag is longer than ${MAX_TAG} octets` };
  const tag = line.toString('latin1', 0, tagEnd);
  // The tag is echoed only if it surely is one.
  if (tagEnd === line.length) return { tag, reason: 'Expected a command' };
  if (line[tagEnd] !== 0x20) return { tag: null, reason: 'Expected a tag' };
  const first = commandName(line, tagEnd + 1);
  if (first === null) return { tag, reason: 'Expected a command' };
  if (first.name !== 'UID') return { tag, uid: false, ...first };
  const second = line[first.end] === 0x20 ? commandName(line, first.end + 1) : null;
  return second === null ? { tag, reason: 'Expected a command after UID' } : { tag, uid: true, ...second };
}

function commandName(line: Buffer, start: number): { name: string; end: number } | null {
  const end = scan(line, start, ATOM);
  if (end === start || end - start > MAX_COMMAND_NAME) return null;
  return { name: line.toString('latin1', start, end).toUpperCase(), end };
}

/** `{n}`, `{n+}`, `~{n}`, `~{n+}` at the end of a line. */
export interface LiteralHeader {
  /** Infinity above 2^53-1. */
  readonly size: number;
  readonly nonSync: boolean;
  readonly binary: boolean;
  /** Where the header starts in the line. */
  readonly start: number;
}

const HEADER = /(~?)\{(\d{1,20})(\+?)\}$/;
/** The most characters a header has. */
export const LITERAL_HEADER_LENGTH = 24;

/** The literal that `line` announces at its end (RFC 9051 §4.3, RFC 7888), if any. */
export function parseLiteralHeader(line: Buffer): LiteralHeader | null {
  if (line[line.length - 1] !== 0x7d) return null;
  const tail = line.toString('latin1', Math.max(0, line.length - LITERAL_HEADER_LENGTH));
  const match = HEADER.exec(tail);
  if (match === null) return null;
  const size = Number(match[2]);
  return {
    size: Number.isSafeInteger(size) ? size : Number.POSITIVE_INFINITY,
    nonSync: match[3] === '+',
    binary: match[1] === '~',
    start: line.length - match[0].length,
  };
}
