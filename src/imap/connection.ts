import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { errorText } from '../util/errors.js';
import { CommandReader, type LiteralEvent, type ReaderEvent } from '../wire/command-reader.js';
import { ParseError } from '../wire/parse-error.js';
import type { TableCommand } from './command.js';
import { ConnectionEnded } from './connection-ended.js';
import { type ByteStream, DeflateStream } from './deflate-stream.js';
import type { LiteralRoom } from './literal-room.js';
import { Output } from './output.js';
import { bad, no, type Reply } from './reply.js';
import { Session, type SessionIo, type SessionServices } from './session.js';

export interface ConnectionOptions {
  readonly peer: string;
  /** STARTTLS is offered, and no password is taken before it. */
  readonly startTls: boolean;
  readonly services: SessionServices;
  readonly commands: ReadonlyMap<string, TableCommand>;
  /** Where messages that are sent find room. */
  readonly room: LiteralRoom;
  /** The server side of a TLS handshake over the socket; resolves when it is done. */
  secure(socket: Socket): Promise<TLSSocket>;
  /** Counts a session of the user; false when there are too many. `release` is called with it at the end. */
  admitUser(user: string): boolean;
  releaseUser(user: string): void;
}

/**
 * One socket: cuts its bytes into commands and hands them to a session one after the other, so that pipelined commands
 * are executed in order; enforces the limits on what the peer sends, when, and on what it leaves unread.
 */
export class Connection implements SessionIo {
  readonly out: Output;
  readonly peer: string;
  readonly #options: ConnectionOptions;
  readonly #reader = new CommandReader();
  readonly #session: Session;
  /** When the client began to be without a login. */
  #started = performance.now();
  /** The socket, or TLS or compression over it. */
  #socket: ByteStream;
  /** As it came, before STARTTLS. */
  readonly #plain: Socket;
  #compressed = false;
  #secured: boolean;
  /** The client will send no more. */
  #ended = false;
  /** Counts what the loop may have to look at: bytes, the end, a shutdown. */
  #signals = 0;
  /** Set while the loop waits for the next signal. */
  #wake: (() => void) | null = null;
  #closeReason: string | null = null;
  #partialSince = 0;
  #partialBytes = 0;
  #admitted: string | null = null;
  /** Octets taken of the room for messages, for the command that is read or executed. */
  #taken = 0;

