import type { Socket } from 'node:net';
import { MergeboxError } from '../util/errors.js';
import { parseResponse, type Response, type TaggedResponse } from '../wire/response.js';
import { FetchItems, isFetch, parseFetch } from '../wire/response-fetch.js';
import { type LiteralSink, ResponseFramer } from '../wire/response-framer.js';
import { connectionError, refusal } from './errors.js';

/** What a command does with the data that comes for it. Whatever a method throws ends the connection. */
export interface CommandHandler {
  /**
   * A FETCH response, valid during the call: true when it was this command's. Commands in flight are asked in order.
   */
  fetch?(bytes: Buffer, items: FetchItems): boolean;
  /** A large literal of a FETCH begins, `bytes` from `start` to `end` before it; null when it is not this command's. */
  literal?(bytes: Buffer, start: number, end: number, size: number): LiteralSink | null;
  /** Any other untagged response while this is the oldest command in flight. */
  untagged?(response: Response): void;
  /** The server asks for more: what to send (RFC 9051 §7.6). */
  continuation?(text: string): string | Buffer;
}

interface InFlight {
  readonly tag: string;
  readonly doing: string;
  readonly handler: CommandHandler;
  readonly resolve: (response: TaggedResponse) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One IMAP connection as a client, commands pipelined: it writes commands, hands responses to their handlers, and knows
 * nothing of state. Any fault, a limit passed or `silenceMs` without an octet while an answer is owed, closes it and
 * rejects everything in flight.
 */
export class ReaderConnection {
  readonly #socket: Socket;
  readonly #silenceMs: number;
  readonly #framer: ResponseFramer;
  readonly #items = new FetchItems();
  readonly #inFlight: InFlight[] = [];
  #nextTag = 1;
  #silence: NodeJS.Timeout | null = null;
  #failure: MergeboxError | null = null;
  #holds = 0;
  /** What a server last said in BYE, the reason of the close that follows. */
  #bye: string | null = null;
  /** Called once when the connection is over. */
  onClose: ((error: MergeboxError) => void) | null = null;
  /** Untagged responses outside commands, and those that change the folder's state, before the command's handler. */
  onUntagged: ((response: Response) => void) | null = null;

