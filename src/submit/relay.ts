import { once } from 'node:events';
import type { Socket } from 'node:net';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { connectTcp } from '../upstream/connector.js';
import { errorText, MergeboxError } from '../util/errors.js';
import { DotStuffing } from './dot-stuffing.js';
import { type RelayTimeouts, SUBMIT_LIMITS } from './limits.js';
import { type RelayFeatures, readFeatures } from './relay-features.js';
import type { Reply } from './reply.js';
import { ReplyReader } from './reply-reader.js';
import type { RelayTarget } from './types.js';

/**
 * A logged-in session with an upstream SMTP server, driven step by step, so that every reply can be passed on and it is
 * known what went out when a connection breaks.
 * nodemailer connects, protects the connection and logs in; from there on the socket is ours. Methods reject with
 * `connection`, `timeout` or `protocol`, after which the session is over.
 */
export class Relay {
  /** MAIL FROM went out and nothing has ended its transaction since. */
  inTransaction = false;
  /** The final dot of the last content went out. */
  endSent = false;
  #features: RelayFeatures = readFeatures([]);
  readonly #connection: SMTPConnection;
  readonly #socket: Socket;
  readonly #timeouts: RelayTimeouts;
  readonly #reader = new ReplyReader();
  #waiting: Exchange | null = null;
  #failure: MergeboxError | null = null;
  /** The content is going out and no reply is due. */
  #inContent = false;
  /** A reply that came while it was. */
  #early: Reply | null = null;

