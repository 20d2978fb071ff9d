import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { mailAccount } from './mail-server.js';
import { accepts, eventually, freePorts } from './net.js';

/** A proxy on loopback that some test started. */
export interface Proxy {
  readonly port: number;
  /** What it noted of the connections it made. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

export interface SquidOptions {
  /** Demands this login. */
  readonly login?: { readonly user: string; readonly password: string };
  /** Names that only this proxy can resolve, with their addresses. */
  readonly hosts?: Readonly<Record<string, string>>;
}

/** Squid that does CONNECT to any port, and nothing else. */
export async function startSquid(options: SquidOptions = {}): Promise<Proxy> {
  const dir = await directory();
  const [port = 0] = await freePorts(1);
  const passwords = join(dir, 'passwords');
  if (options.login !== undefined) {
    const args = ['passwd', '-apr1', options.login.password];
    const { stdout } = await promisify(execFile)('openssl', args);
    await writeFile(passwords, `${options.login.user}:${stdout.trim()}\n`, { mode: 0o644 });
  }
  const hosts = Object.entries(options.hosts ?? {}).map(([name, address]) => `${address} ${name}`);
  await writeFile(join(dir, 'hosts'), ['127.0.0.1 localhost', ...hosts, ''].join('\n'));
  const lines = [
    `http_port 127.0.0.1:${port}`,
    `pid_filename ${join(dir, 'squid.pid')}`,
    `cache_log ${join(dir, 'cache.log')}`,
    `access_log stdio:${join(dir, 'access.log')}`,
    `coredump_dir ${dir}`,
    `hosts_file ${join(dir, 'hosts')}`,
    'cache deny all',
    'pinger_enable off',
    'shutdown_lifetime 0 seconds',
    'acl tunnels method CONNECT',
    ...(options.login === undefined
      ? ['http_access allow tunnels']
      : [
          `auth_param basic program /usr/lib/squid/basic_ncsa_auth ${passwords}`,
          'acl known proxy_auth REQUIRED',
          'http_access allow tunnels known',
        ]),
    'http_access deny all',
    '',
  ];
  await writeFile(join(dir, 'squid.conf'), lines.join('\n'));
  return start(dir, port, ['squid', '-N', '-f', join(dir, 'squid.conf')], join(dir, 'access.log'));
}

/** Dante's SOCKS5 server; `username` makes it demand a login, which only the machine's own users have. */
export async function startDante(method: 'none' | 'username' = 'none'): Promise<Proxy> {
  const dir = await directory();
  const [port = 0] = await freePorts(1);
  const { name } = await mailAccount();
  const lines = [
    `logoutput: ${join(dir, 'dante.log')}`,
    `internal: 127.0.0.1 port = ${port}`,
    'external: lo',
    `user.privileged: ${process.getuid?.() === 0 ? 'root' : name}`,
    `user.unprivileged: ${name}`,
    'clientmethod: none',
    `socksmethod: ${method}`,
    'client pass {\n  from: 127.0.0.0/8 to: 0.0.0.0/0\n}',
    'socks pass {\n  from: 127.0.0.0/8 to: 0.0.0.0/0\n  command: connect\n  log: connect\n}',
    '',
  ];
  await writeFile(join(dir, 'danted.conf'), lines.join('\n'));
  const command = ['danted', '-f', join(dir, 'danted.conf'), '-p', join(dir, 'danted.pid'), '-N', '1'];
  return start(dir, port, command, join(dir, 'dante.log'));
}

/** One that the proxies' own users may write to. */
async function directory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'mbpx-'));
  await chmod(dir, 0o777);
  return dir;
}

async function start(
  dir: string,
  port: number,
  [program = '', ...args]: readonly string[],
  log: string,
): Promise<Proxy> {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  // A group of its own, so that its helpers end with it.
  const child = spawn(program, args, {
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, PATH: path },
  });
  let output = '';
  let ended = false;
  const collect = (chunk: Buffer): void => {
    output += chunk.toString();
  };
  child.stdout.on('data', collect);
  child.stderr.on('data', collect);
  const exited = new Promise<void>((resolve) => {
    const onEnd = (): void => {
      ended = true;
      resolve();
    };
    child.once('exit', onEnd);
    child.once('error', onEnd);
  });
  const onExit = (): void => killGroup(child);
  process.once('exit', onExit);
  const stop = async (): Promise<void> => {
    killGroup(child);
    await exited;
    process.removeListener('exit', onExit);
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
  };
  const up = await eventually(`${program} to accept`, async () => ended || (await accepts(port)), {
    timeoutMs: 30_000,
  });
  if (ended || !up) {
    const said = await readFile(log, 'utf8').catch(() => '');
    await stop();
    throw new Error(`${program} ended: ${output}${said}`);
  }
  return { port, log: () => readFile(log, 'utf8').catch(() => ''), stop };
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // The whole group has ended already.
  }
}
