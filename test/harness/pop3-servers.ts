import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const execute = promisify(execFile);
/** See scripts/packages.mjs. */
const COURIER = '/usr/local/lib/mergebox-test/usr/lib/courier/courier/courierpop3d';
const MAILUTILS = '/usr/sbin/pop3d';
export const POP3_PASSWORD = 'secret';

/** A POP3 server that Debian has beside Dovecot, with one maildrop; a process for each session, as inetd has it. */
export interface Pop3Server {
  readonly name: string;
  readonly port: number;
  readonly username: string;
  /** Delivers as an MTA does; lines end with LF. */
  deliver(text: string): Promise<void>;
  /** Subjects of what is in the maildrop. */
  subjects(): Promise<string[]>;
  stop(): Promise<void>;
}

/**
 * GNU Mailutils: mbox, a login of its own for a user that the system does not know, and headers that it writes into
 * (X-UIDL, Status).
 */
export async function startMailutils(): Promise<Pop3Server> {
  const dir = await mkdtemp(join(tmpdir(), 'mbmu-'));
  await chmod(dir, 0o755);
  const { stdout: hash } = await execute('openssl', ['passwd', '-1', POP3_PASSWORD]);
  for (const name of ['domains', 'home']) await mkdir(join(dir, name), { mode: 0o755 });
  const inbox = join(dir, 'home', 'INBOX');
  const { uid, gid } = await nobody();
  await writeFile(
    join(dir, 'domains', 'test.example'),
    `alice:${hash.trim()}:${uid}:${gid}:Alice:${join(dir, 'home')}:/bin/false\n`,
  );
  await writeFile(
    join(dir, 'conf'),
    [
      'mode inetd;',
      'auth { authentication clear; authentication generic; authorization clear; authorization virtdomain; };',
      `virtdomain { passwd-dir ${join(dir, 'domains')}; };`,
      'logging { syslog no; };\n',
    ].join('\n'),
  );
  await writeFile(inbox, '');
  await execute('chown', ['-R', `${uid}:${gid}`, join(dir, 'home')]);
  const args = ['--no-site-config', '--config-file', join(dir, 'conf'), '--inetd'];
  const inetd = await Inetd.start((socket) => bind(socket, spawn(MAILUTILS, args)));
  return {
    name: 'GNU Mailutils pop3d',
    port: inetd.port,
    username: 'alice@test.example',
    deliver: async (text) => {
      const lines = text.replace(/^From /gm, '>From ');
      await writeFile(inbox, `From ada@sender.example Mon Sep  2 10:00:00 2024\n${lines}\n`, { flag: 'a' });
    },
    subjects: async () => subjectsIn(await readFile(inbox, 'utf8')),
    stop: async () => {
      await inetd.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Courier: Maildir. Its daemon takes over behind a login, which is the harness's own. */
export async function startCourier(): Promise<Pop3Server> {
  const dir = await mkdtemp(join(tmpdir(), 'mbco-'));
  for (const name of ['cur', 'new', 'tmp']) await mkdir(join(dir, 'Maildir', name), { recursive: true });
  const run = (): ChildProcess =>
    spawn(COURIER, ['Maildir'], { cwd: dir, env: { HOME: dir, MAILDIR: 'Maildir', AUTHENTICATED: 'alice' } });
  const inetd = await Inetd.start((socket) => logIn(socket, () => bind(socket, run())));
  let serial = 0;
  const read = async (folder: string): Promise<string[]> => {
    const { stdout } = await execute('find', [join(dir, 'Maildir', folder), '-type', 'f']);
    return Promise.all(
      stdout
        .split('\n')
        .filter(Boolean)
        .map((file) => readFile(file, 'utf8')),
    );
  };
  return {
    name: 'Courier pop3d',
    port: inetd.port,
    username: 'alice',
    deliver: async (text) => {
      serial += 1;
      await writeFile(join(dir, 'Maildir', 'new', `${1_725_271_200 + serial}.M${serial}.test`), text);
    },
    subjects: async () => [...(await read('cur')), ...(await read('new'))].flatMap(subjectsIn).sort(),
    stop: async () => {
      await inetd.stop();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** Accepts connections and hands each to its own process. */
class Inetd {
  readonly #server: Server;
  readonly #processes = new Set<ChildProcess>();

  private constructor(serve: (socket: Socket) => Promise<ChildProcess> | ChildProcess) {
    this.#server = createServer((socket) => {
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      void Promise.resolve(serve(socket)).then(
        (child) => {
          this.#processes.add(child);
          child.on('exit', () => this.#processes.delete(child));
        },
        () => socket.destroy(),
      );
    });
  }

  static async start(serve: (socket: Socket) => Promise<ChildProcess> | ChildProcess): Promise<Inetd> {
    const inetd = new Inetd(serve);
    await new Promise<void>((resolve) => inetd.#server.listen(0, '127.0.0.1', resolve));
    return inetd;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.close();
    for (const child of this.#processes) child.kill('SIGKILL');
  }
}

function bind(socket: Socket, child: ChildProcess): ChildProcess {
  socket.pipe(child.stdin!);
  child.stdout!.pipe(socket);
  child.stderr!.resume();
  child.stdin!.on('error', () => undefined);
  socket.on('close', () => child.kill());
  return child;
}

/** USER and PASS; what the client has sent behind them is left for whoever comes next. */
async function logIn(socket: Socket, then: () => ChildProcess): Promise<ChildProcess> {
  socket.write('+OK ready\r\n');
  let input = '';
  return new Promise((resolve, reject) => {
    socket.on('close', () => reject(new Error('gone')));
    const take = (chunk: Buffer): void => {
      input += chunk.toString('latin1');
      for (let end = input.indexOf('\r\n'); end >= 0; end = input.indexOf('\r\n')) {
        const line = input.slice(0, end);
        input = input.slice(end + 2);
        if (line === `PASS ${POP3_PASSWORD}`) {
          socket.off('data', take);
          // Its greeting, `+OK logged in.`, is the answer to PASS.
          resolve(then());
          return;
        }
        if (line === 'CAPA') socket.write('+OK\r\nUSER\r\nPIPELINING\r\nUIDL\r\nTOP\r\n.\r\n');
        else socket.write(line.startsWith('PASS') ? '-ERR [AUTH] Login failed.\r\n' : '+OK\r\n');
      }
    };
    socket.on('data', take);
  });
}

function subjectsIn(text: string): string[] {
  return [...text.matchAll(/^Subject: (.*)$/gm)].map(([, subject]) => subject!.trim());
}

async function nobody(): Promise<{ uid: number; gid: number }> {
  const fields = /^nobody:[^:]*:(\d+):(\d+):/m.exec(await readFile('/etc/passwd', 'utf8'));
  if (fields === null) throw new Error('/etc/passwd has no user nobody, whom the test mail would belong to');
  return { uid: Number(fields[1]), gid: Number(fields[2]) };
}