  constructor(socket: Socket, silenceMs: number) {
    this.#socket = socket;
    this.#silenceMs = silenceMs;
    this.#framer = new ResponseFramer({
      response: (bytes, start, end, streamed) => this.#onResponse(bytes, start, end, streamed),
      literal: (bytes, start, end, size) => this.#onLiteral(bytes, start, end, size),
    });
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('error', (error) => this.close(connectionError('read from the server', error)));
    socket.on('close', () => this.close(this.#closedByServer()));
    socket.on('end', () => this.close(this.#closedByServer()));
  }

  get closed(): boolean {
    return this.#failure !== null;
  }

  /** Why the connection is over; null while it is not. */
  get failure(): MergeboxError | null {
    return this.#failure;
  }

  get commandsInFlight(): number {
    return this.#inFlight.length;
  }

  /** Waits for data that come before any command, such as the greeting. */
  expect(doing: string, handler: CommandHandler): { readonly promise: Promise<TaggedResponse>; end(): void } {
    const pending = this.#enqueue('*', doing, handler);
    return {
      promise: pending,
      end: () => {
        const at = this.#inFlight.findIndex((each) => each.tag === '*');
        if (at !== -1) this.#inFlight.splice(at, 1);
        this.#watchSilence();
      },
    };
  }

  /** Sends one command and resolves to its tagged response, whatever the status. Rejects when the connection fails. */
  send(doing: string, command: string, handler: CommandHandler = {}): Promise<TaggedResponse> {
    if (this.#failure !== null) return Promise.reject(this.#failure);
    const tag = `M${this.#nextTag}`;
    this.#nextTag += 1;
    const pending = this.#enqueue(tag, doing, handler);
    this.#socket.write(`${tag} ${command}\r\n`, 'latin1');
    return pending;
  }

  /** As `send`, and throws `refused` or `nonexistent` unless the status is OK. */
  async run(doing: string, command: string, handler: CommandHandler = {}): Promise<TaggedResponse> {
    const response = await this.send(doing, command, handler);
    if (response.status !== 'OK') {
      const code = response.code?.name ?? null;
      throw refusal(doing, { status: response.status, code, text: response.text });
    }
    return response;
  }

  /** Stops reading until `until` settles; holds add up. A sink that is slow holds the server back this way. */
  hold(until: Promise<void>): void {
    this.#holds += 1;
    this.#socket.pause();
    this.#watchSilence();
    const release = (): void => {
      this.#holds -= 1;
      if (this.#holds > 0 || this.#failure !== null) return;
      this.#watchSilence();
      this.#socket.resume();
    };
    until.then(release, (error: unknown) => {
      release();
      this.close(connectionError('hand on a message', error));
    });
  }

  /** Ends the connection at once; everything in flight rejects with `error`. */
  close(error: MergeboxError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#framer.close();
    this.#watchSilence();
    this.#socket.destroy();
    for (const command of this.#inFlight.splice(0)) command.reject(error);
    this.onClose?.(error);
  }

  #enqueue(tag: string, doing: string, handler: CommandHandler): Promise<TaggedResponse> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      this.#inFlight.push({ tag, doing, handler, resolve, reject });
      this.#watchSilence();
    });
  }

  #onData(chunk: Buffer): void {
    if (this.#failure !== null) return;
    this.#silence?.refresh();
    try {
      this.#framer.push(chunk);
    } catch (error) {
      this.close(connectionError('read from the server', error));
    }
  }

  #onResponse(bytes: Buffer, start: number, end: number, streamed: readonly number[] | null): void {
    if (isFetch(bytes, start, end)) {
      parseFetch(bytes, start, end, streamed, this.#items);
      for (const command of this.#inFlight) if (command.handler.fetch?.(bytes, this.#items)) return;
      return;
    }
    const response = parseResponse(bytes, start, end);
    if (response.kind === 'tagged') this.#onTagged(response);
    else if (response.kind === 'continuation') this.#onContinuation(response.text);
    else this.#onOther(response);
  }

  #onTagged(response: TaggedResponse): void {
    const at = this.#inFlight.findIndex((command) => command.tag === response.tag);
    const command = this.#inFlight[at];
    if (command === undefined) {
      throw new MergeboxError('protocol', `the server answered a command that was not sent: ${response.text}`);
    }
    this.#inFlight.splice(at, 1);
    this.#watchSilence();
    command.resolve(response);
  }

  #onContinuation(text: string): void {
    const command = this.#inFlight.find((each) => each.handler.continuation !== undefined);
    // A stray one means nothing (some servers send it after a refused literal).
    if (command?.handler.continuation === undefined) return;
    this.#socket.write(command.handler.continuation(text));
    this.#socket.write('\r\n');
  }

  #onOther(response: Response): void {
    if (response.kind === 'condition' && response.status === 'BYE') this.#bye = response.text;
    this.onUntagged?.(response);
    this.#inFlight[0]?.handler.untagged?.(response);
  }

  #onLiteral(bytes: Buffer, start: number, end: number, size: number): LiteralSink | null {
    if (!isFetch(bytes, start, end)) {
      throw new MergeboxError('protocol', `the server sent a literal of ${size} octets where none belongs`);
    }
    for (const command of this.#inFlight) {
      const sink = command.handler.literal?.(bytes, start, end, size);
      if (sink) return sink;
    }
    return null;
  }

  /** A timer runs exactly while the server owes an answer and may speak. */
  #watchSilence(): void {
    const wanted = this.#inFlight.length > 0 && this.#holds === 0 && this.#failure === null;
    if (wanted && this.#silence === null) {
      this.#silence = setTimeout(() => this.#onSilence(), this.#silenceMs);
    } else if (!wanted && this.#silence !== null) {
      clearTimeout(this.#silence);
      this.#silence = null;
    }
  }

  #onSilence(): void {
    const doing = this.#inFlight[0]?.doing ?? 'wait for the server';
    this.close(new MergeboxError('timeout', `${doing}: the server was silent for ${this.#silenceMs / 1_000} s`));
  }

  #closedByServer(): MergeboxError {
    const why = this.#bye === null ? '' : `: ${this.#bye}`;
    const doing = this.#inFlight[0]?.doing;
    const text =
      doing === undefined ? 'the server closed the connection' : `${doing}: the server closed the connection`;
    return new MergeboxError('connection', `${text}${why}`);
  }
}
