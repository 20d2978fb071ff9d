import { execFile } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { Pop3Session } from '../src/upstream/pop3/session.js';
import { inWindow } from '../src/upstream/pop3/in-window.js';
import { openPop3 } from '../src/upstream/pop3/login.js';
import { DEFAULT_TIMING } from '../src/upstream/timing.js';
import { Secret } from '../src/util/secret.js';
import { type Dovecot, startDovecot } from '../test/harness/dovecot.js';
import { Mergebox } from '../test/harness/mergebox.js';
import { writeMaildirs } from './mail/maildir.js';
import { cpuSeconds, residentMiB } from './measure/process.js';
import { USER, UPSTREAM_PASSWORD } from './measure/scene.js';

const USAGE = `node .build/bench/pop3.js [--mails N] [--seed N] [--max-attachment N] [--json]
Measures the first download of --mails (10000) from a Dovecot over POP3 by a bare RETR loop, Mergebox, getmail6 and
fetchmail, a poll without change, and the disk that they take. Needs \`npm run build\` before, and the Debian packages
dovecot-pop3d, getmail6 and fetchmail.`;

const execute = promisify(execFile);
const POLLS = 20;

interface Row {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

/** The command line; resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mails: { type: 'string', default: '10000' },
      seed: { type: 'string', default: '1' },
      'max-attachment': { type: 'string', default: '30000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const mails = Number(values.mails);
  const dir = await mkdtemp(join(tmpdir(), 'mergebox-bench-'));
  const server = await startDovecot({ pop3: true });
  try {
    const options = { mails, common: 0, seed: Number(values.seed), maxAttachment: Number(values['max-attachment']) };
    const written = writeMaildirs(options, [server.maildir(USER)]);
    await server.adopt(server.maildir(USER));
    const rows = await measure(server, dir, mails, written.octets);
    if (values.json) console.log(JSON.stringify({ mails, rows }));
    else console.log(`${heading(mails, written.octets)}\n\n${table(rows)}`);
    return 0;
  } finally {
    await server.stop();
    await rm(dir, { recursive: true, force: true });
  }
}

async function measure(server: Dovecot, dir: string, mails: number, octets: number): Promise<Row[]> {
  const say = (text: string): void => console.error(text);
  const rate = async (name: string, run: () => Promise<void>): Promise<Row> => {
    say(name);
    const start = performance.now();
    await run();
    return { name, value: mails / ((performance.now() - start) / 1_000), unit: 'mails/s' };
  };
  say('warming the server');
  await retrieveAll(server, true);
  return [
    await rate('bare RETR loop, pipelined, thrown away', () => retrieveAll(server, true)),
    await rate('bare RETR loop, one by one, thrown away', () => retrieveAll(server, false)),
    ...(await measureMergebox(server, mails, octets, say)),
    ...(await measureGetmail(server, dir, say)),
    await rate('fetchmail to one file (BSMTP)', () => fetchmail(server, dir)),
  ];
}

async function retrieveAll(server: Dovecot, pipelined: boolean): Promise<void> {
  const account = {
    endpoint: { host: server.host, port: server.pop3Port, tls: 'none', ca: null },
    auth: { username: USER, password: new Secret(UPSTREAM_PASSWORD) },
  } as const;
  const session = new Pop3Session(await openPop3(account, DEFAULT_TIMING, new AbortController().signal));
  const numbers = [...(await session.list()).keys()];
  await inWindow(pipelined, numbers, (number) => session.retr(number, () => undefined));
  await session.leave();
}

async function measureMergebox(
  server: Dovecot,
  mails: number,
  octets: number,
  say: (text: string) => void,
): Promise<Row[]> {
  say('Mergebox');
  const account = { id: 'isp', server, protocol: 'pop3', port: server.pop3Port, pollSeconds: 86_400 };
  const box = await Mergebox.create({
    users: [{ name: USER, password: 'bench', accounts: [account] }],
    overrides: { limits: { firstSyncSeconds: 600 } },
    readyTimeoutMs: 600_000,
  });
  try {
    const start = performance.now();
    await box.start();
    await box.sync(600);
    const seconds = (performance.now() - start) / 1_000;
    const cpu = await cpuSeconds(box.pid);
    const memory = await residentMiB(box.pid);
    say('Mergebox: polls');
    const before = await cpuSeconds(box.pid);
    const from = performance.now();
    for (let n = 0; n < POLLS; n += 1) await box.sync();
    const elapsed = performance.now() - from;
    const polled = (await cpuSeconds(box.pid)) - before;
    const data = join(box.dir, 'data', 'users', USER);
    const files = await blocks(join(data, 'pinned'));
    return [
      { name: 'Mergebox: start, download, fsync, record, show', value: mails / seconds, unit: 'mails/s' },
      { name: 'CPU of the daemon for it', value: (cpu / mails) * 1e6, unit: 'µs/mail' },
      { name: 'memory after it', value: memory, unit: 'MiB RSS' },
      {
        name: `CPU of the daemon for a poll of ${mails} mails without change`,
        value: (polled / POLLS) * 1e3,
        unit: 'ms',
      },
      { name: 'time of that poll, with the command that asks for it', value: elapsed / POLLS, unit: 'ms' },
      {
        name: 'disk of the mail at the server (Maildir)',
        value: (await blocks(server.maildir(USER))) / mails,
        unit: 'octets/mail',
      },
      { name: 'of these, octets of the mails themselves', value: octets / mails, unit: 'octets/mail' },
      { name: 'disk of the mail in Mergebox', value: files / mails, unit: 'octets/mail' },
      { name: 'disk of its database', value: ((await blocks(data)) - files) / mails, unit: 'octets/mail' },
    ];
  } finally {
    await box.stop();
  }
}

/**
 * getmail6 waits for a signal that may come before it waits, and then gives up after 60 s: what it has delivered until
 * then is counted without those.
 */
async function measureGetmail(server: Dovecot, dir: string, say: (text: string) => void): Promise<Row[]> {
  say('getmail6 to a Maildir');
  const maildir = join(dir, 'getmail');
  for (const name of ['cur', 'new', 'tmp']) await mkdir(join(maildir, name), { recursive: true });
  const file = join(dir, 'getmailrc');
  const retriever = `type = SimplePOP3Retriever\nserver = ${server.host}\nport = ${server.pop3Port}\nusername = ${USER}\npassword = ${UPSTREAM_PASSWORD}`;
  const settings = '[options]\nverbose = 0\ndelete = false\nread_all = true\ndelivered_to = false\nreceived = false';
  const destination = `[destination]\ntype = Maildir\npath = ${maildir}/`;
  await writeFile(file, `[retriever]\n${retriever}\n\n${destination}\n\n${settings}\n`);
  await execute('chown', ['-R', 'nobody', dir]);
  await execute('chmod', ['755', dir]);
  // It does not deliver as root.
  const [uid, gid] = await Promise.all(
    ['-u', '-g'].map(async (what) => Number((await execute('id', [what, 'nobody'])).stdout)),
  );
  const start = performance.now();
  let stalled = 0;
  await execute('getmail', [`--getmaildir=${dir}`, `--rcfile=${file}`], { uid: uid!, gid: gid! }).catch(
    (error: Error) => {
      if (!error.message.includes('timed out')) throw error;
      stalled = 60;
    },
  );
  const seconds = (performance.now() - start) / 1_000 - stalled;
  const delivered = (await readdir(join(maildir, 'new'))).length;
  return [
    {
      name: `getmail6 to a Maildir${stalled > 0 ? `, up to mail ${delivered}` : ''}`,
      value: delivered / seconds,
      unit: 'mails/s',
    },
    { name: "disk of getmail's Maildir", value: (await blocks(maildir)) / delivered, unit: 'octets/mail' },
  ];
}

async function fetchmail(server: Dovecot, dir: string): Promise<void> {
  const file = join(dir, 'fetchmailrc');
  const poll = `poll ${server.host} service ${server.pop3Port} protocol pop3 username ${USER} password ${UPSTREAM_PASSWORD}`;
  await writeFile(file, `${poll} fetchall keep sslproto ''\n`, { mode: 0o600 });
  const args = [
    '--fetchmailrc',
    file,
    '--nosyslog',
    '--silent',
    '--bsmtp',
    join(dir, 'bsmtp'),
    '--pidfile',
    join(dir, 'pid'),
  ];
  await execute('chown', ['root', file]);
  await execute('fetchmail', [...args, '--idfile', join(dir, 'ids')], {
    env: { ...process.env, FETCHMAILUSER: 'root', HOME: dir },
  });
}

/** Octets of disk below a path, whole blocks. */
async function blocks(path: string): Promise<number> {
  const { stdout } = await execute('du', ['-s', '--block-size=1', path]);
  return Number(stdout.split('\t')[0]);
}

function heading(mails: number, octets: number): string {
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.version}`;
  return `${mails} mails of ${Math.round(octets / mails)} octets on average; ${machine}`;
}

function table(rows: readonly Row[]): string {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const lines = rows.map(
    ({ name, value, unit }) =>
      `| ${name.padEnd(width)} | ${value.toFixed(value < 100 ? 1 : 0).padStart(8)} | ${unit.padEnd(11)} |`,
  );
  return [
    `| ${'measure'.padEnd(width)} |   figure | unit        |`,
    `| ${'-'.repeat(width)} | -------: | ----------- |`,
    ...lines,
  ].join('\n');
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).then(
    (status) => {
      process.exitCode = status;
    },
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}
