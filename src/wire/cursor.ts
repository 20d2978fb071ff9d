import { isUtf8 } from 'node:buffer';
import { ASTRING, ATOM, DIGIT, scan } from './chars.js';
import { MAX_STRING_LITERAL } from './limits.js';
import { ParseError } from './parse-error.js';

/** The bytes of one literal; `binary` for `~{n}` (RFC 3516), the only one that may hold NUL. */
export interface CommandLiteral {
  readonly bytes: Buffer;
  readonly binary: boolean;
}

const DQUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads the words every IMAP command is made of. The input is `texts[0] literals[0] texts[1] …`, the texts without
 * `{n}` and line ends. A method with a plain name returns null or false and stays where it is when the input has
 * something else; one that `expect`s throws `ParseError`, in which `what` names the missing thing.
 */
export class Cursor {
  readonly #texts: readonly Buffer[];
  readonly #literals: readonly CommandLiteral[];
  #index = 0;
  #text: Buffer;
  #at: number;

  /** `start` is where to begin in `texts[0]`. There is one text more than there are literals. */
  constructor(texts: readonly Buffer[], literals: readonly CommandLiteral[], start = 0) {
    this.#texts = texts;
    this.#literals = literals;
    this.#text = texts[0] ?? Buffer.alloc(0);
    this.#at = start;
  }

