import type { Socket } from 'node:net';
import { MergeboxError } from '../util/errors.js';
import { PROBE_LIMITS } from './limits.js';

/** A dialogue in lines over a protected connection, bounded in what it takes; `close` ends it. */
export class LineTalk {
  readonly #socket: Socket;
  #received = '';
  #total = 0;
  #failure: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(new MergeboxError('connection', error.message)));
    socket.on('close', () => this.#fail(new MergeboxError('connection', 'the server closed the connection')));
  }

  /** The next line without its end, octets as latin1. */
  async line(): Promise<string> {
    for (;;) {
      const end = this.#received.indexOf('\n');
      if (end !== -1) {
        const line = this.#received.slice(0, end).replace(/\r$/, '');
        this.#received = this.#received.slice(end + 1);
        return line;
      }
      if (this.#failure !== null) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Lines up to the first for which `isLast`, it included. */
  async linesUntil(isLast: (line: string) => boolean): Promise<string[]> {
    const lines: string[] = [];
    for (;;) {
      const line = await this.line();
      lines.push(line);
      if (isLast(line)) return lines;
    }
  }

  send(line: string): void {
    this.#socket.write(`${line}\r\n`, 'utf8');
  }

  close(): void {
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#total += chunk.length;
    this.#received += chunk.toString('latin1');
    const tooLong = this.#received.length > PROBE_LIMITS.lineBytes && !this.#received.includes('\n');
    if (tooLong || this.#total > PROBE_LIMITS.talkBytes) {
      this.#fail(new MergeboxError('protocol', 'the server says more than it has reason to'));
      this.#socket.destroy();
    }
    this.#wake?.();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#wake?.();
  }
}
