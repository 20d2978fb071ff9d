import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { readFile, rm } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { promisify } from 'node:util';
import { ImapClient, type ImapEndpoint } from './imap-client.js';
import { appendMessage, type ListedMessage, listFolder } from './imap-helpers.js';
import { accepts, eventually } from './net.js';

const execute = promisify(execFile);

/** Whom the mail and, for an ordinary user, all processes belong to. */
export interface MailAccount {
  /** Whether root starts the server, which then drops to its own users. */
  readonly root: boolean;
  readonly name: string;
  readonly group: string;
  readonly uid: number;
  readonly gid: number;
}

/** What a server is started with. */
export interface ServerParts {
  /** Removed with all it holds by `stop`. */
  readonly dir: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM file of the authority that signed the server's certificate; empty without TLS. */
  readonly ca: string;
  /** Passwords by name. */
  readonly users: Readonly<Record<string, string>>;
  /** The program that stays in the foreground, and its arguments. */
  readonly command: readonly [string, ...string[]];
  readonly env?: Readonly<Record<string, string>>;
  readonly owner: MailAccount;
}

/** A real mail server in the foreground; mail and ports outlive `kill` and `restart`, not `stop`. */
export abstract class MailServer {
  readonly host = '127.0.0.1';
  readonly dir: string;
  /** The IMAP port, the same over all restarts. */
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  readonly ca: string;
  readonly users: Readonly<Record<string, string>>;
  readonly #parts: ServerParts;
  #process: ChildProcess | null = null;
  #output = '';
  readonly #onExit = (): void => this.#signalGroup('SIGKILL');

  protected constructor(parts: ServerParts) {
    this.dir = parts.dir;
    this.port = parts.port;
    this.tls = parts.tls;
    this.ca = parts.ca;
    this.users = parts.users;
    this.#parts = parts;
  }

  get running(): boolean {
    return this.#process !== null;
  }

  /** The process id of the master, for reading its CPU time; throws when it does not run. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('this server is not running');
    return pid;
  }

  /** Gives the tree at `path` to the account that the mail processes run as. */
  async adopt(path: string): Promise<void> {
    const { uid, gid } = this.#parts.owner;
    await execute('chown', ['-R', `${uid}:${gid}`, path]);
  }

  async start(): Promise<void> {
    if (this.#process !== null) throw new Error('this server runs already');
    const [program, ...args] = this.#parts.command;
    // A group of its own, so that a kill reaches the worker processes as well.
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...this.#parts.env },
    });
    this.#process = child;
    process.once('exit', this.#onExit);
    const collect = (chunk: Buffer): void => {
      this.#output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => {
        if (this.#process === child) this.#process = null;
        this.log().then((log) => reject(new Error(`${program} ended (${code ?? signal}): ${log}`)), reject);
      });
    });
    failed.catch(() => undefined);
    const accepting = eventually(`${program} to accept`, () => this.#process !== child || accepts(this.port), {
      everyMs: 20,
    });
    await Promise.race([accepting.then(() => (this.#process === child ? undefined : failed)), failed]);
  }

  /** Everything it said so far. */
  async log(): Promise<string> {
    return this.#output;
  }

  /** SIGKILL to all its processes, as in a power cut; data stay. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Ends it and starts it again on the same ports and data. */
  async restart(): Promise<void> {
    await this.#end('SIGTERM');
    await this.start();
  }

  /** Ends it in good order; data stay until `stop`. */
  async pause(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it at once and removes its directory. */
  async stop(): Promise<void> {
    await this.#end('SIGKILL');
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** Where and how a client connects. */
  endpoint(): ImapEndpoint {
    return { host: this.host, port: this.port, tls: this.tls, ca: this.ca };
  }

  /** A direct login, past Mergebox. */
  async imap(user = 'alice'): Promise<ImapClient> {
    const password = this.users[user];
    if (password === undefined) throw new Error(`no user ${user} at this server`);
    const client = await ImapClient.connect(this.endpoint());
    await client.login(user, password);
    return client;
  }

  /** APPENDs `message` to `folder` and resolves to its UID there. */
  async deliver(
    user: string,
    folder: string,
    message: Buffer | string,
    flags: readonly string[] = [],
    date?: Date,
  ): Promise<number> {
    return this.#with(user, (client) => appendMessage(client, folder, message, flags, date));
  }

  /** What `folder` holds, in UID order, by a fresh login. */
  async list(user: string, folder: string): Promise<ListedMessage[]> {
    return this.#with(user, (client) => listFolder(client, folder));
  }

  async #with<T>(user: string, use: (client: ImapClient) => Promise<T>): Promise<T> {
    const client = await this.imap(user);
    try {
      return await use(client);
    } finally {
      client.close();
    }
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#process;
    if (child === null) return;
    const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    if (signal === 'SIGKILL') this.#signalGroup('SIGKILL');
    else child.kill('SIGTERM');
    const patience = setTimeout(() => this.#signalGroup('SIGKILL', child), 2_000);
    await exited;
    clearTimeout(patience);
    // Workers that the master left behind.
    this.#signalGroup('SIGKILL', child);
    this.#process = null;
    process.removeListener('exit', this.#onExit);
  }

  #signalGroup(signal: NodeJS.Signals, child = this.#process): void {
    if (child?.pid === undefined) return;
    try {
      process.kill(-child.pid, signal);
    } catch {
      // The whole group has ended already.
    }
  }
}

/** Who the mail belongs to: nobody when root starts the server, else whoever runs the test. */
export async function mailAccount(): Promise<MailAccount> {
  const me = userInfo();
  if (me.uid !== 0) {
    const { stdout } = await execute('id', ['-gn']);
    return { root: false, name: me.username, group: stdout.trim(), uid: me.uid, gid: me.gid };
  }
  const passwd = await readFile('/etc/passwd', 'utf8');
  const fields = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  if (fields === null) throw new Error('/etc/passwd has no user nobody, whom the test mail would belong to');
  return { root: true, name: 'nobody', group: 'nogroup', uid: Number(fields[1]), gid: Number(fields[2]) };
}
