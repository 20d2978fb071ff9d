import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Test } from 'tap';
import { MemoryBackend, type MemoryUser, type MemoryUserOptions } from '../../src/demo/memory-backend.js';
import type { Backend } from '../../src/imap/backend.js';
import { DEFAULT_LIMITS, type ImapLimits } from '../../src/imap/limits.js';
import { ImapServer } from '../../src/imap/server.js';
import { createLog } from '../../src/util/log.js';

export interface Setup {
  readonly server: ImapServer;
  readonly port: number;
  readonly alice: MemoryUser;
  /** Everything logged so far, JSON lines. */
  readonly logged: () => string;
  /** A connection that has read the greeting. */
  readonly connect: () => Promise<RawClient>;
  /** A connection that is logged in as alice, with `mailbox` selected when given. */
  readonly login: (mailbox?: string) => Promise<RawClient>;
}

export interface SetupOptions {
  readonly limits?: Partial<ImapLimits>;
  readonly tls?: 'implicit' | 'starttls' | 'none';
  readonly certificate?: () => { cert: string; key: string };
  readonly users?: readonly MemoryUserOptions[];
  /** Stands between the server and the memory backend. */
  readonly wrap?: (backend: MemoryBackend) => Backend;
  readonly now?: () => number;
}

/** The front end over a memory backend with the users alice and bob; everything closed at the end of the test. */
export async function setup(t: Test, options: SetupOptions = {}): Promise<Setup> {
  const now = options.now ?? Date.now;
  const users = options.users ?? [
    { name: 'alice', password: 'secret' },
    { name: 'bob', password: 'hidden' },
  ];
  const memory = new MemoryBackend(users, now);
  let logged = '';
  const server = new ImapServer({
    backend: options.wrap?.(memory) ?? memory,
    limits: { ...DEFAULT_LIMITS, closeMs: 500, ...options.limits },
    log: createLog('debug', {
      write: (line) => {
        logged += line;
      },
    }),
    version: '1.2.3',
    now,
    certificate: options.certificate ?? (() => ({ cert: '', key: '' })),
  });
  const { port } = await server.listen({ host: '127.0.0.1', port: 0, tls: options.tls ?? 'none' });
  const clients: RawClient[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    await server.close();
  });
  const open = async (): Promise<RawClient> => {
    const client = await RawClient.connect(port);
    clients.push(client);
    return client;
  };
  return {
    server,
    port,
    alice: memory.user('alice'),
    logged: () => logged,
    connect: open,
    login: async (mailbox) => {
      const client = await open();
      await client.ok('LOGIN alice secret');
      if (mailbox !== undefined) await client.ok(`SELECT ${mailbox}`);
      return client;
    },
  };
}

/** A client that sends and shows what is on the wire, octets as latin1. */
export class RawClient {
  #socket: Socket;
  #received = '';
  #closed = false;
  #tags = 0;
  #wake: () => void = () => undefined;
  greeting = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#listen();
  }

  static async connect(port: number): Promise<RawClient> {
    const socket = connect(port, '127.0.0.1');
    await once(socket, 'connect');
    socket.setNoDelay(true);
    const client = new RawClient(socket);
    client.greeting = await client.expect(/\r\n/);
    return client;
  }

  get socket(): Socket {
    return this.#socket;
  }

  /** Goes on over another stream, such as TLS over this one. */
  attach(socket: Socket): void {
    this.#socket.removeAllListeners('data');
    this.#socket = socket;
    this.#listen();
  }

  send(octets: string | Buffer): void {
    this.#socket.write(typeof octets === 'string' ? Buffer.from(octets, 'latin1') : octets);
  }

  /** Takes everything up to the end of the first match, waiting for it. */
  async expect(pattern: RegExp): Promise<string> {
    const deadline = setTimeout(() => {
      this.#closed = true;
      this.#wake();
    }, 10_000);
    try {
      for (;;) {
        const match = pattern.exec(this.#received);
        if (match !== null) {
          const end = match.index + match[0].length;
          const taken = this.#received.slice(0, end);
          this.#received = this.#received.slice(end);
          return taken;
        }
        if (this.#closed) throw new Error(`no ${pattern} in ${JSON.stringify(this.#received.slice(0, 2_000))}`);
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      clearTimeout(deadline);
    }
  }

  /** Sends a command and resolves to its lines without CRLF, the tagged one last and with `.` for its tag. */
  async lines(command: string): Promise<string[]> {
    return (await this.raw(command)).split('\r\n').slice(0, -1);
  }

  /** As `lines`, but as it came. */
  async raw(command: string): Promise<string> {
    const tag = this.tag();
    this.send(`${tag} ${command}\r\n`);
    return this.tagged(tag);
  }

  /** All up to the tagged reply of `tag`. */
  async tagged(tag: string): Promise<string> {
    const text = await this.expect(new RegExp(`(?:^|\\r\\n)${tag} (?:OK|NO|BAD) [^\\r\\n]*\\r\\n`));
    return text.replace(new RegExp(`(^|\\r\\n)${tag} (?=[^\\r\\n]*\\r\\n$)`), '$1. ');
  }

  /** As `lines`; throws unless the answer is OK. */
  async ok(command: string): Promise<string[]> {
    const lines = await this.lines(command);
    if (!lines.at(-1)!.startsWith('. OK ')) throw new Error(`${command}: ${lines.at(-1)}`);
    return lines;
  }

  tag(): string {
    this.#tags += 1;
    return `t${this.#tags}`;
  }

  /** Sends `start {n}`, waits for the continuation, sends the literal and `end`. */
  async literal(start: string, octets: string | Buffer, end = ''): Promise<string[]> {
    const tag = this.tag();
    this.send(`${tag} ${start} {${Buffer.byteLength(octets, 'latin1')}}\r\n`);
    await this.expect(/^\+ [^\r\n]*\r\n/);
    this.send(octets);
    this.send(`${end}\r\n`);
    return (await this.tagged(tag)).split('\r\n').slice(0, -1);
  }

  /** What came and was not taken, once the server has closed. */
  async closed(): Promise<string> {
    while (!this.#closed) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#received;
  }

  /** What came and was not taken so far. */
  get pending(): string {
    return this.#received;
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #listen(): void {
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received += chunk.toString('latin1');
      this.#wake();
    });
    this.#socket.on('close', () => {
      this.#closed = true;
      this.#wake();
    });
    this.#socket.on('error', () => undefined);
  }
}

/** A small mail whose parts are easy to recognise. */
export function mail(subject: string, body = 'Hello', headers: readonly string[] = []): Buffer {
  const lines = [
    'From: Bob Brown <bob@example.org>',
    'To: Alice <alice@example.org>',
    `Subject: ${subject}`,
    'Date: Mon, 1 Jan 2024 10:00:00 +0100',
    `Message-ID: <${subject.replace(/[^A-Za-z0-9]/g, '')}@example.org>`,
    ...headers,
    '',
    body,
    '',
  ];
  return Buffer.from(lines.join('\r\n'));
}
