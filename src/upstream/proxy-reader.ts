import type { Socket } from 'node:net';
import { MergeboxError } from '../util/errors.js';

/**
 * Reads what a proxy says before it lets go of the connection, and not an octet more: what follows belongs to the
 * upstream. The socket is not to be read by anybody else until `release`.
 */
export class ProxyReader {
  readonly #socket: Socket;
  readonly #where: string;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket, where: string) {
    this.#socket = socket;
    this.#where = where;
    socket.on('readable', this.#onReadable);
    socket.on('end', this.#onEnd);
    socket.on('close', this.#onEnd);
    socket.on('error', this.#onError);
  }

  /** Exactly `count` octets. Throws `connection` when the proxy hangs up before. */
  async octets(count: number): Promise<Buffer> {
    for (;;) {
      const bytes = this.#socket.read(count) as Buffer | null;
      if (bytes !== null && bytes.length === count) return bytes;
      await this.#more();
    }
  }

  /** Octets up to `end` and with it, at most `limit` of them. Throws `protocol` for more. */
  async through(end: string, limit: number): Promise<Buffer> {
    const read: Buffer[] = [];
    let size = 0;
    for (;;) {
      const chunk = this.#socket.read() as Buffer | null;
      if (chunk === null) {
        await this.#more();
        continue;
      }
      read.push(chunk);
      // The end may be split across chunks.
      const joined = Buffer.concat(read);
      const at = joined.indexOf(end, Math.max(0, size - end.length), 'latin1');
      size = joined.length;
      if (at !== -1 && at + end.length <= limit) {
        const rest = joined.subarray(at + end.length);
        if (rest.length > 0) this.#socket.unshift(rest);
        return joined.subarray(0, at + end.length);
      }
      if (size >= limit) throw new MergeboxError('protocol', `${this.#where}: its answer has no end`);
      read.splice(0, read.length, joined);
    }
  }

  /** Lets go of the socket; resolves when its next owner may listen. */
  async release(): Promise<void> {
    this.#socket.off('readable', this.#onReadable);
    this.#socket.off('end', this.#onEnd);
    this.#socket.off('close', this.#onEnd);
    this.#socket.off('error', this.#onError);
    // The stream leaves its paused mode one turn after it has lost its last reader.
    await new Promise((resolve) => setImmediate(resolve));
  }

  async #more(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  readonly #onReadable = (): void => this.#wake?.();

  readonly #onEnd = (): void =>
    this.#fail(new MergeboxError('connection', `${this.#where}: it closed the connection before the tunnel stood`));

  readonly #onError = (error: Error): void =>
    this.#fail(new MergeboxError('connection', `${this.#where}: ${error.message}`));

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
}
