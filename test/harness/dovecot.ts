import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeCertificates, type TestCertificates } from './certificates.js';
import { type DovecotOptions, type DovecotPorts, dovecotConfig, type MailAccount } from './dovecot-config.js';
import { appendMessage, type ListedMessage, listFolder } from './imap-helpers.js';
import { ImapClient, type ImapEndpoint } from './imap-client.js';
import { accepts, eventually, freePorts } from './net.js';

export type { DovecotOptions } from './dovecot-config.js';
export type { ListedMessage } from './imap-helpers.js';

const execute = promisify(execFile);
const DOVECOT = '/usr/sbin/dovecot';

/** Starts a private Dovecot on loopback, with its own directory, ports and certificate authority. */
export async function startDovecot(options: DovecotOptions = {}): Promise<Dovecot> {
  const dir = await mkdtemp(join(tmpdir(), 'mbdc-'));
  const server = await Dovecot.create(dir, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** One Dovecot in the foreground; mail, ports and certificates outlive `kill` and `restart`, not `stop`. */
export class Dovecot {
  readonly host = '127.0.0.1';
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM file of the authority that signed the server's certificate. */
  readonly ca: string;
  readonly dir: string;
  readonly users: Readonly<Record<string, string>>;
  readonly #ports: DovecotPorts;
  readonly #owner: { readonly uid: number; readonly gid: number };
  #process: ChildProcess | null = null;
  #output = '';
  readonly #onExit = (): void => this.#signalGroup('SIGKILL');

  private constructor(
    dir: string,
    options: DovecotOptions,
    ports: DovecotPorts,
    certificates: TestCertificates,
    owner: { readonly uid: number; readonly gid: number },
  ) {
    this.dir = dir;
    this.tls = options.tls ?? 'none';
    this.ca = certificates.ca;
    this.users = options.users ?? { alice: 'secret' };
    this.#ports = ports;
    this.#owner = owner;
  }

  static async create(dir: string, options: DovecotOptions): Promise<Dovecot> {
    // The unprivileged login processes must be able to enter.
    await chmod(dir, 0o755);
    const account = await mailAccount();
    const certificates = await makeCertificates(dir);
    const [imap = 0, pop3 = 0, lmtp = 0] = await freePorts(3);
    const ports = { imap, pop3, lmtp };
    const server = new Dovecot(dir, options, ports, certificates, account);
    await writeFile(join(dir, 'dovecot.conf'), dovecotConfig(dir, options, ports, certificates, account));
    for (const name of ['run', 'state', 'mail']) await mkdir(join(dir, name));
    const passwd = Object.entries(server.users).map(([name, password]) => `${name}:{PLAIN}${password}\n`);
    await writeFile(join(dir, 'passwd'), passwd.join(''), { mode: 0o644 });
    for (const name of Object.keys(server.users)) await mkdir(join(dir, 'mail', name));
    await server.adopt(join(dir, 'mail'));
    return server;
  }

  /** The IMAP port, the same over all restarts. */
  get port(): number {
    return this.#ports.imap;
  }

  get pop3Port(): number {
    return this.#ports.pop3;
  }

  get lmtpPort(): number {
    return this.#ports.lmtp;
  }

  get running(): boolean {
    return this.#process !== null;
  }

  /** The process id of the master, for reading its CPU time; throws when it does not run. */
  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('this Dovecot is not running');
    return pid;
  }

  /** The user's Maildir (INBOX itself; folders are `.Name` below it). Call `adopt` after writing to it. */
  maildir(user: string): string {
    return join(this.dir, 'mail', user, 'Maildir');
  }

  /** Gives the tree at `path` to the account that the mail processes run as. */
  async adopt(path: string): Promise<void> {
    await execute('chown', ['-R', `${this.#owner.uid}:${this.#owner.gid}`, path]);
  }

  async start(): Promise<void> {
    if (this.#process !== null) throw new Error('this Dovecot runs already');
    // A group of its own, so that a kill reaches the worker processes as well.
    const child = spawn(DOVECOT, ['-F', '-c', join(this.dir, 'dovecot.conf')], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
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
        this.log().then((log) => reject(new Error(`dovecot ended (${code ?? signal}): ${this.#output}${log}`)), reject);
      });
    });
    failed.catch(() => undefined);
    const accepting = eventually('Dovecot to accept', () => this.#process !== child || accepts(this.port), {
      everyMs: 20,
    });
    await Promise.race([accepting.then(() => (this.#process === child ? undefined : failed)), failed]);
  }

  /** Everything it logged so far. */
  async log(): Promise<string> {
    return readFile(join(this.dir, 'dovecot.log'), 'utf8').catch(() => '');
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
    if (password === undefined) throw new Error(`no user ${user} at this Dovecot`);
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
async function mailAccount(): Promise<MailAccount> {
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
