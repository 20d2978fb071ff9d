import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { makeCertificates, type TestCertificates } from './certificates.js';
import { type CommandOptions, type CommandResult, mainFile, ownEnv, runMergebox } from './command-line.js';
import { ImapClient, type ImapEndpoint } from './imap-client.js';
import { appendMessage, type ListedMessage, listFolder } from './imap-helpers.js';
import { mergeboxConfig, type TestUser } from './mergebox-config.js';

export type { TestAccount, TestUser } from './mergebox-config.js';

export interface MergeboxOptions {
  readonly users: readonly TestUser[];
  /** Keys at the top of the configuration, in place of the harness's own. */
  readonly overrides?: Readonly<Record<string, unknown>>;
  readonly env?: Readonly<Record<string, string>>;
  /** How long the ready line may take. */
  readonly readyTimeoutMs?: number;
  /** Made for each daemon when absent. */
  readonly certificates?: TestCertificates;
}

export interface Listener {
  readonly service: string;
  readonly host: string;
  readonly port: number;
  readonly tls: string;
}

type TlsMode = 'none' | 'implicit' | 'starttls';

/** Writes a configuration, starts the real daemon on it, and waits for its ready line. */
export async function startMergebox(options: MergeboxOptions): Promise<Mergebox> {
  const mergebox = await Mergebox.create(options);
  try {
    await mergebox.start();
  } catch (error) {
    await mergebox.stop();
    throw error;
  }
  return mergebox;
}

