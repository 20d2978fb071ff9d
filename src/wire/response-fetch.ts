import { badResponse, literalContent, numberAt, skipDigits, skipValue } from './response-scan.js';

/**
 * What one FETCH response says, as positions in its bytes: -1 where an item is missing. One instance serves all
 * responses of a connection, since objects per message are what makes clients slow.
 */
export class FetchItems {
  /** The message's sequence number. */
  sequence = -1;
  uid = -1;
  /** Octets of the message (RFC822.SIZE). */
  size = -1;
  /** INTERNALDATE in seconds since the Unix epoch; `NO_DATE` when missing or senseless. */
  date = NO_DATE;
  /** Between the parentheses of FLAGS. */
  flagsStart = -1;
  flagsEnd = -1;
  /** The digits of MODSEQ. */
  modSeqStart = -1;
  modSeqEnd = -1;
  /** ENVELOPE with its parentheses. */
  envelopeStart = -1;
  envelopeEnd = -1;
  /** BODYSTRUCTURE with its parentheses. */
  structureStart = -1;
  structureEnd = -1;
  /** BODY[HEADER] or RFC822.HEADER: the string with its quotes, or the literal with its `{size}`. */
  headerStart = -1;
  headerEnd = -1;
  /** The last of any other BODY[…], the same way. */
  bodyStart = -1;
  bodyEnd = -1;

  reset(): void {
    this.sequence = -1;
    this.uid = -1;
    this.size = -1;
    this.date = NO_DATE;
    this.flagsStart = -1;
    this.modSeqStart = -1;
    this.envelopeStart = -1;
    this.structureStart = -1;
    this.headerStart = -1;
    this.bodyStart = -1;
  }
}

/** Stands for no date; no date is before the year 0. */
export const NO_DATE = Number.NEGATIVE_INFINITY;

const SP = 32;
const PAREN_OPEN = 40;
const PAREN_CLOSE = 41;

/** Whether `* n FETCH (` begins the response. */
export function isFetch(bytes: Buffer, start: number, end: number): boolean {
  // `* 1 FETCH` has nine octets.
  if (end - start < 9 || bytes[start] !== 42 || bytes[start + 1] !== SP) return false;
  const digits = skipDigits(bytes, start + 2, end);
  return digits > start + 2 && bytes[digits] === SP && isWord(bytes, digits + 1, end, 'FETCH');
}

function isWord(bytes: Buffer, at: number, end: number, upper: string): boolean {
  const next = at + upper.length;
  if (next > end || (next < end && bytes[next] !== SP)) return false;
  return matches(bytes, at, upper);
}

/** Compares ASCII letters without case. */
function matches(bytes: Buffer, at: number, upper: string): boolean {
  for (let index = 0; index < upper.length; index += 1) {
    const byte = bytes[at + index]!;
    const code = upper.charCodeAt(index);
    if (byte !== code && !(byte >= 97 && byte <= 122 && byte - 32 === code)) return false;
  }
  return true;
}

/**
 * Reads a FETCH response (RFC 9051 §7.5.2: `msg-att`), for which `isFetch` holds, in one pass. Unknown items are passed
 * over. Throws `protocol` when it is malformed.
 */
export function parseFetch(
  bytes: Buffer,
  start: number,
  end: number,
  streamed: readonly number[] | null,
  items: FetchItems,
): void {
  items.reset();
  items.sequence = numberAt(bytes, start + 2, end);
  let at = skipDigits(bytes, start + 2, end) + 7;
  if (bytes[at] !== PAREN_OPEN) throw badResponse('FETCH', bytes, at);
  at += 1;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === PAREN_CLOSE) return;
    if (byte === SP) {
      at += 1;
      continue;
    }
    const nameEnd = itemNameEnd(bytes, at, end);
    const value = bytes[nameEnd] === SP ? nameEnd + 1 : nameEnd;
    if (nameEnd === at || value >= end) throw badResponse('FETCH', bytes, at);
    at = takeItem(bytes, at, nameEnd, value, end, streamed, items);
  }
  throw badResponse('FETCH', bytes, end);
}

