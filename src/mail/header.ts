/**
 * Reading a header block (RFC 5322 §2.2) over its bytes, in one pass and without copies. Lines end with LF or CRLF; a
 * line that starts with a space or tab continues the field above. Texts are *binary strings*: one character per octet
 * (latin1), so that nothing is lost before somebody decodes it (`decodeHeader` in text.ts).
 */

const LF = 10;
const CR = 13;
const SPACE = 32;
const TAB = 9;
const COLON = 58;

/**
 * Longest part of one field's value, in octets, that is looked at. Real fields stay far below; the limit keeps a
 * single 50 MB header line from stalling the event loop.
 */
export const MAX_FIELD_OCTETS = 1 << 20;
/** Octets of a header that envelope and identity look at, for the same reason; its last field may be cut there. */
export const MAX_HEADER_OCTETS = 1 << 20;

/**
 * Offset just behind the blank line that ends the header starting at `start`, or `end` when there is none (then all of
 * it is header).
 */
export function headerEnd(bytes: Buffer, start = 0, end = bytes.length): number {
  let line = start;
  while (line < end) {
    const blank = blankLine(bytes, line, end);
    if (blank > 0) return line + blank;
    const lf = bytes.indexOf(LF, line);
    if (lf < 0 || lf >= end) return end;
    line = lf + 1;
  }
  return end;
}

/** Octets of the line end when the line at `at` is empty (1 or 2), else 0. */
export function blankLine(bytes: Buffer, at: number, end: number): number {
  if (at >= end) return 0;
  const first = bytes[at];
  if (first === LF) return 1;
  return first === CR && at + 1 < end && bytes[at + 1] === LF ? 2 : 0;
}

/** One field: `[start, end)` are its lines with all folding and line ends, `[start, nameEnd)` the name without spaces. */
export interface HeaderField {
  readonly start: number;
  readonly nameEnd: number;
  /** Behind the colon; equal to `end` for a line without one, whose name is empty. */
  readonly valueStart: number;
  readonly end: number;
}

/** The fields from `start` to the blank line or `end`, in order. */
export function* headerFields(bytes: Buffer, start = 0, end = bytes.length): Generator<HeaderField, void, void> {
  let at = start;
  while (at < end && blankLine(bytes, at, end) === 0) {
    const next = fieldEnd(bytes, at, end);
    yield headerField(bytes, at, next);
    at = next;
  }
}

/** Offset behind the field that starts at `start`, folded lines included. */
export function fieldEnd(bytes: Buffer, start: number, end: number): number {
  let at = start;
  for (;;) {
    const lf = bytes.indexOf(LF, at);
    if (lf < 0 || lf + 1 >= end) return end;
    at = lf + 1;
    const next = bytes[at];
    if (next !== SPACE && next !== TAB) return at;
  }
}

/** The field whose lines are `[start, end)`. */
export function headerField(bytes: Buffer, start: number, end: number): HeaderField {
  let colon = start;
  while (colon < end && bytes[colon] !== COLON && bytes[colon] !== LF) colon += 1;
  if (colon === end || bytes[colon] === LF) return { start, nameEnd: start, valueStart: end, end };
  let nameEnd = colon;
  // RFC 5322 §4.5: obsolete syntax allows white space before the colon.
  while (nameEnd > start && (bytes[nameEnd - 1] === SPACE || bytes[nameEnd - 1] === TAB)) nameEnd -= 1;
  return { start, nameEnd, valueStart: colon + 1, end };
}

/** The field's name in lower case. */
export function fieldName(bytes: Buffer, field: HeaderField): string {
  return bytes.toString('latin1', field.start, field.nameEnd).toLowerCase();
}

/**
 * The field's value as a binary string: line ends removed, the white space of the folds kept (RFC 5322 §2.2.3), a CR
 * that ends no line made a space, outer white space trimmed.
 */
export function unfoldedValue(bytes: Buffer, field: HeaderField): string {
  let start = field.valueStart;
  let end = Math.min(field.end, start + MAX_FIELD_OCTETS);
  if (end > start && bytes[end - 1] === LF) end -= 1;
  if (end > start && bytes[end - 1] === CR) end -= 1;
  while (start < end && (bytes[start] === SPACE || bytes[start] === TAB)) start += 1;
  const text = bytes.toString('latin1', start, end);
  // Most values are not folded.
  if (!text.includes('\n') && !text.includes('\r')) return trimWsp(text);
  return trimWsp(text.replace(/\r?\n/g, '').replaceAll('\r', ' '));
}

/** Without spaces and tabs at either end. */
export function trimWsp(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isWsp(text.charCodeAt(start))) start += 1;
  while (end > start && isWsp(text.charCodeAt(end - 1))) end -= 1;
  return start === 0 && end === text.length ? text : text.slice(start, end);
}

function isWsp(code: number): boolean {
  return code === SPACE || code === TAB;
}

/** The unfolded value of the first field of that name (any case), or null. */
export function fieldValue(header: Buffer, name: string): string | null {
  const lower = name.toLowerCase();
  for (const field of headerFields(header)) {
    if (field.nameEnd - field.start === lower.length && fieldName(header, field) === lower) {
      return unfoldedValue(header, field);
    }
  }
  return null;
}

/** The unfolded values of all fields of that name, in order. */
export function fieldValues(header: Buffer, name: string): string[] {
  const lower = name.toLowerCase();
  const values: string[] = [];
  for (const field of headerFields(header)) {
    if (field.nameEnd - field.start === lower.length && fieldName(header, field) === lower) {
      values.push(unfoldedValue(header, field));
    }
  }
  return values;
}
