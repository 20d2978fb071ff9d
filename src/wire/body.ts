import { MAX_STRUCTURE_DEPTH } from './limits.js';

const OPEN = 0x28;
const CLOSE = 0x29;
const DQUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const SP = 0x20;
/** Longer than any media type we look for, as a literal too. */
const MAX_MEDIA_TOKEN = 32;

/**
 * BODY, the form without extension data, from the value of BODYSTRUCTURE (RFC 9051 §7.5.2). Takes and gives wire form
 * with the outer parentheses, copies every field octet by octet, and reads the input once. Null when `structure` is
 * malformed or nested more than `MAX_STRUCTURE_DEPTH` deep.
 */
export function bodyFromStructure(structure: Buffer): Buffer | null {
  const converter = new Converter(structure);
  return converter.body(0) && converter.at === structure.length ? Buffer.concat(converter.pieces) : null;
}

class Converter {
  readonly #bytes: Buffer;
  readonly pieces: Buffer[] = [];
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** `body = "(" (body-type-1part / body-type-mpart) ")"`; false when it is malformed. */
  body(depth: number): boolean {
    if (depth > MAX_STRUCTURE_DEPTH || this.#bytes[this.at] !== OPEN) return false;
    const start = this.at;
    this.at += 1;
    const multipart = this.#bytes[this.at] === OPEN;
    const good = multipart ? this.#multipart(start, depth) : this.#singlePart(start, depth);
    return good && this.#skipExtensions();
  }

  /** `body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]`. */
  #multipart(start: number, depth: number): boolean {
    this.#copy(start, this.at);
    while (this.#bytes[this.at] === OPEN) {
      if (!this.body(depth + 1)) return false;
      // Between bodies there is no space in the grammar, but servers send one.
      if (this.#bytes[this.at] === SP && this.#bytes[this.at + 1] === OPEN) this.at += 1;
    }
    return this.#fields(this.at, 1);
  }

  /**
   * `media-basic SP body-fields`, then for message/rfc822 `SP envelope SP body SP body-fld-lines`, for text
   * `SP body-fld-lines`.
   */
  #singlePart(start: number, depth: number): boolean {
    const type = this.#value();
    if (type === null || !this.#space()) return false;
    const subtype = this.#value();
    // body-fields: parameters, id, description, encoding, octets.
    if (subtype === null || !this.#skipFields(5)) return false;
    if (isString(type, 'text')) return this.#fields(start, 1);
    const message = isString(type, 'message') && (isString(subtype, 'rfc822') || isString(subtype, 'global'));
    if (!message || !this.#nextIsEnvelope()) {
      this.#copy(start, this.at);
      return true;
    }
    if (!this.#skipFields(1) || !this.#space()) return false;
    this.#copy(start, this.at);
    return this.body(depth + 1) && this.#fields(this.at, 1);
  }

  /** Servers send a message/rfc822 they did not parse as a basic part, whose next field is MD5, a string or NIL. */
  #nextIsEnvelope(): boolean {
    return this.#bytes[this.at] === SP && this.#bytes[this.at + 1] === OPEN;
  }

  /** Copies from `start` to the end of `count` more values. */
  #fields(start: number, count: number): boolean {
    if (!this.#skipFields(count)) return false;
    this.#copy(start, this.at);
    return true;
  }

  #skipFields(count: number): boolean {
    for (let field = 0; field < count; field += 1) {
      if (!this.#space() || this.#value() === null) return false;
    }
    return true;
  }

  /** `*(SP value) ")"`, of which only the parenthesis is kept. */
  #skipExtensions(): boolean {
    while (this.#bytes[this.at] === SP) {
      this.at += 1;
      if (this.#value() === null) return false;
    }
    if (this.#bytes[this.at] !== CLOSE) return false;
    this.#copy(this.at, this.at + 1);
    this.at += 1;
    return true;
  }

  #space(): boolean {
    if (this.#bytes[this.at] !== SP) return false;
    this.at += 1;
    return true;
  }

  #copy(start: number, end: number): void {
    this.pieces.push(this.#bytes.subarray(start, end));
  }

  /** Steps over one value of any kind and returns it; null when there is none. */
  #value(): Buffer | null {
    const start = this.at;
    const end = valueEnd(this.#bytes, start);
    if (end === -1) return null;
    this.at = end;
    return this.#bytes.subarray(start, end);
  }
}

/** Whether a quoted string or literal is this word (lower case), without case. */
function isString(value: Buffer, lower: string): boolean {
  if (value.length > MAX_MEDIA_TOKEN) return false;
  const text = value.toString('latin1').toLowerCase();
  return text === `"${lower}"` || text === `{${lower.length}}\r\n${lower}`;
}

/** The end of the quoted string, literal, atom or parenthesised list at `start`, or -1. */
export function valueEnd(bytes: Buffer, start: number): number {
  let depth = 0;
  let at = start;
  do {
    const byte = bytes[at];
    if (byte === undefined) return -1;
    if (byte === OPEN) {
      depth += 1;
      at += 1;
    } else if (byte === CLOSE) {
      depth -= 1;
      if (depth < 0) return -1;
      at += 1;
    } else if (byte === SP) {
      if (depth === 0) return -1;
      at += 1;
    } else {
      at = wordEnd(bytes, at);
      if (at === -1) return -1;
    }
  } while (depth > 0);
  return at;
}

function wordEnd(bytes: Buffer, start: number): number {
  if (bytes[start] === DQUOTE) return quotedEnd(bytes, start);
  if (bytes[start] === OPEN_BRACE) return literalEnd(bytes, start);
  let at = start;
  while (at < bytes.length) {
    const byte = bytes[at]!;
    if (byte <= SP || byte === OPEN || byte === CLOSE || byte === DQUOTE || byte === OPEN_BRACE) break;
    at += 1;
  }
  return at === start ? -1 : at;
}

function quotedEnd(bytes: Buffer, start: number): number {
  for (let at = start + 1; at < bytes.length; at += 1) {
    if (bytes[at] === DQUOTE) return at + 1;
    if (bytes[at] === BACKSLASH) at += 1;
  }
  return -1;
}

function literalEnd(bytes: Buffer, start: number): number {
  const match = /^\{(\d{1,10})\}\r\n/.exec(bytes.toString('latin1', start, start + 16));
  if (match === null) return -1;
  const end = start + match[0].length + Number(match[1]);
  return end <= bytes.length ? end : -1;
}