/** Behind the item's name with its section and origin: `BODY[HEADER.FIELDS (A B)]<0>`. */
function itemNameEnd(bytes: Buffer, at: number, end: number): number {
  let next = at;
  while (next < end) {
    const byte = bytes[next]!;
    if (byte === SP || byte === PAREN_OPEN || byte === PAREN_CLOSE) return next;
    if (byte === 91) {
      // Header names in a section may be quoted, but a `]` in one is nothing that Mergebox asks for.
      const close = bytes.indexOf(93, next);
      if (close === -1 || close >= end) throw badResponse('FETCH', bytes, at);
      next = close;
    }
    next += 1;
  }
  return next;
}

function takeItem(
  bytes: Buffer,
  name: number,
  nameEnd: number,
  value: number,
  end: number,
  streamed: readonly number[] | null,
  items: FetchItems,
): number {
  const length = nameEnd - name;
  switch (bytes[name]! & 0xdf) {
    case 85: // U
      if (length === 3 && matches(bytes, name, 'UID')) {
        items.uid = numberAt(bytes, value, end);
        return skipDigits(bytes, value, end);
      }
      break;
    case 70: // F
      if (length === 5 && matches(bytes, name, 'FLAGS')) return takeFlags(bytes, value, end, items);
      break;
    case 77: // M
      if (length === 6 && matches(bytes, name, 'MODSEQ')) return takeModSeq(bytes, value, end, items);
      break;
    case 73: // I
      if (length === 12 && matches(bytes, name, 'INTERNALDATE')) {
        items.date = parseInternalDate(bytes, value, end);
      }
      break;
    case 69: // E
      if (length === 8 && matches(bytes, name, 'ENVELOPE')) {
        items.envelopeStart = value;
        items.envelopeEnd = skipValue(bytes, value, end, streamed, 'ENVELOPE');
        return items.envelopeEnd;
      }
      break;
    case 82: // R
      return takeRfc822(bytes, name, length, value, end, streamed, items);
    case 66: // B
      return takeBody(bytes, name, length, value, end, streamed, items);
  }
  return skipValue(bytes, value, end, streamed, 'FETCH item');
}

function takeFlags(bytes: Buffer, value: number, end: number, items: FetchItems): number {
  if (bytes[value] !== PAREN_OPEN) throw badResponse('FLAGS', bytes, value);
  // Flags are atoms, so the first closing parenthesis ends them.
  let at = value + 1;
  while (at < end && bytes[at] !== PAREN_CLOSE) at += 1;
  if (at === end) throw badResponse('FLAGS', bytes, value);
  items.flagsStart = value + 1;
  items.flagsEnd = at;
  return at + 1;
}

/** RFC 7162 §3.1.4.2: `MODSEQ (12111230047)`. */
function takeModSeq(bytes: Buffer, value: number, end: number, items: FetchItems): number {
  const digits = bytes[value] === PAREN_OPEN ? value + 1 : value;
  const after = skipDigits(bytes, digits, end);
  if (after > digits && after - digits < 20) {
    items.modSeqStart = digits;
    items.modSeqEnd = after;
  }
  return skipValue(bytes, value, end, null, 'MODSEQ');
}

function takeRfc822(
  bytes: Buffer,
  name: number,
  length: number,
  value: number,
  end: number,
  streamed: readonly number[] | null,
  items: FetchItems,
): number {
  if (length === 11 && matches(bytes, name, 'RFC822.SIZE')) {
    items.size = numberAt(bytes, value, end);
    return skipValue(bytes, value, end, streamed, 'RFC822.SIZE');
  }
  const after = skipValue(bytes, value, end, streamed, 'RFC822');
  if (length === 13 && matches(bytes, name, 'RFC822.HEADER')) {
    items.headerStart = value;
    items.headerEnd = after;
  } else if (length === 6 && matches(bytes, name, 'RFC822')) {
    items.bodyStart = value;
    items.bodyEnd = after;
  }
  return after;
}

