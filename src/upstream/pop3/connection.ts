import type { Socket } from 'node:net';
import { MergeboxError } from '../../util/errors.js';
import { connectionError, RefusedError } from '../errors.js';
import { ReplyFramer, type ReplySink, type ReplyStatus } from './framer.js';

/** What a command may answer with behind its first line. */
export interface CommandOptions {
  readonly follows?: 'lines' | 'body';
  readonly line?: (text: string) => void;
  /** Octets of a mail; a promise holds the server back until it settles. */
  readonly body?: (bytes: Buffer) => void | Promise<void>;
  /** Answers a challenge (RFC 5034 §4). */
  readonly more?: (text: string) => string;
  /** Replaces the usual patience, ms. */
  readonly patienceMs?: number;
}

interface Waiting {
  readonly sink: ReplySink;
  readonly reject: (error: Error) => void;
  readonly patienceMs: number;
}

/**
 * One connection: commands out, answers in, in order (RFC 1939 §3). What is sent before an earlier answer came is
 * pipelined; whether that is allowed is the caller's to know. Any failure but `-ERR` ends the connection.
 */
export class Pop3Connection {
  readonly #socket: Socket;
  readonly #silenceMs: number;
  readonly #framer = new ReplyFramer(() => this.#waiting[0]?.sink ?? null);
  readonly #waiting: Waiting[] = [];
  #timer: { readonly handle: NodeJS.Timeout; readonly patienceMs: number } | null = null;
  /** Commands of this turn, which go out in one piece behind it. */
  #outgoing = '';
  #failure: Error | null = null;
  #holds = 0;

  constructor(socket: Socket, silenceMs: number) {
    this.#socket = socket;
    this.#silenceMs = silenceMs;
    socket.on('data', (bytes: Buffer) => this.#receive(bytes));
    socket.on('error', (error) => this.close(connectionError('talk to the server', error)));
    socket.on('close', () => this.close(new MergeboxError('connection', 'the server closed the connection')));
  }

  get closed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Sends a command (null: waits for the greeting); resolves to the text behind `+OK` when its whole answer is here.
   * `doing` stands for it in errors, for a command may be a secret. Rejects with `refused` for `-ERR`.
   */
  send(doing: string, command: string | null, options: CommandOptions = {}): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(connectionError(doing, this.#failure));
        return;
      }
      const fail = (error: unknown): void => reject(connectionError(doing, error));
      let refusal: Error | null = null;
      let text = '';
      const status = (kind: ReplyStatus, words: string): 'single' | 'lines' | 'body' => {
        text = words;
        if (kind === 'more') return this.#answer(doing, words, options);
        if (kind === 'error') refusal = refused(doing, words);
        return kind === 'ok' ? (options.follows ?? 'single') : 'single';
      };
      const end = (): void => {
        this.#waiting.shift();
        this.#arm();
        if (refusal !== null) reject(refusal);
        else busy.then(() => resolve(text), fail);
      };
      // Whoever takes the octets may still be at it when the last of them is here.
      let busy: Promise<void> = Promise.resolve();
      const body = (bytes: Buffer): void => {
        const taking = options.body?.(bytes);
        if (!(taking instanceof Promise)) return;
        busy = taking;
        this.#hold(taking);
      };
      // A challenge is not the end: the same sink takes what comes next.
      let challenged = false;
      const sink: ReplySink = {
        status: (kind, words) => {
          challenged = kind === 'more';
          return status(kind, words);
        },
        ...(options.line === undefined ? {} : { line: options.line }),
        body,
        end: () => (challenged ? this.#arm() : end()),
      };
      this.#waiting.push({ sink, reject: fail, patienceMs: options.patienceMs ?? this.#silenceMs });
      if (command !== null) this.#write(command);
      this.#arm();
    });
  }

  /** Ends the connection; all that wait fail with `error`. */
  close(error: Error): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#disarm();
    this.#socket.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #answer(doing: string, challenge: string, { more }: CommandOptions): 'single' {
    if (more === undefined) throw new MergeboxError('protocol', `${doing}: the server wants more than was asked for`);
    this.#write(more(challenge));
    return 'single';
  }

  #write(line: string): void {
    if (this.#outgoing === '') process.nextTick(() => this.#flush());
    this.#outgoing += `${line}\r\n`;
  }

  #flush(): void {
    const text = this.#outgoing;
    this.#outgoing = '';
    if (this.#failure === null) this.#socket.write(text, 'utf8');
  }

  #receive(bytes: Buffer): void {
    if (this.#failure !== null) return;
    this.#arm();
    try {
      this.#framer.push(bytes);
    } catch (error) {
      this.close(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #hold(busy: Promise<void>): void {
    this.#holds += 1;
    this.#socket.pause();
    const done = (): void => {
      this.#holds -= 1;
      if (this.#holds > 0 || this.#failure !== null) return;
      this.#arm();
      this.#socket.resume();
    };
    busy.then(done, (error: unknown) => {
      done();
      this.close(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** A server that owes an answer has so long for its next octet; time that we hold it back does not count. */
  #arm(): void {
    const patienceMs = this.#waiting[0]?.patienceMs;
    if (patienceMs !== undefined && this.#holds === 0 && this.#failure === null) this.#expect(patienceMs);
    else this.#disarm();
  }

  #expect(patienceMs: number): void {
    if (this.#timer?.patienceMs === patienceMs) {
      this.#timer.handle.refresh();
      return;
    }
    this.#disarm();
    const handle = setTimeout(() => {
      this.close(new MergeboxError('timeout', `the server said nothing for ${patienceMs / 1_000} s`));
    }, patienceMs);
    this.#timer = { handle, patienceMs };
  }

  #disarm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer.handle);
    this.#timer = null;
  }
}

/** RFC 2449 §8: `-ERR [CODE] text`. */
function refused(doing: string, words: string): RefusedError {
  const match = /^\[([A-Z0-9/-]{1,40})\] ?(.*)$/is.exec(words);
  const text = (match?.[2] ?? words).replace(/[^\x20-\x7e]/g, '?').slice(0, 300);
  return new RefusedError(doing, { status: 'NO', code: match?.[1]?.toUpperCase() ?? null, text: text || '-ERR' });
}