/** The daemon as a child process; configuration and data outlive `kill` and `restart`, not `stop`. */
export class Mergebox {
  readonly dir: string;
  readonly configFile: string;
  /** PEM file of the authority behind the listeners' certificate. */
  readonly ca: string;
  readonly #users: readonly TestUser[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #readyTimeoutMs: number;
  #process: ChildProcess | null = null;
  #listeners: readonly Listener[] = [];
  #lines: string[] = [];
  readonly #onExit = (): void => {
    this.#process?.kill('SIGKILL');
  };

  private constructor(dir: string, certificates: TestCertificates, options: MergeboxOptions) {
    this.dir = dir;
    this.configFile = join(dir, 'config.json');
    this.ca = certificates.ca;
    this.#users = options.users;
    this.#env = options.env ?? {};
    this.#readyTimeoutMs = options.readyTimeoutMs ?? 60_000;
  }

  /** Directory, certificate and configuration, nothing started. */
  static async create(options: MergeboxOptions): Promise<Mergebox> {
    const dir = await mkdtemp(join(tmpdir(), 'mbox-'));
    const certificates = options.certificates ?? (await makeCertificates(dir));
    const mergebox = new Mergebox(dir, certificates, options);
    const config = await mergeboxConfig(join(dir, 'data'), options.users, certificates, options.overrides);
    await mergebox.writeConfig(config);
    return mergebox;
  }

  async readConfig(): Promise<Record<string, unknown>> {
    return JSON.parse(await readFile(this.configFile, 'utf8')) as Record<string, unknown>;
  }

  async writeConfig(config: Record<string, unknown>): Promise<void> {
    await writeFile(this.configFile, JSON.stringify(config, null, 2), { mode: 0o600 });
  }

  /** `env` is for this run only. Rejects when the daemon ends before it is ready. */
  async start(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (this.#process !== null) throw new Error('this daemon runs already');
    const child = spawn(process.execPath, [mainFile(), 'serve', '--config', this.configFile], {
      env: { ...ownEnv(), ...this.#env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#process = child;
    process.once('exit', this.#onExit);
    this.#listeners = await new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no ready line\n${this.log()}`)), this.#readyTimeoutMs);
      const onLine = (line: string): void => {
        this.#lines.push(line);
        const listeners = readyListeners(line);
        if (listeners === null) return;
        clearTimeout(timer);
        resolve(listeners);
      };
      createInterface({ input: child.stdout }).on('line', onLine);
      createInterface({ input: child.stderr }).on('line', onLine);
      child.once('error', reject);
      child.once('close', (code, signal) => {
        clearTimeout(timer);
        if (this.#process === child) this.#process = null;
        reject(new Error(`serve ended (${code ?? signal})\n${this.log()}`));
      });
    });
  }

  get pid(): number {
    const pid = this.#process?.pid;
    if (pid === undefined) throw new Error('this daemon is not running');
    return pid;
  }

  get running(): boolean {
    return this.#process !== null;
  }

  /** Resolves when it does not run any more. */
  async ended(): Promise<void> {
    const child = this.#process;
    if (child !== null) await new Promise<void>((resolve) => child.once('close', () => resolve()));
  }

  /** What it logged since it was made, over all restarts. */
  log(): string {
    return this.#lines.join('\n');
  }

  /** SIGKILL, as in a power cut. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** SIGTERM; resolves to the exit status. */
  async terminate(): Promise<number | null> {
    return this.#end('SIGTERM');
  }

  /** Ends it in good order and starts it again; the ports change. */
  async restart(): Promise<void> {
    const code = await this.terminate();
    if (code !== 0) throw new Error(`serve ended with ${code ?? 'SIGKILL'} on SIGTERM\n${this.log().slice(-4000)}`);
    await this.start();
  }

  /** Ends it and removes all it had. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  listener(service: string, tls?: TlsMode): Listener {
    const found = this.#listeners.find((each) => each.service === service && (tls === undefined || each.tls === tls));
    if (found === undefined) throw new Error(`no ${service} ${tls ?? ''} in ${JSON.stringify(this.#listeners)}`);
    return found;
  }

  endpoint(tls: TlsMode = 'none', service = 'imap'): ImapEndpoint {
    return { host: '127.0.0.1', port: this.listener(service, tls).port, tls, ca: this.ca };
  }

  /** Base of the admin HTTP service. */
  get adminUrl(): string {
    return `http://127.0.0.1:${this.listener('admin').port}`;
  }

  /** A logged-in client; the first user when no name is given. */
  async imap(name = this.#users[0]!.name, tls: TlsMode = 'none'): Promise<ImapClient> {
    const client = await ImapClient.connect(this.endpoint(tls));
    await client.login(name, this.password(name));
    return client;
  }

  password(name = this.#users[0]!.name): string {
    const user = this.#users.find((each) => each.name === name);
    if (user === undefined) throw new Error(`no user ${name} in this configuration`);
    return user.password;
  }

  /** `mergebox <command> --config …`. */
  async command(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
    return runMergebox([...args, '--config', this.configFile], {
      ...options,
      env: { ...this.#env, ...options.env },
    });
  }

  /** `mergebox sync --wait`; throws unless it exits 0. */
  async sync(timeoutSeconds = 60): Promise<void> {
    const { code, stdout, stderr } = await this.command(['sync', '--wait', '--timeout', String(timeoutSeconds)], {
      timeoutMs: (timeoutSeconds + 15) * 1000,
    });
    if (code !== 0) throw new Error(`sync --wait exited ${code}: ${stdout}${stderr}\n${this.log().slice(-4000)}`);
  }

  /** `mergebox status --json`: its exit status and its document. */
  async status(): Promise<{ code: number | null; body: unknown }> {
    const { code, stdout, stderr } = await this.command(['status', '--json']);
    try {
      return { code, body: JSON.parse(stdout) as unknown };
    } catch {
      throw new Error(`status --json exited ${code} without JSON: ${stdout}${stderr}`);
    }
  }

  /** What a mailbox shows to a client that logs in now. */
  async list(mailbox = 'INBOX', name = this.#users[0]!.name): Promise<ListedMessage[]> {
    const client = await this.imap(name);
    try {
      return await listFolder(client, mailbox);
    } finally {
      client.close();
    }
  }

  /** APPENDs through Mergebox and resolves to the UID there. */
  async append(mailbox: string, message: Buffer | string, flags: readonly string[] = []): Promise<number> {
    const client = await this.imap();
    try {
      return await appendMessage(client, mailbox, message, flags);
    } finally {
      client.close();
    }
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<number | null> {
    const child = this.#process;
    if (child === null) return null;
    const closed = new Promise<number | null>((resolve) => child.once('close', (code) => resolve(code)));
    child.kill(signal);
    const patience = setTimeout(() => child.kill('SIGKILL'), 20_000);
    const code = await closed;
    clearTimeout(patience);
    this.#process = null;
    process.removeListener('exit', this.#onExit);
    return code;
  }
}

/** The listeners of a `{"msg":"ready", …}` line, null for any other line. */
function readyListeners(line: string): readonly Listener[] | null {
  if (!line.startsWith('{') || !line.includes('"ready"')) return null;
  const parsed = JSON.parse(line) as { msg?: unknown; listeners?: unknown };
  return parsed.msg === 'ready' && Array.isArray(parsed.listeners) ? (parsed.listeners as Listener[]) : null;
}
