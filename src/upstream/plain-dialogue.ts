import type { Socket } from 'node:net';
import { MergeboxError } from '../util/errors.js';

/** Longest line before TLS: greetings and capability lists stay far below. */
const MAX_PLAIN_LINE = 8_192;

/**
 * A few lines in clear before TLS takes over: what STARTTLS (IMAP, SMTP) and STLS (POP3) need, and a proxy's greeting.
 * `end` throws away whatever else has arrived, so that nothing said in clear is ever taken for protected.
 */
export class PlainDialogue {
  readonly #socket: Socket;
  #received = '';
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  /** The next line without its line end, octets as latin1. Throws `connection` or `protocol`. */
  async readLine(): Promise<string> {
    for (;;) {
      const lf = this.#received.indexOf('\n');
      if (lf !== -1) {
        const line = this.#received.slice(0, lf).replace(/\r$/, '');
        this.#received = this.#received.slice(lf + 1);
        return line;
      }
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Sends one line; the line end is added. */
  writeLine(line: string): void {
    this.#socket.write(`${line}\r\n`, 'latin1');
  }

  /** Lets go of the socket, which then belongs to TLS. */
  end(): void {
    this.#socket.off('data', this.#onData);
    this.#socket.off('error', this.#onError);
    this.#socket.off('close', this.#onClose);
    this.#socket.pause();
    // Injected octets that wait in the stream must not reach the TLS layer's owner either.
    while (this.#socket.read() !== null);
    this.#received = '';
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#received += chunk.toString('latin1');
    if (this.#received.length > MAX_PLAIN_LINE) {
      this.#fail(new MergeboxError('protocol', 'the server sent too much before TLS'));
      this.#socket.pause();
    }
    this.#wake?.();
  };

  readonly #onError = (error: Error): void => this.#fail(error);

  readonly #onClose = (): void => {
    this.#fail(new MergeboxError('connection', 'the server closed the connection before TLS'));
  };

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
}
