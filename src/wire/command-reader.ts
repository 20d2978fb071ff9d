import {
  type CommandHead,
  type HeadFault,
  LITERAL_HEADER_LENGTH,
  type LiteralHeader,
  parseHead,
  parseLiteralHeader,
} from './command-head.js';
import type { CommandLiteral } from './cursor.js';
import { InputBuffer } from './input-buffer.js';
import { MAX_LINE, MAX_LITERALS } from './limits.js';
import { CommandParser } from './parser.js';

/** A command is about to carry a literal; answer with `acceptLiteral` or `rejectLiteral` before the next `next`. */
export interface LiteralEvent {
  readonly type: 'literal';
  readonly tag: string;
  /** Upper case, without `UID`. */
  readonly command: string;
  /** Octets announced; Infinity when above 2^53-1. */
  readonly size: number;
  /** `{n+}` (RFC 7888): the bytes follow without waiting, so send no continuation. LITERAL-'s rule is the caller's. */
  readonly nonSync: boolean;
  /** `~{n}` (RFC 3516 literal8): may hold NUL. */
  readonly binary: boolean;
  /** Octets of the literals accepted for this command before. */
  readonly total: number;
}

/** One whole command. */
export interface CommandEvent {
  readonly type: 'command';
  readonly tag: string;
  /** Upper case; `UID FETCH` is `FETCH` with `uid`. */
  readonly name: string;
  readonly uid: boolean;
  /** Stands right behind the name, so before the SP of the first argument. */
  readonly parser: CommandParser;
}

/** A line that is no command; the session answers `tag BAD reason`, or `* BAD reason` without a tag. */
export interface BadEvent {
  readonly type: 'bad';
  readonly tag: string | null;
  readonly reason: string;
}

/** The line asked for by `expectLine`, without its line end. */
export interface LineEvent {
  readonly type: 'line';
  readonly line: Buffer;
}

export type ReaderEvent = LiteralEvent | CommandEvent | BadEvent | LineEvent;

/** The rest of a command that is read only to be thrown away; `report` is told at its end, unless it was told before. */
interface Discard {
  readonly report: BadEvent | null;
}

/**
 * Cuts a client's byte stream into commands with their literals. Pull style: `push` what the socket gave, then call
 * `next` until it answers null. Time is linear in the bytes whatever the chunks, and nothing is held beyond what was
 * pushed, one line and the accepted literals. Lines end with CRLF; a lone LF is let through for people typing.
 */
export class CommandReader {
  readonly #input = new InputBuffer();
  /** Octets up to here hold no LF. */
  #scanned = 0;
  #head: CommandHead | HeadFault | null = null;
  #texts: Buffer[] = [];
  #textLength = 0;
  #literals: CommandLiteral[] = [];
  #literalTotal = 0;
  /** Announced and not answered yet. */
  #pending: LiteralHeader | null = null;
  /** Accepted and not complete yet. */
  #filling: { bytes: Buffer; filled: number; binary: boolean } | null = null;
  #skip = 0;
  #discard: Discard | null = null;
  #expectLine: number | null = null;

  /** Octets pushed and not looked at yet; stop reading the socket while it is large and commands are running. */
  get buffered(): number {
    return this.#input.length;
  }

  /** Whether a command has begun and its end has not come: a line or literal is open. */
  get midCommand(): boolean {
    return this.#head !== null || this.#discard !== null || this.#input.length > 0;
  }

  push(chunk: Buffer): void {
    this.#input.push(chunk);
  }

  /** The next event, or null when more bytes (or the answer to a literal) are needed. */
  next(): ReaderEvent | null {
    while (this.#pending === null) {
      if (this.#skip > 0) {
        this.#skip -= this.#input.drop(this.#skip);
        if (this.#skip > 0) return null;
      }
      if (this.#filling !== null && !this.#fill()) return null;
      const line = this.#takeLine();
      if (line === null) return null;
      const event = this.#onLine(line);
      if (event !== null) return event;
    }
    return null;
  }

  /** Takes the literal just announced into the command. Send the continuation if it is synchronizing. */
  acceptLiteral(): void {
    const { size, binary } = this.#takePending();
    this.#filling = { bytes: Buffer.allocUnsafeSlow(size), filled: 0, binary };
    this.#literalTotal += size;
  }

  /**
   * Drops the command whose literal was just announced; answer it with a tagged NO or BAD. The bytes of a
   * non-synchronizing literal, and the rest of its command, are swallowed without being stored.
   */
  rejectLiteral(): void {
    const { size, nonSync } = this.#takePending();
    this.#reset();
    if (!nonSync) return;
    this.#skip = size;
    this.#discard = { report: null };
  }

  /**
   * Makes the next line, of at most `maxBytes` octets, a `line` event and no command (AUTHENTICATE, IDLE). A longer
   * one becomes `bad`, and ends the mode as well. Call it between commands only.
   */
  expectLine(maxBytes: number): void {
    this.#expectLine = maxBytes;
  }

  /** Throws away all bytes and any open command: what came in clear before STARTTLS (RFC 9051 §6.2.1). */
  clear(): void {
    this.#input.clear();
    this.#scanned = 0;
    this.#skip = 0;
    this.#pending = null;
    this.#expectLine = null;
    this.#discard = null;
    this.#reset();
  }

  #takePending(): LiteralHeader {
    const pending = this.#pending;
    if (pending === null) throw new Error('No literal was announced');
    this.#pending = null;
    return pending;
  }

  #reset(): void {
    this.#head = null;
    this.#texts = [];
    this.#textLength = 0;
    this.#literals = [];
    this.#literalTotal = 0;
    this.#filling = null;
  }