  private constructor(connection: SMTPConnection, socket: Socket, timeouts: RelayTimeouts) {
    this.#connection = connection;
    this.#socket = socket;
    this.#timeouts = timeouts;
    // nodemailer's own listener would take our replies for unexpected ones.
    socket.removeAllListeners('data');
    socket.setTimeout(0);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail('connection', error.message));
    socket.on('end', () => this.#fail('connection', 'the server closed the connection'));
    socket.on('close', () => this.#fail('connection', 'the server closed the connection'));
  }

  /**
   * Connects and logs in. `name` is what EHLO says. Rejects with `connection`, `timeout`, `authentication` (the server
   * refused name or password), `refused` (it wants nobody) or `protocol`.
   */
  static async open(target: RelayTarget, name: string, timeouts: RelayTimeouts): Promise<Relay> {
    const tunnel = await openTunnel(target, timeouts);
    const connection = new SMTPConnection(connectionOptions(target, name, timeouts, tunnel));
    try {
      await connect(connection);
      if (target.auth !== null) await login(connection, target.auth.username, target.auth.password.reveal());
      if (!connection._socket) throw new MergeboxError('connection', 'the server closed the connection');
      const relay = new Relay(connection, connection._socket, timeouts);
      await relay.#hello(name);
      return relay;
    } catch (error) {
      connection.close();
      throw openingError(error, target);
    }
  }

  get features(): RelayFeatures {
    return this.#features;
  }

  /** False once the session is over. */
  get usable(): boolean {
    return this.#failure === null;
  }

  /**
   * Sends commands and resolves to their replies, in order; all at once where the server takes PIPELINING (RFC 2920),
   * else one by one. `giveUp` is asked before each step and sees the replies so far: true sends no more.
   */
  async commands(lines: readonly string[], giveUp: (replies: readonly Reply[]) => boolean): Promise<readonly Reply[]> {
    const replies: Reply[] = [];
    const step = this.#features.pipelining ? SUBMIT_LIMITS.pipelined : 1;
    for (let at = 0; at < lines.length && !giveUp(replies); at += step) {
      replies.push(...(await this.#send(lines.slice(at, at + step))));
    }
    return replies;
  }

  /**
   * The content and, once `beforeEnd` has resolved, the final dot; resolves to the verdict on the message. When it
   * rejects, `endSent` tells whether the server may have taken it.
   */
  async content(blocks: AsyncIterable<Buffer> | Iterable<Buffer>, beforeEnd: () => Promise<void>): Promise<Reply> {
    this.endSent = false;
    this.#early = null;
    this.#inContent = true;
    const stuffing = new DotStuffing();
    // What is at hand at once leaves in one packet.
    this.#socket.cork();
    for await (const content of blocks) {
      for (const block of stuffing.blocks(content)) {
        if (this.#early !== null || this.#failure !== null) break;
        if (!this.#socket.write(block)) {
          this.#socket.uncork();
          await this.#drain();
          this.#socket.cork();
        }
      }
      if (this.#early !== null || this.#failure !== null) break;
    }
    this.#socket.uncork();
    if (this.#early === null && this.#failure === null) await beforeEnd();
    if (this.#early !== null) return this.#cutShort(this.#early);
    this.#inContent = false;
    if (this.#failure !== null) throw this.#failure;
    this.endSent = true;
    this.#socket.write(stuffing.end());
    const [reply] = await this.#replies(1, this.#timeouts.finalMs);
    this.inTransaction = false;
    return reply!;
  }

  /** A server that answers before the content is over gets no more of it: nothing could follow in this session. */
  #cutShort(reply: Reply): Reply {
    this.#fail('connection', `the server answered ${reply.code} before the end of the message`);
    return reply;
  }

  /** Ends the session at once, within whatever is going on. */
  abort(): void {
    this.#fail('connection', 'the session was given up');
  }

  /** Says QUIT without waiting for the answer, and closes. */
  close(): void {
    if (this.usable && this.#waiting === null) this.#socket.write('QUIT\r\n');
    this.#fail('aborted', 'the session was closed');
  }

  async #hello(name: string): Promise<void> {
    const [reply] = await this.#send([`EHLO ${name}`]);
    this.#features = readFeatures(reply?.code === 250 ? reply.lines.slice(1) : []);
  }

  async #send(lines: readonly string[]): Promise<readonly Reply[]> {
    if (this.#failure !== null) throw this.#failure;
    // Addresses were checked where they came in; this is the last place where a second command could be smuggled.
    if (lines.some((line) => /[\r\n\0]/.test(line))) {
      throw new MergeboxError('protocol', 'sending an SMTP command: it holds a line end');
    }
    this.#socket.write(`${lines.join('\r\n')}\r\n`);
    return await this.#replies(lines.length, this.#timeouts.commandMs);
  }

  #replies(count: number, timeoutMs: number): Promise<readonly Reply[]> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== null) {
        reject(this.#failure);
        return;
      }
      const timer = setTimeout(() => this.#fail('timeout', `no answer within ${timeoutMs / 1_000} s`), timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiting = null;
      };
      const replies: Reply[] = [];
      this.#waiting = {
        take: (reply) => {
          replies.push(reply);
          if (replies.length < count) return;
          settle();
          resolve(replies);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
    });
  }

  async #drain(): Promise<void> {
    const stop = new AbortController();
    const timer = setTimeout(() => this.#fail('timeout', 'the server takes no data'), this.#timeouts.commandMs);
    const { signal } = stop;
    // 'close' comes for a failure as well, since that destroys the socket.
    await Promise.race([once(this.#socket, 'drain', { signal }), once(this.#socket, 'close', { signal })])
      .catch(() => undefined)
      .finally(() => {
        clearTimeout(timer);
        stop.abort();
      });
  }

  #receive(chunk: Buffer): void {
    try {
      for (const reply of this.#reader.push(chunk)) {
        // 421 may come at any time (RFC 5321 §4.2.3) and ends the session after it was passed on.
        if (this.#waiting !== null) this.#waiting.take(reply);
        else if (this.#inContent) this.#early ??= reply;
        else if (this.#failure === null && reply.code !== 221)
          this.#fail('connection', `the server said ${reply.code}`);
        if (reply.code === 421) this.#fail('connection', reply.text);
      }
    } catch (error) {
      this.#fail('protocol', errorText(error));
    }
  }

  #fail(code: 'connection' | 'timeout' | 'protocol' | 'aborted', text: string): void {
    if (this.#failure !== null) return;
    this.#failure = new MergeboxError(code, `talking to the SMTP server: ${text}`);
    this.#waiting?.reject(this.#failure);
    this.#connection.close();
    if (code !== 'aborted') this.#socket.destroy();
  }
}

/** The socket that a proxy stands behind; null without one. TLS is made inside it, with the upstream. */
async function openTunnel(target: RelayTarget, timeouts: RelayTimeouts): Promise<Socket | null> {
  if (!target.endpoint.proxy) return null;
  try {
    return await connectTcp(target.endpoint, timeouts.connectMs);
  } catch (error) {
    throw openingError(error, target);
  }
}

function connectionOptions(
  target: RelayTarget,
  name: string,
  timeouts: RelayTimeouts,
  tunnel: Socket | null,
): SMTPConnection.Options {
  const { host, port, tls, ca } = target.endpoint;
  return {
    host,
    port,
    name,
    ...(tunnel === null ? {} : { connection: tunnel }),
    secure: tls === 'implicit',
    // Without it nodemailer would go on in clear when a man in the middle hides STARTTLS.
    requireTLS: tls === 'starttls',
    ignoreTLS: tls === 'none',
    tls: { minVersion: 'TLSv1.2', ...(ca === null ? {} : { ca }) },
    connectionTimeout: timeouts.connectMs,
    greetingTimeout: timeouts.greetingMs,
    socketTimeout: timeouts.commandMs,
    dnsTimeout: timeouts.connectMs,
    maxResponseSize: 65_536,
  };
}

function connect(connection: SMTPConnection): Promise<void> {
  return new Promise((resolve, reject) => {
    // Stays attached: after `connect` the same errors reach the running command, and an unheard one would throw.
    connection.on('error', reject);
    connection.once('end', () => reject(new MergeboxError('connection', 'the server closed the connection')));
    connection.connect((error) => (error ? reject(error) : resolve()));
  });
}

function login(connection: SMTPConnection, user: string, pass: string): Promise<void> {
  return new Promise((resolve, reject) => {
    connection.on('error', reject);
    connection.once('end', () => reject(new MergeboxError('connection', 'the server closed the connection')));
    connection.login({ user, pass, credentials: { user, pass } }, (error) => (error ? reject(error) : resolve()));
  });
}

/** What awaits replies. */
interface Exchange {
  readonly take: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** nodemailer's errors by their code; the text never holds a password, only what the server said. */
function openingError(error: unknown, { endpoint }: RelayTarget): Error {
  const { code, responseCode } = error as { code?: string; responseCode?: number };
  const text = `connecting to the SMTP server ${endpoint.host}:${endpoint.port}: ${errorText(error)}`;
  if (error instanceof MergeboxError) return new MergeboxError(error.code, text, { cause: error });
  if (code === 'EAUTH') return new MergeboxError('authentication', text, { cause: error });
  if (code === 'ETIMEDOUT') return new MergeboxError('timeout', text, { cause: error });
  if (typeof responseCode === 'number') return new MergeboxError('refused', text, { cause: error });
  return new MergeboxError('connection', text, { cause: error });
}
