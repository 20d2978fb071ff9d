import { MergeboxError } from '../util/errors.js';
import { MAX_RESPONSE, MAX_SERVER_LITERAL, STREAM_ABOVE } from './response-limits.js';

/** Takes the octets of one literal that is too large to be kept. */
export interface LiteralSink {
  /** A piece of the literal; the octets are the sink's to keep. */
  chunk(bytes: Buffer): void;
}

/** Where a `ResponseFramer` puts what it finds. What a method throws ends the connection. */
export interface ResponseHandler {
  /**
   * One whole response: `bytes` from `start` to `end`, literals in place, without the final line end. The octets are
   * valid during the call only. `streamed` lists the positions in `bytes` of the `{` of literals that went to a sink,
   * of which nothing stands behind the line end; null for none.
   */
  response(bytes: Buffer, start: number, end: number, streamed: readonly number[] | null): void;
  /**
   * A large literal begins: `bytes` from `start` to `end` hold the response so far, `{size}` included. Null throws the
   * literal away.
   */
  literal(bytes: Buffer, start: number, end: number, size: number): LiteralSink | null;
}

export interface FramerLimits {
  readonly response: number;
  readonly streamAbove: number;
}

const LF = 10;
const CR = 13;
const BRACE_OPEN = 123;
const BRACE_CLOSE = 125;
const NO_BYTES = Buffer.alloc(0);

/**
 * Cuts a server's octets into responses (RFC 9051 §2.2.2), whatever pieces they come in. A response within one chunk is
 * handed on where it lies; one that spans chunks is gathered. Work is linear in the octets, memory bounded by the
 * limits.
 */
export class ResponseFramer {
  readonly #handler: ResponseHandler;
  readonly #limits: FramerLimits;
  /** The beginning of a response that is not whole yet: `#held` octets of `#pending`. */
  #pending = NO_BYTES;
  #held = 0;
  /** Where in `#pending` the present line of text began: behind the last literal. */
  #lineStart = 0;
  /** Octets of a literal still to come before text goes on. */
  #literalLeft = 0;
  #streaming = false;
  #sink: LiteralSink | null = null;
  #streamed: number[] | null = null;
  #closed = false;

  constructor(handler: ResponseHandler, limits: FramerLimits = { response: MAX_RESPONSE, streamAbove: STREAM_ABOVE }) {
    this.#handler = handler;
    this.#limits = limits;
  }