  /** True when the open literal is complete. */
  #fill(): boolean {
    const literal = this.#filling!;
    literal.filled += this.#input.copyTo(literal.bytes, literal.filled);
    if (literal.filled < literal.bytes.length) return false;
    this.#literals.push({ bytes: literal.bytes, binary: literal.binary });
    this.#filling = null;
    return true;
  }

  /** The octets of the next whole line without CRLF, valid until the next `push`; null when it has no end yet. */
  #takeLine(): Buffer | null {
    const end = this.#input.indexOf(0x0a, this.#scanned);
    if (end === -1) {
      this.#scanned = this.#input.length;
      if (this.#discard === null && this.#scanned > this.#lineLimit() + 1) this.#startDiscard(this.#input.view());
      // Only the end of a line that is thrown away matters: it may announce a literal.
      if (this.#discard !== null) this.#scanned -= this.#input.drop(this.#scanned - LITERAL_HEADER_LENGTH - 1);
      return null;
    }
    this.#scanned = 0;
    const line = this.#input.take(end + 1);
    return line.subarray(0, end > 0 && line[end - 1] === 0x0d ? end - 1 : end);
  }

  #lineLimit(): number {
    return this.#expectLine ?? MAX_LINE - this.#textLength;
  }

  /** `line` is the start of a line that is too long. */
  #startDiscard(line: Buffer): void {
    const head = this.#head ?? (this.#expectLine === null ? parseHead(line) : null);
    this.#discard = { report: { type: 'bad', tag: head?.tag ?? null, reason: 'Line too long' } };
    this.#reset();
  }

  #onLine(line: Buffer): ReaderEvent | null {
    if (this.#discard === null && line.length > this.#lineLimit()) this.#startDiscard(line);
    if (this.#expectLine !== null) return this.#onExpectedLine(line);
    const literal = parseLiteralHeader(line);
    if (this.#discard !== null) return this.#onDiscarded(literal);
    this.#head ??= parseHead(line);
    const fault = this.#fault(literal);
    if (fault !== null) {
      this.#discard = { report: { type: 'bad', tag: this.#head.tag, reason: fault } };
      this.#reset();
      return this.#onDiscarded(literal);
    }
    // A copy, because the parser outlives the input buffer.
    const text = Buffer.from(literal === null ? line : line.subarray(0, literal.start));
    this.#texts.push(text);
    this.#textLength += line.length;
    return literal === null ? this.#finish() : this.#announce(literal);
  }

  #fault(literal: LiteralHeader | null): string | null {
    if (this.#head !== null && 'reason' in this.#head) return this.#head.reason;
    if (literal !== null && this.#literals.length === MAX_LITERALS) return `More than ${MAX_LITERALS} literals`;
    return null;
  }

  #onExpectedLine(line: Buffer): ReaderEvent {
    this.#expectLine = null;
    const bad = this.#discard?.report ?? null;
    this.#discard = null;
    return bad ?? { type: 'line', line: Buffer.from(line) };
  }

  /** A line to throw away ends. Bytes follow a non-synchronizing literal; after any other, the client has stopped. */
  #onDiscarded(literal: LiteralHeader | null): BadEvent | null {
    if (literal?.nonSync) {
      this.#skip = literal.size;
      return null;
    }
    const event = this.#discard!.report;
    this.#discard = null;
    return event;
  }

  #announce(literal: LiteralHeader): LiteralEvent {
    this.#pending = literal;
    const head = this.#head as CommandHead;
    const { size, nonSync, binary } = literal;
    return { type: 'literal', tag: head.tag, command: head.name, size, nonSync, binary, total: this.#literalTotal };
  }

  #finish(): CommandEvent {
    const head = this.#head as CommandHead;
    const parser = new CommandParser(this.#texts, this.#literals, head.end);
    this.#reset();
    return { type: 'command', tag: head.tag, name: head.name, uid: head.uid, parser };
  }
}
