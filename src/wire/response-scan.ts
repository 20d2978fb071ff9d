import { MergeboxError } from '../util/errors.js';
import { MAX_NESTING } from './response-limits.js';

/** Byte-level reading of server data; positions are absolute in `bytes`, and nothing here allocates. */

const SP = 32;
const QUOTE = 34;
const PAREN_OPEN = 40;
const PAREN_CLOSE = 41;
const BACKSLASH = 92;
const BRACE_OPEN = 123;
const TILDE = 126;

/** The error for data that break the grammar; `what` names the item. */
export function badResponse(what: string, bytes: Buffer, at: number): MergeboxError {
  const near = bytes
    .toString('latin1', Math.max(0, at - 20), Math.min(bytes.length, at + 20))
    .replace(/[^\x20-\x7e]/g, '?');
  return new MergeboxError('protocol', `the server's ${what} is malformed near: ${near}`);
}

/** A number of at most 19 digits at `at`, precise up to 2^53; -1 when there is none. */
export function numberAt(bytes: Buffer, at: number, end: number): number {
  let value = 0;
  let digit = at < end ? bytes[at]! - 48 : -1;
  if (digit < 0 || digit > 9) return -1;
  let next = at;
  do {
    value = value * 10 + digit;
    next += 1;
    digit = next < end ? bytes[next]! - 48 : -1;
  } while (digit >= 0 && digit <= 9 && next - at < 20);
  return next - at < 20 ? value : -1;
}

/** The position behind the digits at `at`. */
export function skipDigits(bytes: Buffer, at: number, end: number): number {
  let next = at;
  while (next < end && bytes[next]! >= 48 && bytes[next]! <= 57) next += 1;
  return next;
}

/** The position behind the quoted string whose opening quote is at `at`; -1 when it does not end. */
export function skipQuoted(bytes: Buffer, at: number, end: number): number {
  let next = at + 1;
  while (next < end) {
    const byte = bytes[next]!;
    if (byte === QUOTE) return next + 1;
    next += byte === BACKSLASH ? 2 : 1;
  }
  return -1;
}

/** The position behind the literal whose `{` is at `at`; -1 when its size leads past `end`. */
export function skipLiteral(bytes: Buffer, at: number, end: number, streamed: readonly number[] | null): number {
  const content = literalContent(bytes, at, end);
  if (content === -1) return -1;
  if (streamed?.includes(at)) return content;
  const next = content + numberAt(bytes, at + 1, end);
  return next <= end ? next : -1;
}

/** Where the octets of the literal at `at` begin: behind `{n}` or `{n+}` and the line end; -1 for no literal. */
export function literalContent(bytes: Buffer, at: number, end: number): number {
  let next = skipDigits(bytes, at + 1, end);
  if (next === at + 1) return -1;
  if (bytes[next] === 43) next += 1;
  if (bytes[next] !== 125) return -1;
  next += 1;
  if (bytes[next] === 13) next += 1;
  return bytes[next] === 10 && next < end ? next + 1 : -1;
}

/**
 * The position behind the value at `at`: an atom, number, NIL, quoted string, literal or parenthesised list of values.
 * Throws `protocol` when it has no end or nests deeper than `MAX_NESTING`; `what` names it in the error.
 */
export function skipValue(
  bytes: Buffer,
  at: number,
  end: number,
  streamed: readonly number[] | null,
  what: string,
): number {
  let depth = 0;
  let next = at;
  while (next < end) {
    const byte = bytes[next]!;
    if (byte === QUOTE) {
      next = skipQuoted(bytes, next, end);
    } else if (byte === PAREN_OPEN) {
      depth += 1;
      next += 1;
      if (depth > MAX_NESTING) throw badResponse(`${what} (nested too deeply)`, bytes, at);
      continue;
    } else if (byte === PAREN_CLOSE) {
      // At the top it ends the list that this value stands in.
      if (depth === 0) return next;
      depth -= 1;
      next += 1;
    } else if (byte === BRACE_OPEN || (byte === TILDE && bytes[next + 1] === BRACE_OPEN)) {
      next = skipLiteral(bytes, byte === TILDE ? next + 1 : next, end, streamed);
    } else if (byte === SP) {
      if (depth === 0) return next;
      next += 1;
      continue;
    } else {
      next = skipAtom(bytes, next, end);
    }
    if (next === -1) throw badResponse(what, bytes, at);
    if (depth === 0) return next;
  }
  if (depth > 0) throw badResponse(what, bytes, at);
  return next;
}

/** An atom as servers write it: whatever does not end it, so that odd ones in BODYSTRUCTURE do no harm. */
function skipAtom(bytes: Buffer, at: number, end: number): number {
  let next = at + 1;
  while (next < end) {
    const byte = bytes[next]!;
    if (byte === SP || byte === PAREN_OPEN || byte === PAREN_CLOSE || byte === QUOTE) break;
    next += 1;
  }
  return next;
}

/** What the string or literal at `at`…`end` says, copied; null for NIL. `end` is what `skipValue` returned. */
export function stringContent(bytes: Buffer, at: number, end: number): Buffer | null {
  const byte = bytes[at];
  if (byte === BRACE_OPEN || byte === TILDE) {
    const content = literalContent(bytes, byte === TILDE ? at + 1 : at, end);
    return content === -1 ? null : copyOf(bytes, content, end);
  }
  if (byte === QUOTE) return unquote(bytes, at + 1, end - 1);
  if (end - at === 3 && bytes.toString('latin1', at, end).toUpperCase() === 'NIL') return null;
  return copyOf(bytes, at, end);
}

function unquote(bytes: Buffer, start: number, end: number): Buffer {
  const content = copyOf(bytes, start, end);
  if (!content.includes(BACKSLASH)) return content;
  let length = 0;
  for (let at = 0; at < content.length; at += 1) {
    if (content[at] === BACKSLASH) at += 1;
    content[length] = content[at] ?? 0;
    length += 1;
  }
  return content.subarray(0, length);
}

function copyOf(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(Math.max(0, end - start));
  bytes.copy(copy, 0, start, end);
  return copy;
}

/** Whether `upper` stands at `at`, ASCII letters compared without case. */
export function matches(bytes: Buffer, at: number, upper: string): boolean {
  for (let index = 0; index < upper.length; index += 1) {
    const byte = bytes[at + index]!;
    const code = upper.charCodeAt(index);
    if (byte !== code && !(byte >= 97 && byte <= 122 && byte - 32 === code)) return false;
  }
  return true;
}