  /** Takes the next octets. Throws `protocol` past a limit, or what the handler throws; it must not be used then. */
  push(chunk: Buffer): void {
    let at = 0;
    if (this.#held > 0) at = this.#continue(chunk);
    while (at < chunk.length && !this.#closed) {
      const next = this.#frame(chunk, at);
      if (next === -1) {
        // What is left begins a response that needs more octets.
        at = this.#continue(chunk, at);
      } else {
        at = next;
      }
    }
  }

  /** Ends it from within the handler: the rest of the chunk is not looked at. */
  close(): void {
    this.#closed = true;
    this.#sink = null;
    this.#pending = NO_BYTES;
    this.#held = 0;
  }

  /** Hands on the response at `start` when all of it is in `chunk`; the position behind it, or -1. */
  #frame(chunk: Buffer, start: number): number {
    let scanFrom = start;
    for (;;) {
      const lf = indexOfLf(chunk, scanFrom);
      if (lf === -1) return -1;
      const textEnd = lf > start && chunk[lf - 1] === CR ? lf - 1 : lf;
      const size = literalSize(chunk, start, scanFrom, textEnd);
      if (size === -1) {
        if (textEnd - start > this.#limits.response) throw tooLong(this.#limits.response);
        if (textEnd > start) this.#handler.response(chunk, start, textEnd, null);
        return lf + 1;
      }
      if (size > this.#limits.streamAbove || lf + 1 + size > chunk.length) return -1;
      scanFrom = lf + 1 + size;
    }
  }

  /** Gathers octets of the response that `#pending` begins until it is whole or `chunk` ends. */
  #continue(chunk: Buffer, from = 0): number {
    let at = from;
    while (at < chunk.length && !this.#closed) {
      if (this.#literalLeft > 0) {
        at = this.#takeLiteral(chunk, at);
        continue;
      }
      const lf = indexOfLf(chunk, at);
      const lineStart = this.#lineStart;
      this.#hold(chunk, at, lf === -1 ? chunk.length : lf + 1);
      if (lf === -1) return chunk.length;
      at = lf + 1;
      if (this.#endLine(lineStart)) return at;
    }
    return at;
  }

  /** Acts on a line that has just become whole; true when the response is. */
  #endLine(lineStart: number): boolean {
    const lf = this.#held - 1;
    const textEnd = lf > 0 && this.#pending[lf - 1] === CR ? lf - 1 : lf;
    const size = literalSize(this.#pending, 0, lineStart, textEnd);
    if (size === -1) {
      const streamed = this.#streamed;
      this.#held = 0;
      this.#lineStart = 0;
      this.#streamed = null;
      if (textEnd > 0) this.#handler.response(this.#pending, 0, textEnd, streamed);
      if (this.#pending.length > 1_048_576) this.#pending = NO_BYTES;
      return true;
    }
    this.#literalLeft = size;
    this.#lineStart = this.#held;
    if (size > this.#limits.streamAbove) {
      this.#streaming = true;
      this.#streamed ??= [];
      this.#streamed.push(this.#pending.lastIndexOf(BRACE_OPEN, textEnd));
      this.#sink = this.#handler.literal(this.#pending, 0, textEnd, size);
    }
    return false;
  }

  #takeLiteral(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#literalLeft);
    this.#literalLeft -= end - at;
    if (!this.#streaming) {
      this.#hold(chunk, at, end);
      if (this.#literalLeft === 0) this.#lineStart = this.#held;
      return end;
    }
    this.#sink?.chunk(chunk.subarray(at, end));
    if (this.#literalLeft === 0) {
      this.#streaming = false;
      this.#sink = null;
    }
    return end;
  }

  #hold(chunk: Buffer, from: number, to: number): void {
    const size = this.#held + (to - from);
    if (size > this.#limits.response) throw tooLong(this.#limits.response);
    if (size > this.#pending.length) {
      // Doubling keeps the copying linear, and a known literal is made room for at once.
      const wanted = Math.max(4_096, this.#pending.length * 2, size + this.#literalLeft + 256);
      const grown = Buffer.allocUnsafeSlow(Math.max(size, Math.min(wanted, this.#limits.response)));
      this.#pending.copy(grown, 0, 0, this.#held);
      this.#pending = grown;
    }
    chunk.copy(this.#pending, this.#held, from, to);
    this.#held = size;
  }
}

/** Most lines are short, where a loop beats the call; long ones go to the native search. */
function indexOfLf(bytes: Buffer, from: number): number {
  const near = Math.min(bytes.length, from + 80);
  for (let at = from; at < near; at += 1) if (bytes[at] === LF) return at;
  return near === bytes.length ? -1 : bytes.indexOf(LF, near);
}

/**
 * The size in the `{size}` that ends the line from `lineStart` to `end`, or -1. Only untagged data has literals: the
 * free text of a status response may well end in a brace (RFC 9051 §9 resp-text).
 */
function literalSize(bytes: Buffer, start: number, lineStart: number, end: number): number {
  if (end <= lineStart || bytes[end - 1] !== BRACE_CLOSE) return -1;
  let at = end - 2;
  // RFC 7888 non-synchronising form, which no server needs to send.
  if (bytes[at] === 43) at -= 1;
  const lastDigit = at;
  while (at >= lineStart && bytes[at]! >= 48 && bytes[at]! <= 57) at -= 1;
  if (at < lineStart || at === lastDigit || bytes[at] !== BRACE_OPEN) return -1;
  if (lastDigit - at > 10) throw new MergeboxError('protocol', 'the server announced a literal of absurd size');
  if (hasFreeText(bytes, start, end)) return -1;
  const size = Number(bytes.toString('latin1', at + 1, lastDigit + 1));
  if (size > MAX_SERVER_LITERAL) {
    throw new MergeboxError('protocol', `the server announced a literal of ${size} octets`);
  }
  return size;
}

const FREE_TEXT = /^(?:\* (?:OK|NO|BAD|BYE|PREAUTH)\b|[^*])/i;

function hasFreeText(bytes: Buffer, start: number, end: number): boolean {
  return FREE_TEXT.test(bytes.toString('latin1', start, Math.min(end, start + 12)));
}

function tooLong(limit: number): MergeboxError {
  return new MergeboxError('protocol', `the server sent a response of more than ${limit} octets`);
}
