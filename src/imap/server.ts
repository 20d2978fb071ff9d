import { createServer, type Server, type Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { addressKey } from '../auth/address.js';
import { errorText } from '../util/errors.js';
import { COMMANDS } from './commands/table.js';
import { Connection } from './connection.js';
import { LiteralRoom } from './literal-room.js';
import type { SessionServices } from './session.js';
import { SessionCounter } from './session-counter.js';

export interface ImapListenerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
}

export interface ImapServerOptions extends SessionServices {
  /** PEM texts of certificate and key; asked again by `reloadCertificate`. Not needed when no listener has TLS. */
  readonly certificate: () => { readonly cert: string; readonly key: string };
}

/** The IMAP listeners and all their connections. */
export class ImapServer {
  readonly #options: ImapServerOptions;
  readonly #servers: { server: Server; options: ImapListenerOptions }[] = [];
  readonly #connections = new Set<Connection>();
  /** Running connections and handshakes. */
  readonly #running = new Set<Promise<void>>();
  readonly #handshakes = new Set<Socket>();
  readonly #users: SessionCounter;
  readonly #addresses: SessionCounter;
  readonly #room: LiteralRoom;
  #context: SecureContext | null = null;
  #closing = false;

  constructor(options: ImapServerOptions) {
    this.#options = options;
    this.#users = new SessionCounter(options.limits.sessionsPerUser);
    this.#addresses = new SessionCounter(options.limits.sessionsPerAddress);
    this.#room = new LiteralRoom(options.limits.messageBytes * options.limits.messagesInMemory);
  }

  /** Adds a listener; resolves with its real port once it accepts, rejects when it cannot. */
  async listen(options: ImapListenerOptions): Promise<ImapListenerOptions> {
    // A wrong certificate fails now, not with the first client.
    if (options.tls !== 'none') this.#secureContext();
    // Commands that came before the client's end are still answered.
    const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true }, (socket) => {
      const done = this.#accept(socket, options).finally(() => this.#running.delete(done));
      this.#running.add(done);
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(options.port, options.host, () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error) => this.#options.log.error({ err: error }, 'an IMAP listener failed'));
    const address = server.address();
    const real = { ...options, port: typeof address === 'object' && address !== null ? address.port : options.port };
    this.#servers.push({ server, options: real });
    return real;
  }

  /** The listeners with their real ports. */
  get listeners(): readonly ImapListenerOptions[] {
    return this.#servers.map(({ options }) => options);
  }

  /** Connections now. */
  get connections(): number {
    return this.#connections.size;
  }

  /** New handshakes use the certificate as it is now; throws when it is unusable, and keeps the old one. */
  reloadCertificate(): void {
    this.#context = createSecureContext(this.#options.certificate());
  }

  /** Stops accepting, says BYE to all clients once their command is answered, and cuts those that do not go. */
  async close(): Promise<void> {
    this.#closing = true;
    const closed = this.#servers.map(({ server }) => new Promise<void>((resolve) => server.close(() => resolve())));
    for (const socket of this.#handshakes) socket.destroy();
    for (const connection of this.#connections) connection.shutdown();
    const timer = setTimeout(() => {
      for (const connection of this.#connections) connection.destroy();
    }, this.#options.limits.closeMs);
    await Promise.all([...closed, ...this.#running]);
    clearTimeout(timer);
  }

  async #accept(socket: Socket, { tls }: ImapListenerOptions): Promise<void> {
    // An IPv4 client of a dual-stack listener counts as what it is.
    const peer = (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
    const ignore = (): void => undefined;
    socket.on('error', ignore);
    const address = addressKey(peer);
    const full = this.#running.size >= this.#options.limits.sessions;
    if (this.#closing || full || !this.#addresses.admit(address)) {
      this.#options.log.info({ peer }, `IMAP connection refused: too many${full ? '' : ' from this address'}`);
      // Before a handshake nothing can be said in TLS.
      if (tls === 'implicit') socket.destroy();
      else socket.end(`* BYE Too many connections${full ? '' : ' from your address'}\r\n`, () => socket.destroy());
      return;
    }
    try {
      await this.#serve(tls === 'implicit' ? await this.#secure(socket) : socket, peer, tls === 'starttls');
    } catch (error) {
      this.#options.log.debug({ peer, reason: errorText(error) }, 'IMAP handshake failed');
    } finally {
      this.#addresses.release(address);
    }
  }

  async #serve(socket: Socket, peer: string, startTls: boolean): Promise<void> {
    const connection = new Connection(socket, {
      peer,
      startTls,
      services: this.#options,
      commands: COMMANDS,
      room: this.#room,
      secure: (plain) => this.#secure(plain),
      admitUser: (user) => this.#users.admit(user),
      releaseUser: (user) => this.#users.release(user),
    });
    this.#connections.add(connection);
    if (this.#closing) connection.shutdown();
    await connection.run();
    this.#connections.delete(connection);
  }

  /** The server side of a handshake; ALPN, where offered, must name imap (RFC 7301, RFC 8314 §7). */
  async #secure(socket: Socket): Promise<TLSSocket> {
    const secure = new TLSSocket(socket, {
      isServer: true,
      secureContext: this.#secureContext(),
      ALPNProtocols: ['imap'],
    });
    this.#handshakes.add(socket);
    try {
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error('the TLS handshake takes too long')),
          this.#options.limits.handshakeMs,
        );
        const fail = (error?: Error): void => {
          clearTimeout(timer);
          reject(error ?? new Error('the client left during the TLS handshake'));
        };
        secure.once('error', fail);
        secure.once('close', () => fail());
        secure.once('secure', () => {
          clearTimeout(timer);
          secure.off('error', fail);
          resolve();
        });
      });
      return secure;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      this.#handshakes.delete(socket);
    }
  }

  #secureContext(): SecureContext {
    this.#context ??= createSecureContext(this.#options.certificate());
    return this.#context;
  }
}