  /** The next octet, `{` when a literal is next, -1 at the end. */
  peek(): number {
    if (this.#at < this.#text.length) return this.#text[this.#at]!;
    return this.#index < this.#literals.length ? OPEN_BRACE : -1;
  }

  /** Whether the next octet is this character; consumes nothing. */
  peekChar(char: string): boolean {
    return this.peek() === char.charCodeAt(0);
  }

  /** Consumes the one character if it is next. */
  char(char: string): boolean {
    if (this.#at >= this.#text.length || this.#text[this.#at] !== char.charCodeAt(0)) return false;
    this.#at += 1;
    return true;
  }

  /** Whether exactly this text (upper case) is next, compared without case. */
  peekText(text: string): boolean {
    return this.#text.toString('latin1', this.#at, this.#at + text.length).toUpperCase() === text;
  }

  /** Consumes it if it is. */
  text(text: string): boolean {
    if (!this.peekText(text)) return false;
    this.#at += text.length;
    return true;
  }

  expectChar(char: string): void {
    if (!this.char(char)) throw new ParseError(`Expected ${char}`);
  }

  /** SP. Clients that send several by mistake get the BAD of whatever comes next. */
  sp(): boolean {
    return this.char(' ');
  }

  expectSp(): void {
    if (!this.sp()) throw new ParseError(this.atEnd() ? 'Missing argument' : 'Expected a space');
  }

  atEnd(): boolean {
    return this.peek() === -1;
  }

  expectEnd(): void {
    if (!this.atEnd()) throw new ParseError('Unexpected text at the end of the command');
  }

  /** Consumes the longest run of octets of the class (chars.ts); null when there is none. */
  run(charClass: number): string | null {
    const end = scan(this.#text, this.#at, charClass);
    if (end === this.#at) return null;
    const word = this.#text.toString('latin1', this.#at, end);
    this.#at = end;
    return word;
  }

  /** As `run`, but consumes nothing. */
  peekRun(charClass: number): string | null {
    const end = scan(this.#text, this.#at, charClass);
    return end === this.#at ? null : this.#text.toString('latin1', this.#at, end);
  }

  /** `atom = 1*ATOM-CHAR`. */
  atom(): string | null {
    return this.run(ATOM);
  }

  expectAtom(what: string): string {
    const atom = this.atom();
    if (atom === null) throw new ParseError(`Expected ${what}`);
    return atom;
  }

  /** Consumes the atom if it is exactly `word` (upper case), compared without case. */
  word(word: string): boolean {
    const end = scan(this.#text, this.#at, ATOM);
    if (end - this.#at !== word.length) return false;
    if (this.#text.toString('latin1', this.#at, end).toUpperCase() !== word) return false;
    this.#at = end;
    return true;
  }

  /** `quoted = DQUOTE *QUOTED-CHAR DQUOTE`; octets above 0x7f are let through for UTF-8 (RFC 9051 §4.3). */
  quoted(): Buffer | null {
    if (this.#at >= this.#text.length || this.#text[this.#at] !== DQUOTE) return null;
    const bytes = this.#text;
    const start = this.#at + 1;
    let escapes = 0;
    let high = 0;
    let at = start;
    for (; at < bytes.length; at += 1) {
      const byte = bytes[at]!;
      if (byte === DQUOTE) break;
      high |= byte;
      if (byte === BACKSLASH) {
        at += 1;
        escapes += 1;
        if (bytes[at] !== DQUOTE && bytes[at] !== BACKSLASH) {
          throw new ParseError('Only " and \\ may follow \\ in a quoted string');
        }
      } else if (byte === 0 || byte === 0x0d) {
        throw new ParseError('A quoted string holds NUL or CR; send it as a literal');
      }
    }
    if (at >= bytes.length) throw new ParseError('A quoted string has no end');
    // RFC 6855 §3, RFC 9051 §9 quoted.
    if (high > 0x7f && !isUtf8(bytes.subarray(start, at))) throw new ParseError('A quoted string is not UTF-8');
    this.#at = at + 1;
    return escapes === 0 ? bytes.subarray(start, at) : stripBackslashes(bytes.subarray(start, at), escapes);
  }

  /** `literal / literal8`, of any size. The bytes are the reader's own buffer, not a copy. */
  literal(): CommandLiteral | null {
    if (this.#at < this.#text.length) return null;
    const literal = this.#literals[this.#index];
    if (literal === undefined) return null;
    this.#index += 1;
    this.#text = this.#texts[this.#index] ?? Buffer.alloc(0);
    this.#at = 0;
    return literal;
  }

  expectLiteral(what: string): CommandLiteral {
    const literal = this.literal();
    if (literal === null) throw new ParseError(`Expected ${what} as a literal`);
    return literal;
  }

  /** `string = quoted / literal`, the literal without NUL and of at most `MAX_STRING_LITERAL` octets. */
  string(): Buffer | null {
    const quoted = this.quoted();
    if (quoted !== null) return quoted;
    const literal = this.literal();
    if (literal === null) return null;
    if (literal.bytes.length > MAX_STRING_LITERAL) throw new ParseError('A literal is too long for a string');
    if (literal.bytes.includes(0)) throw new ParseError('A string holds NUL');
    return literal.bytes;
  }

  expectString(what: string): Buffer {
    const string = this.string();
    if (string === null) throw new ParseError(`Expected ${what} as a string`);
    return string;
  }

  /** `astring = 1*ASTRING-CHAR / string`. */
  astring(): Buffer | null {
    const end = scan(this.#text, this.#at, ASTRING);
    if (end === this.#at) return this.string();
    const word = this.#text.subarray(this.#at, end);
    this.#at = end;
    return word;
  }

  expectAstring(what: string): Buffer {
    const astring = this.astring();
    if (astring === null) throw new ParseError(`Expected ${what}`);
    return astring;
  }

  /** `expectAstring` as text; it must be UTF-8. */
  expectAstringText(what: string): string {
    return decodeUtf8(this.expectAstring(what), what);
  }

  /** `nstring = string / nil`; null for NIL. */
  expectNstring(what: string): Buffer | null {
    if (this.word('NIL')) return null;
    return this.expectString(what);
  }

  /** `number = 1*DIGIT`, 0 … 2^32-1; null when there is no digit. */
  number(): number | null {
    const digits = this.run(DIGIT);
    if (digits === null) return null;
    const value = digits.length > 20 ? Number.POSITIVE_INFINITY : Number(digits);
    if (value > 0xffff_ffff) throw new ParseError('A number is above 4294967295');
    return value;
  }

  expectNumber(what: string): number {
    const value = this.number();
    if (value === null) throw new ParseError(`Expected ${what} as a number`);
    return value;
  }

  /** `nz-number = digit-nz *DIGIT`, 1 … 2^32-1. */
  expectNzNumber(what: string): number {
    const value = this.expectNumber(what);
    if (value === 0) throw new ParseError(`Expected ${what} to be above 0`);
    return value;
  }

  /**
   * `number64 = 1*DIGIT`, 0 … 2^63-1. Above 2^53-1 it comes back as 2^53-1: no size or MODSEQ of ours is that large, so
   * every comparison still has the right outcome.
   */
  expectNumber64(what: string): number {
    const digits = this.run(DIGIT);
    if (digits === null) throw new ParseError(`Expected ${what} as a number`);
    const value = digits.length <= 15 ? Number(digits) : clamp64(digits, what);
    return value;
  }

  /** `( … )`: calls `element` for each of the elements, at least `min` and at most `max`, separated by SP. */
  expectList(what: string, { min, max }: { min: number; max: number }, element: () => void): void {
    if (!this.char('(')) throw new ParseError(`Expected ${what} in parentheses`);
    let count = 0;
    while (!this.char(')')) {
      if (count > 0 && !this.sp()) throw new ParseError(`Expected a space or ) in ${what}`);
      if (count === max) throw new ParseError(`More than ${max} elements in ${what}`);
      element();
      count += 1;
    }
    if (count < min) throw new ParseError(`Nothing in the parentheses of ${what}`);
  }
}

function clamp64(digits: string, what: string): number {
  if (digits.length > 32 || BigInt(digits) > 0x7fff_ffff_ffff_ffffn) throw new ParseError(`${what} is above 2^63-1`);
  return Math.min(Number(digits), Number.MAX_SAFE_INTEGER);
}

function stripBackslashes(bytes: Buffer, escapes: number): Buffer {
  const plain = Buffer.allocUnsafe(bytes.length - escapes);
  let to = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    if (bytes[at] === BACKSLASH) at += 1;
    plain[to++] = bytes[at]!;
  }
  return plain;
}

/** Text of UTF-8 bytes; throws `ParseError` for anything else. */
export function decodeUtf8(bytes: Buffer, what: string): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new ParseError(`Expected ${what} in UTF-8`);
  }
}
