import type { Writable } from 'node:stream';
import { ConnectionEnded } from './connection-ended.js';
import type { ImapLimits } from './limits.js';

/** Octets gathered before they go to the socket in one write. */
const CHUNK = 65_536;
/** Pieces up to this size are copied next to each other; larger ones go as they are. */
const SMALL = 8_192;
/** Milliseconds of work after which a long answer lets others run (no stall above 50 ms). */
const SLICE_MS = 10;

/**
 * What one connection has to say. Text and octets are gathered into chunks; a long answer calls `breathe` now and
 * then, which waits for a slow reader and gives other connections their turn. A client that does not read for
 * `writeStallMs`, or lets `writeBufferBytes` pile up, is dropped through `onDrop`.
 */
export class Output {
  #socket: Writable;
  readonly #limits: ImapLimits;
  readonly #onDrop: (reason: string) => void;
  #text = '';
  #parts: Buffer[] = [];
  /** Octets in `#parts` and in the used part of `#block`. */
  #partBytes = 0;
  /** Where small pieces are put side by side; what stands before `#blockStart` is among the parts already. */
  #block: Buffer | null = null;
  #blockStart = 0;
  #blockEnd = 0;
  /** Whether what went to the socket ends with a line. */
  #lineEnded = true;
  #closed = false;
  #sliceStart = 0;

  constructor(socket: Writable, limits: ImapLimits, onDrop: (reason: string) => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onDrop = onDrop;
  }

  /** Goes on with another stream over the same connection (STARTTLS); everything before must be flushed. */
  attach(socket: Writable): void {
    this.#socket = socket;
  }

  /** Characters up to U+00FF, one octet each. */
  text(text: string): void {
    this.#text += text;
  }

  /** Any characters, in UTF-8. */
  utf8(text: string): void {
    this.#text += Buffer.from(text).toString('latin1');
  }

  bytes(bytes: Buffer): void {
    if (this.#text !== '') this.#seal();
    const { length } = bytes;
    if (length <= SMALL) {
      const block = this.#room(length);
      block.set(bytes, this.#blockEnd);
      this.#blockEnd += length;
    } else {
      this.#cutBlock();
      this.#parts.push(bytes);
    }
    this.#partBytes += length;
  }

  /** Octets gathered and not yet given to the socket. */
  get gathered(): number {
    return this.#partBytes + this.#text.length;
  }

  /** Whether a response has begun and not ended: no other may follow. */
  get midLine(): boolean {
    if (this.#text !== '') return !this.#text.endsWith('\n');
    if (this.#blockEnd > this.#blockStart) return this.#block![this.#blockEnd - 1] !== 0x0a;
    const last = this.#parts.at(-1);
    return last === undefined ? !this.#lineEnded : last.at(-1) !== 0x0a;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Gives everything gathered to the socket. */
  flush(): void {
    if (this.gathered === 0) return;
    // Long answers wait for the client before they add more: only one that never reads comes this far.
    if (this.#socket.writableLength > this.#limits.writeBufferBytes) this.#drop('answers pile up unread');
    this.#lineEnded = !this.midLine;
    if (!this.#closed) this.#write();
    this.#parts = [];
    this.#partBytes = 0;
    this.#text = '';
    // The socket may hold on to it, and an idle connection needs none.
    this.#block = null;
    this.#blockStart = 0;
    this.#blockEnd = 0;
  }

  #write(): void {
    if (this.#partBytes === 0) {
      this.#socket.write(this.#text, 'latin1');
      return;
    }
    this.#seal();
    this.#cutBlock();
    this.#socket.write(this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts, this.#partBytes));
  }

  /** True when enough is gathered, or enough time has passed, to call `breathe`. */
  get full(): boolean {
    return this.gathered >= CHUNK;
  }

  /** Starts the time slice that `breathe` measures. */
  startSlice(): void {
    this.#sliceStart = performance.now();
  }

  /**
   * Between two pieces of a long answer: sends full chunks, waits for a slow reader, lets others run. Throws
   * `ConnectionEnded` when the connection is gone, so that the rest of the answer is not computed for nobody.
   */
  async breathe(): Promise<void> {
    if (this.full) await this.drain();
    if (performance.now() - this.#sliceStart > SLICE_MS) {
      await new Promise((resolve) => setImmediate(resolve));
      this.#sliceStart = performance.now();
    }
    if (this.#closed) throw new ConnectionEnded();
  }

  /** Flushes and waits until the client has taken enough of it. */
  async drain(): Promise<void> {
    this.flush();
    if (!this.#socket.writableNeedDrain || this.#closed) return;
    const socket = this.#socket;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        socket.off('drain', done);
        socket.off('close', done);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#drop('answers stay unread');
        done();
      }, this.#limits.writeStallMs);
      socket.on('drain', done);
      socket.on('close', done);
    });
    this.#sliceStart = performance.now();
  }

  /** From now on everything is thrown away. */
  close(): void {
    this.#closed = true;
  }

  #seal(): void {
    if (this.#text === '') return;
    const { length } = this.#text;
    if (length <= SMALL) {
      // The block first: it may be another one, in which the end is at its start.
      const block = this.#room(length);
      block.write(this.#text, this.#blockEnd, 'latin1');
      this.#blockEnd += length;
    } else {
      this.#cutBlock();
      this.#parts.push(Buffer.from(this.#text, 'latin1'));
    }
    this.#text = '';
    this.#partBytes += length;
  }

  /** The block, with room for so many octets behind `#blockEnd`. */
  #room(length: number): Buffer {
    if (this.#block !== null && this.#blockEnd + length <= this.#block.length) return this.#block;
    this.#cutBlock();
    // A first short answer needs little; a long one goes on in blocks that are sent whole. Zeroed: whatever goes wrong
    // here, what another user's connection left in memory is never sent.
    this.#block = Buffer.alloc(this.#block === null ? SMALL * 2 : CHUNK + SMALL);
    this.#blockStart = 0;
    this.#blockEnd = 0;
    return this.#block;
  }

  /** What is in the block becomes a part, so that another may follow it. */
  #cutBlock(): void {
    if (this.#blockEnd > this.#blockStart) this.#parts.push(this.#block!.subarray(this.#blockStart, this.#blockEnd));
    this.#blockStart = this.#blockEnd;
  }

  #drop(reason: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onDrop(reason);
  }
}
