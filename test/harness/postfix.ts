import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { accepts, eventually, freePorts } from './net.js';

const run = promisify(execFile);
const SBIN = '/usr/sbin';
const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:${SBIN}` };

export interface PostfixOptions {
  /** Where it relays everything to: a loopback port. Null: it keeps all mail in its queue. */
  readonly relayPort: number | null;
  /** PEM files; STARTTLS is offered with them. */
  readonly tls?: { readonly cert: string; readonly key: string };
  /** Demands this login, over Dovecot's auth socket at that path. */
  readonly authSocket?: string;
  /** Further lines of main.cf. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A private Postfix on loopback, made in a temporary directory; needs root, as Postfix does. */
export class Postfix {
  readonly port: number;
  readonly dir: string;
  readonly #master: ChildProcess;

  constructor(port: number, dir: string, master: ChildProcess) {
    this.port = port;
    this.dir = dir;
    this.#master = master;
  }

  /** Its log so far. */
  async log(): Promise<string> {
    return readFile(join(this.dir, 'log'), 'utf8').catch(() => '');
  }

  /** How many mails it has in its queue. */
  async queued(): Promise<number> {
    const counts = await Promise.all(
      ['maildrop', 'incoming', 'active', 'deferred', 'hold'].map((name) => count(join(this.dir, 'spool', name))),
    );
    return counts.reduce((sum, each) => sum + each, 0);
  }

  /** Changes a line of main.cf; processes started from now on see it, and the old ones end. */
  async set(name: string, value: string): Promise<void> {
    const conf = join(this.dir, 'conf');
    await run('postconf', ['-c', conf, '-e', `${name} = ${value}`], { env: ENV });
    await run('postfix', ['-c', conf, 'reload'], { env: ENV });
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#master.once('close', resolve));
    this.#master.kill('SIGTERM');
    await ended;
    await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

export async function startPostfix(options: PostfixOptions): Promise<Postfix> {
  const dir = await mkdtemp(join(tmpdir(), 'mbpf-'));
  await chmod(dir, 0o755);
  const [port = 0] = await freePorts(1);
  const conf = join(dir, 'conf');
  const data = join(dir, 'data');
  await Promise.all([conf, data, join(dir, 'spool')].map((each) => mkdir(each)));
  const { stdout } = await run('id', ['-u', 'postfix']);
  await chown(data, Number(stdout), 0);
  await writeFile(join(conf, 'main.cf'), mainCf(dir, options));
  await writeFile(join(conf, 'master.cf'), masterCf(port));
  await run('postfix', ['-c', conf, 'check'], { env: ENV });
  // The master of `start-fg` is our child; it is process 1 of its own only in containers.
  const master = spawn('/usr/lib/postfix/sbin/master', ['-c', conf, '-d'], {
    env: ENV,
    stdio: 'ignore',
    detached: true,
  });
  const postfix = new Postfix(port, dir, master);
  try {
    await eventually('Postfix listens', () => accepts(port), { timeoutMs: 15_000 });
  } catch (error) {
    const log = await postfix.log();
    await postfix.stop();
    throw new Error(`${(error as Error).message}\n${log}`);
  }
  return postfix;
}

function mainCf(dir: string, { relayPort, tls, authSocket, settings }: PostfixOptions): string {
  const values: Record<string, string> = {
    compatibility_level: '3.6',
    queue_directory: join(dir, 'spool'),
    data_directory: join(dir, 'data'),
    maillog_file: join(dir, 'log'),
    maillog_file_prefixes: dir,
    myhostname: 'corp.example',
    mydestination: '',
    inet_interfaces: '127.0.0.1',
    inet_protocols: 'ipv4',
    mynetworks: '127.0.0.0/8',
    alias_maps: '',
    alias_database: '',
    local_transport: 'error:no local mail',
    biff: 'no',
    relayhost: relayPort === null ? '[127.0.0.1]:1' : `[127.0.0.1]:${relayPort}`,
    disable_dns_lookups: 'yes',
    smtpd_relay_restrictions:
      authSocket === undefined ? 'permit_mynetworks, reject' : 'permit_sasl_authenticated, reject',
    smtpd_tls_security_level: tls === undefined ? 'none' : 'may',
    smtp_tls_security_level: 'none',
    ...(tls === undefined ? {} : { smtpd_tls_cert_file: tls.cert, smtpd_tls_key_file: tls.key }),
    ...(authSocket === undefined
      ? {}
      : { smtpd_sasl_auth_enable: 'yes', smtpd_sasl_type: 'dovecot', smtpd_sasl_path: authSocket }),
    ...settings,
  };
  return Object.entries(values)
    .map(([key, value]) => `${key} = ${value}\n`)
    .join('');
}

/** Debian's services that relaying takes, none in a chroot. */
function masterCf(port: number): string {
  const services = [
    `127.0.0.1:${port} inet n - n - - smtpd`,
    'pickup unix n - n 60 1 pickup',
    'cleanup unix n - n - 0 cleanup',
    'qmgr unix n - n 300 1 qmgr',
    'tlsmgr unix - - n 1000? 1 tlsmgr',
    'rewrite unix - - n - - trivial-rewrite',
    'bounce unix - - n - 0 bounce',
    'defer unix - - n - 0 bounce',
    'trace unix - - n - 0 bounce',
    'verify unix - - n - 1 verify',
    'flush unix n - n 1000? 0 flush',
    'proxymap unix - - n - - proxymap',
    'smtp unix - - n - - smtp',
    'relay unix - - n - - smtp',
    'showq unix n - n - - showq',
    'error unix - - n - - error',
    'retry unix - - n - - error',
    'discard unix - - n - - discard',
    'anvil unix - - n - 1 anvil',
    'scache unix - - n - 1 scache',
    'postlog unix-dgram n - n - 1 postlogd',
  ];
  return `${services.join('\n')}\n`;
}

/** Files below a directory of the queue, in its hashed folders too. */
async function count(dir: string): Promise<number> {
  let files = 0;
  for (const name of await readdir(dir).catch(() => [])) {
    const path = join(dir, name);
    const found = await stat(path).catch(() => null);
    if (found?.isDirectory()) files += await count(path);
    else if (found !== null) files += 1;
  }
  return files;
}
