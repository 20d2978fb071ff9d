import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** What a scripted server can and how it misbehaves; everything may be changed between two sessions. */
export interface Pop3Behaviour {
  /** Lines of CAPA; null: it knows no CAPA. */
  capabilities: readonly string[] | null;
  uidl: boolean;
  top: boolean;
  password: string;
  /** Octets that are written at once; 0: all. */
  piece: number;
  /** The connection is cut when the server has written so many octets in this session; -1: never. */
  cutAfter: number;
  /** Answers a command in place of the server: octets, `cut` to hang up, or null to let it answer. */
  script: ((command: string, session: Pop3FakeSession) => string | Buffer | 'cut' | null) | null;
}

export interface FakeMail {
  readonly uidl: string;
  readonly bytes: Buffer;
}

export interface Pop3FakeSession {
  /** Commands so far. */
  readonly commands: string[];
}

const DEFAULTS: Pop3Behaviour = {
  capabilities: ['TOP', 'UIDL', 'SASL PLAIN', 'PIPELINING', 'RESP-CODES'],
  uidl: true,
  top: true,
  password: 'secret',
  piece: 0,
  cutAfter: -1,
  script: null,
};

/** A POP3 server of one maildrop on loopback, in this process. */
export class Pop3Fake {
  readonly behaviour: Pop3Behaviour;
  mails: FakeMail[] = [];
  /** One list of commands for each session, passwords included. */
  readonly sessions: string[][] = [];
  /** Mails that a QUIT deleted. */
  readonly deleted: FakeMail[] = [];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #serial = 0;