function takeBody(
  bytes: Buffer,
  name: number,
  length: number,
  value: number,
  end: number,
  streamed: readonly number[] | null,
  items: FetchItems,
): number {
  const after = skipValue(bytes, value, end, streamed, 'BODY');
  if (length === 13 && matches(bytes, name, 'BODYSTRUCTURE')) {
    items.structureStart = value;
    items.structureEnd = after;
  } else if (length === 12 && matches(bytes, name, 'BODY[HEADER]')) {
    items.headerStart = value;
    items.headerEnd = after;
  } else if (length > 5 && matches(bytes, name, 'BODY[')) {
    items.bodyStart = value;
    items.bodyEnd = after;
  }
  return after;
}

const LITERAL_OF = /[ (](?:(BODY\[HEADER\]|RFC822\.HEADER)|(BODY\[[^\]]{0,100}\](?:<\d+>)?|RFC822)) ~?\{\d+\+?\}$/i;

/**
 * Looks at the beginning of a FETCH response that ends in `{size}`: which item the literal belongs to, and the
 * message's UID when it was told among the first items (else -1).
 */
export function fetchLiteral(
  bytes: Buffer,
  start: number,
  end: number,
): { readonly uid: number; readonly item: 'body' | 'header' | 'other' } {
  const item = LITERAL_OF.exec(bytes.toString('latin1', Math.max(start, end - 200), end));
  // Only what stands before the first string: text of the mail could look like anything.
  const [head = ''] = bytes.toString('latin1', start, Math.min(end, start + 1_000)).split(/["{]/, 1);
  const uid = /[ (]UID (\d{1,10})(?!\d)/i.exec(head);
  return {
    uid: uid === null ? -1 : Number(uid[1]),
    item: item === null ? 'other' : item[1] === undefined ? 'body' : 'header',
  };
}

const DAY = 86_400;

/**
 * `"17-Jul-1996 02:44:25 -0700"` (RFC 9051 date-time) at its opening quote, as seconds since the Unix epoch; `NO_DATE`
 * for anything else.
 */
export function parseInternalDate(bytes: Buffer, at: number, end: number): number {
  if (end - at < 28 || bytes[at] !== 34 || bytes[at + 27] !== 34) return NO_DATE;
  const day = (bytes[at + 1] === SP ? 0 : digit(bytes, at + 1) * 10) + digit(bytes, at + 2);
  const month = monthAt(bytes, at + 4);
  const year = twoDigits(bytes, at + 8) * 100 + twoDigits(bytes, at + 10);
  const time = twoDigits(bytes, at + 13) * 3_600 + twoDigits(bytes, at + 16) * 60 + twoDigits(bytes, at + 19);
  const zone = twoDigits(bytes, at + 23) * 3_600 + twoDigits(bytes, at + 25) * 60;
  const sign = bytes[at + 22] === 45 ? 1 : -1;
  const seconds = daysSinceEpoch(year, month, day) * DAY + time + sign * zone;
  return Number.isNaN(seconds) ? NO_DATE : seconds;
}

function digit(bytes: Buffer, at: number): number {
  const value = bytes[at]! - 48;
  return value >= 0 && value <= 9 ? value : Number.NaN;
}

function twoDigits(bytes: Buffer, at: number): number {
  return digit(bytes, at) * 10 + digit(bytes, at + 1);
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];

/** 1 to 12. */
function monthAt(bytes: Buffer, at: number): number {
  for (let month = 0; month < 12; month += 1) if (matches(bytes, at, MONTHS[month]!)) return month + 1;
  return Number.NaN;
}

/** Days from 1970-01-01 in the proleptic Gregorian calendar; years are counted from March so that leap days end them. */
function daysSinceEpoch(year: number, month: number, day: number): number {
  const y = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + day - 1;
  return y * 365 + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + dayOfYear - 719_468;
}

/** Where the octets of the string or literal that `FetchItems` points to begin and end; null for NIL. */
export function contentRange(bytes: Buffer, start: number, end: number): readonly [number, number] | null {
  const byte = bytes[start];
  if (byte === 34) return [start + 1, end - 1];
  if (byte !== 123 && byte !== 126) return null;
  const content = literalContent(bytes, byte === 126 ? start + 1 : start, end);
  return content === -1 ? null : [content, end];
}