  constructor(socket: Socket, options: ConnectionOptions) {
    this.#socket = socket;
    this.#plain = socket;
    this.#options = options;
    this.#secured = !options.startTls;
    this.peer = options.peer;
    this.out = new Output(socket, options.services.limits, (reason) => this.#drop(reason));
    this.#session = new Session(this, options.services, options.commands);
    this.#listen();
  }

  get startTlsOffered(): boolean {
    return !this.#secured;
  }

  get loginAllowed(): boolean {
    return this.#secured;
  }

  /** Greets and serves until the connection ends; never rejects. */
  async run(): Promise<void> {
    const { log } = this.#options.services;
    try {
      this.out.text(`* OK [CAPABILITY ${this.#session.capabilities()}] Mergebox ready\r\n`);
      for (;;) await this.#handle(await this.#next());
    } catch (error) {
      if (!(error instanceof ConnectionEnded)) {
        log.error({ err: error, peer: this.peer }, 'an IMAP connection failed');
      }
    } finally {
      this.#session.close();
      this.releaseUser();
      await this.#finish();
    }
  }

  /** Says BYE once the running command is answered, and ends. */
  shutdown(): void {
    this.#closeReason = 'Server is shutting down';
    this.#signal();
  }

  /** Ends at once. */
  destroy(): void {
    this.out.close();
    this.#socket.destroy();
    this.#onEnd();
  }

  admitUser(user: string): boolean {
    if (!this.#options.admitUser(user)) return false;
    this.#admitted = user;
    return true;
  }

  releaseUser(): void {
    this.#giveRoom();
    if (this.#admitted !== null) this.#options.releaseUser(this.#admitted);
    this.#admitted = null;
    this.#started = performance.now();
  }

  wake(): void {
    this.#signal();
  }

  async readLine(maxBytes: number): Promise<Buffer> {
    this.#reader.expectLine(maxBytes);
    const event = await this.#next();
    if (event.type === 'line') return event.line;
    throw new ParseError(event.type === 'bad' ? event.reason : 'Expected a line');
  }

  async startTls(): Promise<void> {
    await this.out.drain();
    const plain = this.#plain;
    plain.off('data', this.#onData);
    // What was sent in clear behind STARTTLS may be an attacker's (RFC 9051 §6.2.1, §11.1).
    plain.pause();
    while (plain.read() !== null);
    this.#reader.clear();
    const secure = await this.#options.secure(plain).catch((error: unknown) => {
      this.#options.services.log.debug({ peer: this.peer, reason: errorText(error) }, 'STARTTLS failed');
      throw new ConnectionEnded();
    });
    this.#socket = secure;
    this.#secured = true;
    this.out.attach(secure);
    this.#listen();
  }

  get compressed(): boolean {
    return this.#compressed;
  }

  async compress(): Promise<void> {
    const inner = this.#socket;
    // Nothing may come before the OK is out (RFC 4978 §3); what comes after it is compressed.
    inner.off('data', this.#onData);
    inner.pause();
    this.#reader.clear();
    await this.out.drain();
    for (const [event, listener] of this.#ends) inner.off(event, listener);
    this.#compressed = true;
    this.#socket = new DeflateStream(inner);
    this.out.attach(this.#socket);
    this.#listen();
  }

  async end(): Promise<void> {
    throw new ConnectionEnded();
  }

  abort(): void {
    this.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#reader.push(chunk);
    this.#partialBytes += chunk.length;
    const waiting = this.#wake !== null;
    this.#signal();
    if (this.#partialSince > 0 && this.#partialBytes > this.#longest) this.#closeReason = 'The command is too long';
    if (!waiting && this.#reader.buffered > this.#options.services.limits.readAheadBytes) {
      this.#socket.pause();
    }
  };

  /** Octets that no command has, with all that is thrown away of one: compressed, a peer could send them for nothing. */
  get #longest(): number {
    const { messageBytes, commandBytes } = this.#options.services.limits;
    return 3 * messageBytes + 4 * commandBytes;
  }

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#signal();
  };

  readonly #onClose = (): void => {
    this.out.close();
    this.#onEnd();
  };

  get #ends(): readonly ['end' | 'close', () => void][] {
    return [
      ['end', this.#onEnd],
      ['close', this.#onClose],
    ];
  }

  #signal(): void {
    this.#signals += 1;
    this.#wake?.();
  }

  #listen(): void {
    this.#socket.on('data', this.#onData);
    for (const [event, listener] of this.#ends) this.#socket.on(event, listener);
    // A reset is followed by `close`; there is nobody to tell.
    this.#socket.on('error', () => undefined);
  }

  /** The next event, waiting for bytes when there is none; answers are sent before waiting. */
  async #next(): Promise<ReaderEvent> {
    for (;;) {
      if (this.#closeReason !== null) await this.#bye(this.#closeReason);
      const seen = this.#signals;
      const event = this.#reader.next();
      if (event !== null) {
        this.#partialSince = 0;
        if (this.out.full) await this.out.drain();
        // Answers to pipelined commands go out together, but do not wait for a slow one behind them.
        else if (this.out.gathered > 0) setImmediate(() => this.out.flush());
        return event;
      }
      if (this.#ended || this.out.closed) throw new ConnectionEnded();
      if (this.#session.hasNews) await this.#session.tellNews();
      await this.out.drain();
      // Something may have come while the client took its answers.
      if (this.#signals === seen) await this.#wait();
    }
  }

  async #wait(): Promise<void> {
    const partial = this.#reader.midCommand;
    if (partial && this.#partialSince === 0) {
      this.#partialSince = performance.now();
      this.#partialBytes = 0;
    }
    let timer: NodeJS.Timeout | undefined;
    const bytesCame = await new Promise<boolean>((resolve) => {
      this.#wake = () => resolve(true);
      timer = setTimeout(() => resolve(false), this.#patience(partial));
      if (this.#socket.isPaused()) this.#socket.resume();
    });
    clearTimeout(timer);
    this.#wake = null;
    if (!bytesCame) await this.#bye(this.#timeoutText(partial));
  }

  /** Milliseconds until the client has taken too long. */
  #patience(partial: boolean): number {
    const { limits } = this.#options.services;
    const now = performance.now();
    const waits = [this.#session.state === 'unauthenticated' ? this.#started + limits.loginMs - now : limits.idleMs];
    if (partial) {
      const earned = (this.#partialBytes * 1_000) / limits.minBytesPerSecond;
      waits.push(this.#partialSince + limits.stallMs + earned - now);
    }
    return Math.max(0, Math.min(...waits));
  }

  #timeoutText(partial: boolean): string {
    if (this.#session.state === 'unauthenticated') return 'Login takes too long';
    return partial ? 'The command takes too long to arrive' : 'Idle for too long';
  }

  async #handle(event: ReaderEvent): Promise<void> {
    switch (event.type) {
      case 'command':
        await this.#session.execute(event);
        break;
      case 'bad':
        await this.#session.reply(event.tag, bad(event.reason));
        break;
      case 'literal':
        await this.#onLiteral(event);
        break;
      case 'line':
        throw new Error('a line nobody asked for');
    }
    if (event.type !== 'literal') this.#giveRoom();
    const { limits } = this.#options.services;
    if (this.#session.badCommands >= limits.badCommands) await this.#bye('Too many bad commands');
    if (this.#session.loginFailures >= limits.loginAttempts) await this.#bye('Too many failed logins');
  }

  async #onLiteral(event: LiteralEvent): Promise<void> {
    const refusal = this.#literalRefusal(event);
    if (refusal === null) {
      this.#reader.acceptLiteral();
      if (!event.nonSync) this.out.text('+ Ready for the literal\r\n');
      return;
    }
    this.#reader.rejectLiteral();
    this.#giveRoom();
    await this.#session.reply(event.tag, refusal);
    // RFC 7888 §4: a client that sends more than anybody would store without asking is cut rather than read.
    if (event.nonSync && event.size > 2 * this.#options.services.limits.messageBytes)
      await this.#bye('Literal too large');
  }

  #literalRefusal({ command, size, total, binary }: LiteralEvent): Reply | null {
    const { limits } = this.#options.services;
    // RFC 3516 §4.4, RFC 5464 §5.
    if (binary && !isMessage(command) && command !== 'SETMETADATA') return bad('literal8 is for messages');
    if (this.#session.state === 'unauthenticated') {
      return size + total > limits.loginLiteralBytes ? bad('Literal too large before login') : null;
    }
    if (isMessage(command)) {
      // RFC 7889 §4: refused before the bytes are sent.
      if (size + total > limits.messageBytes) return no(`A message may have ${limits.messageBytes} octets`, 'TOOBIG');
      return this.takeRoom(size) ? null : no('Too many messages are sent at once, try again later', 'LIMIT');
    }
    if (size > limits.literalBytes) return bad(`A literal may have ${limits.literalBytes} octets here`);
    return size + total > limits.commandBytes ? bad('Too many literals in one command') : null;
  }

  takeRoom(octets: number): boolean {
    if (!this.#options.room.take(this.#admitted ?? '', octets)) return false;
    this.#taken += octets;
    return true;
  }

  #giveRoom(): void {
    if (this.#taken === 0) return;
    this.#options.room.give(this.#admitted ?? '', this.#taken);
    this.#taken = 0;
  }

  async #bye(text: string): Promise<never> {
    this.out.text(`* BYE ${text}\r\n`);
    throw new ConnectionEnded();
  }

  #drop(reason: string): void {
    this.#options.services.log.info({ peer: this.peer, reason }, 'IMAP client dropped');
    this.destroy();
  }

  /** Sends what is left and closes; a peer that does not take it is cut. */
  async #finish(): Promise<void> {
    const socket = this.#socket;
    try {
      this.out.flush();
      this.out.close();
    } catch (error) {
      this.#options.services.log.debug({ peer: this.peer, reason: errorText(error) }, 'IMAP client gone');
      socket.destroy();
    }
    if (socket.destroyed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => socket.destroy(), this.#options.services.limits.closeMs);
      socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      socket.resume();
      socket.end();
      if (this.#ended) socket.destroySoon();
    });
  }
}

/** Whether the literals of a command are messages, which may be larger than other words. */
function isMessage(command: string): boolean {
  return command === 'APPEND' || command === 'REPLACE';
}