  private constructor(behaviour: Partial<Pop3Behaviour>) {
    this.behaviour = { ...DEFAULTS, ...behaviour };
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(behaviour: Partial<Pop3Behaviour> = {}): Promise<Pop3Fake> {
    const fake = new Pop3Fake(behaviour);
    await new Promise<void>((resolve) => fake.#server.listen(0, '127.0.0.1', resolve));
    return fake;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  add(bytes: Buffer | string, uidl?: string): FakeMail {
    this.#serial += 1;
    const mail = { uidl: uidl ?? `id-${this.#serial}`, bytes: Buffer.from(bytes) };
    this.mails.push(mail);
    return mail;
  }

  /** What the sessions so far sent of this command. */
  sent(command: string): number {
    return this.sessions.flat().filter((line) => line.toUpperCase().startsWith(command)).length;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #serve(socket: Socket): void {
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    const session = new Session(this, socket);
    this.sessions.push(session.commands);
    socket.on('data', (chunk: Buffer) => session.receive(chunk));
  }
}

/** RFC 1939, as far as a client of ours goes. */
class Session implements Pop3FakeSession {
  readonly commands: string[] = [];
  readonly #fake: Pop3Fake;
  readonly #socket: Socket;
  readonly #mails: readonly FakeMail[];
  readonly #marked = new Set<FakeMail>();
  #input = '';
  #written = 0;
  #sasl = false;

  constructor(fake: Pop3Fake, socket: Socket) {
    this.#fake = fake;
    this.#socket = socket;
    this.#mails = [...fake.mails];
    this.#write('+OK ready\r\n');
  }

  receive(chunk: Buffer): void {
    this.#input += chunk.toString('utf8');
    for (let end = this.#input.indexOf('\r\n'); end >= 0; end = this.#input.indexOf('\r\n')) {
      const line = this.#input.slice(0, end);
      this.#input = this.#input.slice(end + 2);
      this.commands.push(line);
      const scripted = this.#fake.behaviour.script?.(line, this) ?? null;
      if (scripted === 'cut') this.#socket.destroy();
      else this.#write(scripted ?? this.#answer(line));
    }
  }

  #answer(line: string): string | Buffer {
    const { behaviour } = this.#fake;
    if (this.#sasl) return this.#login(Buffer.from(line, 'base64').toString('utf8').split('\0')[2]);
    const [command = '', first, second] = line.split(' ');
    switch (command.toUpperCase()) {
      case 'CAPA':
        return behaviour.capabilities === null ? err() : listing(behaviour.capabilities);
      case 'USER':
        return '+OK\r\n';
      case 'PASS':
        return this.#login(line.slice(5));
      case 'AUTH':
        if (second === undefined) {
          this.#sasl = true;
          return '+ \r\n';
        }
        return this.#login(passwordIn(first!, Buffer.from(second, 'base64').toString('utf8')));
      case 'STAT':
        return `+OK ${this.#left().length} ${this.#left().reduce((sum, { bytes }) => sum + bytes.length, 0)}\r\n`;
      case 'LIST':
        return listing(this.#numbered(({ bytes }) => String(bytes.length)));
      case 'UIDL':
        return behaviour.uidl ? listing(this.#numbered(({ uidl }) => uidl)) : err();
      case 'TOP':
        return behaviour.top ? this.#mail(first, (bytes) => headerOf(bytes)) : err();
      case 'RETR':
        return this.#mail(first, (bytes) => bytes);
      case 'DELE':
        this.#marked.add(this.#mails[Number(first) - 1]!);
        return '+OK\r\n';
      case 'QUIT':
        return this.#quit();
      default:
        return err();
    }
  }

  #login(password: string | undefined): string {
    this.#sasl = false;
    return password === this.#fake.behaviour.password ? '+OK\r\n' : '-ERR [AUTH] no\r\n';
  }

  #left(): FakeMail[] {
    return this.#mails.filter((mail) => !this.#marked.has(mail));
  }

  #numbered(of: (mail: FakeMail) => string): string[] {
    return this.#mails.flatMap((mail, index) => (this.#marked.has(mail) ? [] : `${index + 1} ${of(mail)}`));
  }

  #mail(number: string | undefined, part: (bytes: Buffer) => Buffer): string | Buffer {
    const mail = this.#mails[Number(number) - 1];
    if (mail === undefined || this.#marked.has(mail)) return err();
    return Buffer.concat([Buffer.from('+OK\r\n'), dotStuffed(part(mail.bytes)), Buffer.from('.\r\n')]);
  }

  #quit(): string {
    this.#fake.deleted.push(...this.#marked);
    this.#fake.mails = this.#fake.mails.filter((mail) => !this.#marked.has(mail));
    return '+OK\r\n';
  }

  #write(answer: string | Buffer): void {
    const bytes = Buffer.from(answer as string, 'latin1');
    const { piece, cutAfter } = this.#fake.behaviour;
    const room = cutAfter < 0 ? bytes.length : Math.max(0, cutAfter - this.#written);
    const sent = bytes.subarray(0, room);
    this.#written += sent.length;
    for (let at = 0; at < sent.length; at += piece || sent.length) {
      this.#socket.write(sent.subarray(at, at + (piece || sent.length)));
    }
    if (sent.length < bytes.length) this.#socket.end();
  }
}

function passwordIn(mechanism: string, response: string): string | undefined {
  return mechanism.toUpperCase() === 'XOAUTH2'
    ? response.split('auth=Bearer ')[1]?.split('\x01')[0]
    : response.split('\0')[2];
}

function err(): string {
  return '-ERR not here\r\n';
}

function listing(lines: readonly string[]): string {
  return `+OK\r\n${lines.map((line) => `${line}\r\n`).join('')}.\r\n`;
}

function headerOf(bytes: Buffer): Buffer {
  const end = bytes.indexOf('\r\n\r\n');
  return end < 0 ? bytes : bytes.subarray(0, end + 4);
}

/** RFC 1939 §3; a mail without a last line end gets one. */
export function dotStuffed(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1').replace(/(^|\r\n)\./g, '$1..');
  return Buffer.from(text.endsWith('\r\n') || text === '' ? text : `${text}\r\n`, 'latin1');
}
