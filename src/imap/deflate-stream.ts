import { Duplex } from 'node:stream';
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw, type InflateRaw } from 'node:zlib';

/** Octets the inflater makes at a time: a small input that swells is taken in such pieces, each only when asked for. */
const PIECE = 16_384;
/** 64 KiB of memory for what we send, where zlib's own default is 256; mail still shrinks to a third. */
const DEFLATE = { level: 5, windowBits: 13, memLevel: 6, flush: constants.Z_SYNC_FLUSH } as const;
/** A peer may use the whole window. A stream that just stops is a closed connection, not an error. */
const INFLATE = { windowBits: 15, chunkSize: PIECE, finishFlush: constants.Z_SYNC_FLUSH } as const;

/** What a connection needs of its socket, compressed or not. */
export interface ByteStream extends Duplex {
  /** Destroys once everything written has left. */
  destroySoon(): void;
}

/**
 * Both directions of a connection under DEFLATE (RFC 4978, RFC 1951). Every write is flushed. Back-pressure goes
 * through in both directions, so that a peer can neither make octets pile up here that nobody takes, nor answers.
 */
export class DeflateStream extends Duplex implements ByteStream {
  readonly #socket: ByteStream;
  readonly #deflate: DeflateRaw = createDeflateRaw(DEFLATE);
  readonly #inflate: InflateRaw = createInflateRaw(INFLATE);

  constructor(socket: ByteStream) {
    super({ allowHalfOpen: true, readableHighWaterMark: PIECE });
    this.#socket = socket;
    this.#receive();
    this.#send();
    const fail = (): void => void this.destroy();
    // Garbage instead of DEFLATE: nothing can be understood any more.
    this.#inflate.on('error', fail);
    this.#deflate.on('error', fail);
    socket.on('close', fail);
  }

  override _read(): void {
    this.#inflate.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#deflate.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#deflate.once('end', () => this.#socket.end(() => done()));
    this.#deflate.end();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    this.#inflate.destroy();
    this.#deflate.destroy();
    done(error);
  }

  destroySoon(): void {
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy());
  }

  #receive(): void {
    const [socket, inflate] = [this.#socket, this.#inflate];
    socket.on('data', (chunk: Buffer) => {
      if (!inflate.write(chunk)) socket.pause();
    });
    inflate.on('drain', () => socket.resume());
    socket.on('end', () => inflate.end());
    inflate.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) inflate.pause();
    });
    inflate.on('end', () => this.push(null));
    socket.resume();
  }

  #send(): void {
    const [socket, deflate] = [this.#socket, this.#deflate];
    deflate.on('data', (chunk: Buffer) => {
      if (!socket.write(chunk)) deflate.pause();
    });
    socket.on('drain', () => deflate.resume());
  }
}
