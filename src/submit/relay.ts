import { once } from 'node:events';
import type { Socket } from 'node:net';
import SMTPConnection from 'nodemailer/lib/smtp-connection';
import { connectTcp } from '../upstream/connector.js';
import { errorText, MergeboxError } from '../util/errors.js';
import { needsUtf8, wireAddress } from './address.js';
import { dotStuffed } from './dot-stuffing.js';
import type { RelayTimeouts } from './limits.js';
import { Refusal, type Reply } from './reply.js';
import { ReplyReader } from './reply-reader.js';
import type { RelayTarget } from './types.js';

/** What the upstream server announced (RFC 5321 §4.1.1.1). */
export interface RelayFeatures {
  /** Largest message in octets (RFC 1870); null when it told none. */
  readonly size: number | null;
  readonly eightBitMime: boolean;
  readonly smtpUtf8: boolean;
}

/**
 * A logged-in session with an upstream SMTP server, one command at a time, so that every reply can be passed on.
 * nodemailer connects, protects the connection and logs in; from there on the socket is ours. Methods reject with
 * `connection`, `timeout` or `protocol`, after which the session is over.
 */
export class Relay {
  #features: RelayFeatures = { size: null, eightBitMime: false, smtpUtf8: false };
  readonly #connection: SMTPConnection;
  readonly #socket: Socket;
  readonly #timeouts: RelayTimeouts;
  readonly #reader = new ReplyReader();
  #waiting: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | null = null;
  #failure: MergeboxError | null = null;
  /** A reply that nothing waited for. */
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
   * MAIL FROM (RFC 5321 §4.1.1.2), with SIZE when it is known, BODY=8BITMIME wherever the server takes it, and SMTPUTF8
   * when the client asked for it. Throws a refusal when the server lacks what the address needs.
   */
  async mail(sender: string, { size, utf8 }: { size: number | null; utf8: boolean }): Promise<Reply> {
    const { size: most, eightBitMime, smtpUtf8 } = this.#features;
    if (size !== null && most !== null && size > most) {
      throw new Refusal(552, '5.3.4', `the message is larger than the ${most} octets the server of the account takes`);
    }
    const sizeParameter = size !== null && most !== null ? ` SIZE=${size}` : '';
    const parameters = `${sizeParameter}${eightBitMime ? ' BODY=8BITMIME' : ''}${utf8 && smtpUtf8 ? ' SMTPUTF8' : ''}`;
    return await this.#command(`MAIL FROM:<${this.#address(sender, utf8)}>${parameters}`);
  }

  /** RCPT TO (RFC 5321 §4.1.1.3). */
  async recipient(address: string, utf8: boolean): Promise<Reply> {
    return await this.#command(`RCPT TO:<${this.#address(address, utf8)}>`);
  }

  /** DATA (RFC 5321 §4.1.1.4); after 354 the server awaits `content`, and nothing else. */
  async data(): Promise<Reply> {
    return await this.#command('DATA');
  }

  /** The content and its end; resolves to the verdict on the message. From here on a lost reply leaves open what it was. */
  async content(parts: readonly Buffer[]): Promise<Reply> {
    this.#early = null;
    for (const block of dotStuffed(parts)) {
      if (this.#early !== null || this.#failure !== null) break;
      if (!this.#socket.write(block)) await this.#drain();
    }
    return this.#early === null ? await this.#reply(this.#timeouts.finalMs) : this.#cutShort(this.#early);
  }

  /** A server that answers before the content is over gets no more of it: nothing could follow in this session. */
  #cutShort(reply: Reply): Reply {
    this.#fail('connection', `the server answered ${reply.code} before the end of the message`);
    return reply;
  }

  /** Says QUIT without waiting for the answer, and closes. */
  close(): void {
    if (this.usable && this.#waiting === null) this.#socket.write('QUIT\r\n');
    this.#fail('aborted', 'the session was closed');
  }

  async #hello(name: string): Promise<void> {
    const reply = await this.#command(`EHLO ${name}`);
    const words = (reply.code === 250 ? reply.lines.slice(1) : []).map((line) =>
      line.trim().toUpperCase().split(/\s+/),
    );
    const has = (keyword: string): boolean => words.some((line) => line[0] === keyword);
    const size = Number(words.find((line) => line[0] === 'SIZE')?.[1] ?? 0);
    // RFC 1870 §4: 0 means that there is no fixed limit.
    this.#features = {
      size: Number.isSafeInteger(size) && size > 0 ? size : null,
      eightBitMime: has('8BITMIME'),
      smtpUtf8: has('SMTPUTF8'),
    };
  }

  #address(address: string, utf8: boolean): string {
    if (utf8 && this.#features.smtpUtf8) return address;
    const ascii = needsUtf8(address) ? null : wireAddress(address);
    if (ascii !== null) return ascii;
    throw new Refusal(553, '5.6.7', `the server of the account cannot send to or from ${address} (no SMTPUTF8)`);
  }

  async #command(line: string): Promise<Reply> {
    if (this.#failure !== null) throw this.#failure;
    // Addresses were checked where they came in; this is the last place where a second command could be smuggled.
    if (/[\r\n\0]/.test(line)) throw new MergeboxError('protocol', 'sending an SMTP command: it holds a line end');
    this.#socket.write(`${line}\r\n`);
    return await this.#reply(this.#timeouts.commandMs);
  }

  #reply(timeoutMs: number): Promise<Reply> {
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
      this.#waiting = {
        resolve: (reply) => {
          settle();
          resolve(reply);
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
        if (this.#waiting !== null) this.#waiting.resolve(reply);
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
