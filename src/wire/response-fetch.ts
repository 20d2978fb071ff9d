import { NO_DATE, parseInternalDate } from './response-date.js';
import { badResponse, literalContent, matches, numberAt, skipDigits, skipValue } from './response-scan.js';

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

/** Where the octets of the string or literal that `FetchItems` points to begin and end; null for NIL. */
export function contentRange(bytes: Buffer, start: number, end: number): readonly [number, number] | null {
  const byte = bytes[start];
  if (byte === 34) return [start + 1, end - 1];
  if (byte !== 123 && byte !== 126) return null;
  const content = literalContent(bytes, byte === 126 ? start + 1 : start, end);
  return content === -1 ? null : [content, end];
}
