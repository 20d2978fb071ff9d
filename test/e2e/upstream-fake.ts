import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Target } from './upstream-support.js';

/** What the fake does with one command: the lines it sends, or something worse. */
export type Script = (command: string, tag: string, connection: FakeConnection) => string | undefined | Promise<void>;

const CAPABILITIES = 'IMAP4rev1 SASL-IR UIDPLUS MOVE ENABLE CONDSTORE UNSELECT IDLE';

/** One accepted connection of the fake. */
export class FakeConnection {
  readonly #socket: Socket;
  /** Octets that the client has sent. */
  received = '';

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  send(text: string | Buffer): void {
    this.#socket.write(typeof text === 'string' ? Buffer.from(text, 'latin1') : text);
  }

  /** Resolves when the octets have left, so that back-pressure is felt. */
  async pour(text: Buffer): Promise<void> {
    if (this.#socket.write(text)) return;
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
  }

  get open(): boolean {
    return !this.#socket.destroyed && this.#socket.writable;
  }

  cut(): void {
    this.#socket.destroy();
  }
}

/**
 * An IMAP server that says what a test wants: `script` sees every command and answers it, or returns undefined for the
 * decent answer.
 */
export class FakeServer {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly connections: FakeConnection[] = [];
  readonly commands: string[] = [];
  readonly #script: Script;
  readonly #greeting: string;

  private constructor(script: Script, greeting: string) {
    this.#script = script;
    this.#greeting = greeting;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(
    script: Script = () => undefined,
    greeting = `* OK [CAPABILITY ${CAPABILITIES} AUTH=PLAIN] fake\r\n`,
  ): Promise<FakeServer> {
    const fake = new FakeServer(script, greeting);
    fake.#server.listen(0, '127.0.0.1');
    await once(fake.#server, 'listening');
    return fake;
  }

  target(tls: Target['tls'] = 'none'): Target {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the fake does not listen');
    return { host: '127.0.0.1', port: address.port, tls };
  }

  /** The last connection accepted. */
  get latest(): FakeConnection {
    const latest = this.connections.at(-1);
    if (latest === undefined) throw new Error('nobody has connected');
    return latest;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #accept(socket: Socket): void {
    const connection = new FakeConnection(socket);
    this.connections.push(connection);
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    socket.on('error', () => undefined);
    connection.send(this.#greeting);
    let rest = '';
    socket.on('data', (chunk) => {
      connection.received += chunk.toString('latin1');
      const lines = (rest + chunk.toString('latin1')).split('\r\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#onLine(line, connection);
    });
  }

  #onLine(line: string, connection: FakeConnection): void {
    const [tag = '', ...words] = line.split(' ');
    const command = words.join(' ');
    this.commands.push(command);
    const answer = this.#script(command, tag, connection);
    if (typeof answer === 'string') connection.send(answer);
    else if (answer === undefined) connection.send(decent(command, tag));
  }
}

/** What a decent server with an INBOX of three mails answers. */
export function decent(command: string, tag: string): string {
  const ok = `${tag} OK done\r\n`;
  if (/^(AUTHENTICATE|LOGIN)/.test(command)) return `${tag} OK [CAPABILITY ${CAPABILITIES}] in\r\n`;
  if (command.startsWith('CAPABILITY')) return `* CAPABILITY ${CAPABILITIES} AUTH=PLAIN\r\n${ok}`;
  if (command.startsWith('ENABLE')) return `* ENABLED CONDSTORE\r\n${ok}`;
  if (/^(EXAMINE|SELECT)/.test(command)) {
    const codes = ['UIDVALIDITY 5', 'UIDNEXT 4', 'HIGHESTMODSEQ 9'].map((code) => `* OK [${code}] x\r\n`).join('');
    return `* 3 EXISTS\r\n* FLAGS (\\Seen)\r\n${codes}${tag} OK [READ-WRITE] open\r\n`;
  }
  if (command.startsWith('STATUS')) {
    const name = /^STATUS ("[^"]*")/.exec(command)?.[1];
    return `* STATUS ${name} (MESSAGES 3 UIDNEXT 4 UIDVALIDITY 5 HIGHESTMODSEQ 9)\r\n${ok}`;
  }
  if (command.startsWith('UID SEARCH')) return `* SEARCH 1 2 3\r\n${ok}`;
  return ok;
}
