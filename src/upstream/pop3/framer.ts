import { MergeboxError } from '../../util/errors.js';
import { MAX_REPLY_LINE } from './limits.js';

const LF = 10;
const CR = 13;
const DOT = 46;
const LONE_CR = Buffer.from('\r');

/** `more` is the challenge of a SASL exchange (RFC 5034 §4). */
export type ReplyStatus = 'ok' | 'error' | 'more';

/** Takes the answer to one command. */
export interface ReplySink {
  /** The first line, without its status. Answers whether lines follow it (RFC 1939 §3, multi-line). */
  status(status: ReplyStatus, text: string): 'single' | 'lines' | 'body';
  /** One line of a listing, dot-unstuffed, without its end. */
  line?(text: string): void;
  /** Octets of a mail, dot-unstuffed; the line end before the final dot belongs to it. */
  body?(bytes: Buffer): void;
  /** The answer is complete. */
  end(): void;
}

/** Where the octets of a mail are: inside a line, behind a CR, at a line's start, behind a dot there, behind `.` CR. */
type BodyState = 'line' | 'cr' | 'start' | 'dot' | 'dot-cr';

/** Cuts what a POP3 server sends into answers, however it comes split. Throws `protocol` past a limit. */
export class ReplyFramer {
  readonly #next: () => ReplySink | null;
  #sink: ReplySink | null = null;
  #mode: 'status' | 'lines' | 'body' = 'status';
  #partial = '';
  #state: BodyState = 'start';

  /** `next` gives the sink of the oldest command without an answer, or null when none waits. */
  constructor(next: () => ReplySink | null) {
    this.#next = next;
  }

  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) at = this.#mode === 'body' ? this.#body(bytes, at) : this.#line(bytes, at);
  }

  #line(bytes: Buffer, start: number): number {
    const lf = bytes.indexOf(LF, start);
    const end = lf < 0 ? bytes.length : lf + 1;
    if (this.#partial.length + end - start > MAX_REPLY_LINE) {
      throw new MergeboxError('protocol', `the server sent a line of more than ${MAX_REPLY_LINE} octets`);
    }
    const text = this.#partial + bytes.toString('latin1', start, end);
    if (lf < 0) {
      this.#partial = text;
      return end;
    }
    this.#partial = '';
    const line = text.slice(0, text.endsWith('\r\n') ? -2 : -1);
    if (this.#mode === 'status') this.#status(line);
    else if (line === '.') this.#end();
    else this.#sink!.line?.(line.startsWith('.') ? line.slice(1) : line);
    return end;
  }

  #status(line: string): void {
    const sink = this.#next();
    if (sink === null) throw new MergeboxError('protocol', 'the server sent a reply that nobody asked for');
    const match = /^(\+OK|-ERR|\+(?= |$))(?:[\s:]+(.*))?$/is.exec(line);
    if (match === null) throw new MergeboxError('protocol', 'the server sent a reply without +OK or -ERR');
    const word = match[1]!.toUpperCase();
    this.#sink = sink;
    const follows = sink.status(word === '+OK' ? 'ok' : word === '-ERR' ? 'error' : 'more', match[2] ?? '');
    if (follows === 'single') this.#end();
    else {
      this.#mode = follows;
      this.#state = 'start';
    }
  }

  #end(): void {
    const sink = this.#sink;
    this.#sink = null;
    this.#mode = 'status';
    sink?.end();
  }

  /** Takes octets of a mail up to its end; answers where what follows starts. */
  #body(bytes: Buffer, start: number): number {
    let at = start;
    while (at < bytes.length) {
      if (this.#state === 'line') {
        at = this.#insideLines(bytes, at);
        continue;
      }
      const verdict = this.#step(bytes, at);
      if (verdict !== 'again') at += 1;
      if (verdict !== 'end') continue;
      this.#end();
      return at;
    }
    return at;
  }

  /** Passes on up to the next line that starts with a dot: the only place where anything is to be decided. */
  #insideLines(bytes: Buffer, start: number): number {
    const found = bytes.indexOf('\r\n.', start, 'latin1');
    if (found >= 0) {
      this.#emit(bytes, start, found + 2);
      this.#state = 'dot';
      return found + 3;
    }
    this.#emit(bytes, start, bytes.length);
    const last = bytes[bytes.length - 1];
    if (last === CR) this.#state = 'cr';
    else if (last === LF && bytes.length - start > 1 && bytes[bytes.length - 2] === CR) this.#state = 'start';
    return bytes.length;
  }

  /**
   * One octet where a line starts or may start (RFC 1939 §3: only CRLF ends one). `again`: it is inside a line and still
   * to be passed on; `end`: it was the last of the mail's end.
   */
  #step(bytes: Buffer, at: number): 'taken' | 'again' | 'end' {
    const octet = bytes[at]!;
    switch (this.#state) {
      case 'cr':
        if (octet !== LF) return this.#into('line');
        this.#emit(bytes, at, at + 1);
        return this.#into('start');
      case 'start':
        return this.#into(octet === DOT ? 'dot' : 'line');
      case 'dot':
        // The dot itself was added by the server.
        return this.#into(octet === CR ? 'dot-cr' : 'line');
      default:
        if (octet === LF) return 'end';
        this.#sink!.body?.(LONE_CR);
        if (octet !== CR) return this.#into('line');
        this.#emit(bytes, at, at + 1);
        return this.#into('cr');
    }
  }

  #into(state: BodyState): 'taken' | 'again' {
    this.#state = state;
    return state === 'line' ? 'again' : 'taken';
  }

  #emit(bytes: Buffer, start: number, end: number): void {
    if (end > start) this.#sink!.body?.(bytes.subarray(start, end));
  }
}
