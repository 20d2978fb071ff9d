import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** What one command cost. */
export interface Timing {
  /** From sending it to its tagged line, milliseconds. */
  readonly ms: number;
  readonly octets: number;
}

/** More than any tagged line is long (a LOGIN tells all capabilities). */
const TAIL = 4096;

/** An IMAP client that does next to nothing with an answer, so that the server's time is what is measured. */
export class BareClient {
  readonly #socket: Socket;
  #tag = 0;
  #tail = '';
  #octets = 0;
  #kept: Buffer[] | null = null;
  #onChunk: () => void = () => undefined;
  #failure: Error | null = null;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', (error) => this.#fail(error));
    socket.on('close', () => this.#fail(new Error('the server closed the connection')));
  }

  /** Connects in clear and waits for the greeting. */
  static async connect(port: number): Promise<BareClient> {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    const client = new BareClient(socket);
    await client.#until(/\r\n$/);
    return client;
  }

  static async login(port: number, user: string, password: string, select?: string): Promise<BareClient> {
    const client = await BareClient.connect(port);
    await client.run(`LOGIN "${user}" "${password}"`);
    if (select !== undefined) await client.run(`SELECT ${select}`);
    return client;
  }

  /** Runs one command; throws unless it ends OK. */
  async run(command: string): Promise<Timing> {
    this.#tag += 1;
    const tag = `bench${this.#tag}`;
    this.#tail = '';
    this.#octets = 0;
    const started = performance.now();
    this.#socket.write(`${tag} ${command}\r\n`);
    // Nothing is pipelined, so the tagged line is the end of what arrives.
    await this.#until(new RegExp(`(?:^|\\r\\n)${tag} (?:OK|NO|BAD)[^\\r\\n]*\\r\\n$`));
    const ms = performance.now() - started;
    if (!new RegExp(`${tag} OK`).test(this.#tail)) throw new Error(`${command.slice(0, 80)}: ${this.#tail}`);
    return { ms, octets: this.#octets };
  }

  /** Runs one command and resolves to all that it brought, as latin1. */
  async read(command: string): Promise<string> {
    this.#kept = [];
    try {
      await this.run(command);
      return Buffer.concat(this.#kept).toString('latin1');
    } finally {
      this.#kept = null;
    }
  }

  /** Starts IDLE; `next` waits for a piece of what is pushed that `matches`. */
  async idle(): Promise<{ next(matches: RegExp, timeoutMs?: number): Promise<number>; done(): Promise<void> }> {
    this.#tag += 1;
    const tag = `bench${this.#tag}`;
    this.#tail = '';
    this.#socket.write(`${tag} IDLE\r\n`);
    await this.#until(/\+[^\r\n]*\r\n$/);
    this.#tail = '';
    return {
      next: async (matches, timeoutMs = 30_000) => {
        await this.#until(matches, timeoutMs);
        this.#tail = '';
        return performance.now();
      },
      done: async () => {
        this.#socket.write('DONE\r\n');
        await this.#until(new RegExp(`${tag} OK[^\\r\\n]*\\r\\n$`));
      },
    };
  }

  close(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
  }

  #take(chunk: Buffer): void {
    this.#octets += chunk.length;
    this.#kept?.push(chunk);
    const text = chunk.toString('latin1', Math.max(0, chunk.length - TAIL));
    this.#tail = chunk.length >= TAIL ? text : (this.#tail + text).slice(-TAIL);
    this.#onChunk();
  }

  #until(matches: RegExp, timeoutMs = 120_000): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ${matches} within ${timeoutMs} ms`)), timeoutMs);
      const look = (): void => {
        const found = matches.test(this.#tail);
        if (!found && this.#failure === null) return;
        clearTimeout(timer);
        this.#onChunk = () => undefined;
        if (found) resolve();
        else reject(this.#failure);
      };
      this.#onChunk = look;
      look();
    });
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#onChunk();
  }
}
