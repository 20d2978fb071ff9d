import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

/** What an upstream SMTP server received in one DATA, octet for octet as it travelled: still dot-stuffed. */
export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** The MAIL FROM line. */
  readonly mailLine: string;
  readonly octets: Buffer;
}

export interface SmtpUpstreamOptions {
  readonly tls?: 'implicit' | 'starttls' | 'none';
  /** PEM texts; needed for TLS. */
  readonly certificate?: { readonly cert: string; readonly key: string };
  /** Demands this login. */
  readonly login?: { readonly user: string; readonly password: string };
  /** A free one when absent. */
  readonly port?: number;
  /** EHLO keywords beside STARTTLS and AUTH. */
  readonly extensions?: readonly string[];
  /**
   * Called for every command (verb in upper case; `.` is the end of DATA); the reply to give instead of success,
   * `null` for none at all, or `'drop'` to cut the connection.
   */
  readonly answer?: (verb: string, line: string) => string | null | 'drop' | undefined;
}

const DEFAULT_EXTENSIONS = ['PIPELINING', 'SIZE 10000000', '8BITMIME', 'SMTPUTF8', 'ENHANCEDSTATUSCODES'];

/** An SMTP server on loopback that keeps everything it is sent, and answers as it is told. */
export class SmtpUpstream {
  readonly mails: ReceivedMail[] = [];
  /** Every command line of all sessions; passwords as they came. */
  readonly commands: string[] = [];
  readonly #options: SmtpUpstreamOptions;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  constructor(options: SmtpUpstreamOptions) {
    this.#options = options;
    this.#server = createServer((socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => undefined);
      const first = options.tls === 'implicit' ? this.#secure(socket) : socket;
      new Session(first, options.tls === 'implicit', this, options, (plain) => this.#secure(plain)).greet();
    });
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Lines that begin with this verb. */
  commandsOf(verb: string): readonly string[] {
    return this.commands.filter((line) => line.toUpperCase().startsWith(verb));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.port ?? 0, '127.0.0.1', resolve);
    });
  }

  /** Cuts all connections; new ones are welcome. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop(): Promise<void> {
    this.cut();
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #secure(socket: Socket): Socket {
    const secured = new TLSSocket(socket, { isServer: true, ...this.#options.certificate });
    secured.on('error', () => socket.destroy());
    return secured;
  }
}

export async function startSmtpUpstream(options: SmtpUpstreamOptions = {}): Promise<SmtpUpstream> {
  const server = new SmtpUpstream(options);
  await server.listen();
  return server;
}

class Session {
  #socket: Socket;
  #secure: boolean;
  #loggedIn = false;
  #buffer = Buffer.alloc(0);
  #inData = false;
  #from = '';
  #mailLine = '';
  #to: string[] = [];
  readonly #upstream: SmtpUpstream;
  readonly #options: SmtpUpstreamOptions;
  readonly #wrap: (socket: Socket) => Socket;

  constructor(
    socket: Socket,
    secure: boolean,
    upstream: SmtpUpstream,
    options: SmtpUpstreamOptions,
    wrap: (socket: Socket) => Socket,
  ) {
    this.#socket = socket;
    this.#secure = secure;
    this.#upstream = upstream;
    this.#options = options;
    this.#wrap = wrap;
    this.#listen();
  }

  greet(): void {
    this.#respond('CONNECT', '', '220 upstream.example ESMTP');
  }

  #listen(): void {
    this.#socket.on('error', () => undefined);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, chunk]);
      this.#consume();
    });
  }

  #consume(): void {
    for (;;) {
      if (this.#inData) {
        if (!this.#content()) return;
        continue;
      }
      const end = this.#buffer.indexOf('\r\n');
      if (end < 0) return;
      const line = this.#buffer.toString('utf8', 0, end);
      this.#buffer = this.#buffer.subarray(end + 2);
      this.#upstream.commands.push(line);
      this.#command(line);
    }
  }

  /** True when the content was complete. */
  #content(): boolean {
    const empty = this.#buffer.subarray(0, 3).equals(Buffer.from('.\r\n'));
    const end = empty ? -2 : this.#buffer.indexOf('\r\n.\r\n');
    if (end === -1) return false;
    const octets = Buffer.from(this.#buffer.subarray(0, end + 2));
    this.#buffer = this.#buffer.subarray(end + 5);
    this.#inData = false;
    const accepted = this.#respond('.', '.', '250 2.0.0 Ok: queued as 4711');
    if (accepted) this.#upstream.mails.push({ from: this.#from, to: this.#to, mailLine: this.#mailLine, octets });
    return true;
  }

  #command(line: string): void {
    const verb = line.split(/[ :]/, 1)[0]?.toUpperCase() ?? '';
    const handler = HANDLERS[verb];
    if (handler === undefined) this.#respond(verb, line, '500 5.5.1 unknown');
    else handler.call(this, line, verb);
  }

  /** Sends the scripted answer or the default; true for success. */
  #respond(verb: string, line: string, normal: string): boolean {
    const scripted = this.#options.answer?.(verb, line);
    if (scripted === 'drop') {
      this.#socket.destroy();
      return false;
    }
    if (scripted === null) return false;
    const reply = scripted ?? normal;
    this.#socket.write(`${reply}\r\n`);
    return /^[23]/.test(reply);
  }

  hello(line: string, verb: string): void {
    const { extensions = DEFAULT_EXTENSIONS, tls, login } = this.#options;
    const offered = [...extensions];
    if (tls === 'starttls' && !this.#secure) offered.push('STARTTLS');
    else if (login !== undefined) offered.push('AUTH PLAIN LOGIN');
    const lines = ['upstream.example', ...offered];
    const reply = lines.map((each, index) => `250${index < lines.length - 1 ? '-' : ' '}${each}`).join('\r\n');
    this.#respond(verb, line, reply);
  }

  startTls(line: string, verb: string): void {
    const offered = this.#options.tls === 'starttls' && !this.#secure;
    if (!this.#respond(verb, line, offered ? '220 2.0.0 go ahead' : '502 5.5.1 not here')) return;
    this.#socket.removeAllListeners('data');
    this.#socket = this.#wrap(this.#socket);
    this.#secure = true;
    this.#listen();
  }

  auth(line: string, verb: string): void {
    const { login } = this.#options;
    const [, user, password] = Buffer.from(line.split(' ')[2] ?? '', 'base64')
      .toString('utf8')
      .split('\0');
    const ok = login !== undefined && user === login.user && password === login.password;
    this.#loggedIn = this.#respond(verb, line, ok ? '235 2.7.0 welcome' : '535 5.7.8 wrong') && ok;
  }

  mail(line: string, verb: string): void {
    const refused = this.#options.login !== undefined && !this.#loggedIn;
    if (!this.#respond(verb, line, refused ? '530 5.7.0 log in' : '250 2.1.0 Ok')) return;
    this.#from = /<(.*?)>/.exec(line)?.[1] ?? '';
    this.#mailLine = line;
    this.#to = [];
  }

  rcpt(line: string, verb: string): void {
    if (this.#respond(verb, line, '250 2.1.5 Ok')) this.#to.push(/<(.*?)>/.exec(line)?.[1] ?? '');
  }

  data(line: string, verb: string): void {
    this.#inData = this.#respond(verb, line, '354 go on');
  }

  quit(line: string, verb: string): void {
    this.#respond(verb, line, '221 2.0.0 bye');
    this.#socket.end();
  }
}

const HANDLERS: Readonly<Record<string, (this: Session, line: string, verb: string) => void>> = {
  EHLO: Session.prototype.hello,
  STARTTLS: Session.prototype.startTls,
  AUTH: Session.prototype.auth,
  MAIL: Session.prototype.mail,
  RCPT: Session.prototype.rcpt,
  DATA: Session.prototype.data,
  QUIT: Session.prototype.quit,
};
