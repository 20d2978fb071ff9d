import { parseArgs } from 'node:util';
import { ACCOUNT_USAGE, accountCommand, isAccountCommand } from './account-command.js';
import { adminSocketPath } from './admin/admin.js';
import { type AdminAnswer, adminRequest } from './admin/client.js';
import { type StatusReport, type SyncReport, statusText } from './admin/status.js';
import type { App } from './app.js';
import { hashPassword } from './auth/password.js';
import type { Config } from './config/config.js';
import { loadConfig } from './config/load.js';
import { isQueueCommand, QUEUE_USAGE, queueCommand } from './queue-command.js';
import { errorText, isMergeboxError, MergeboxError } from './util/errors.js';
import { armFaultPoint } from './util/fault.js';
import { createLog, type Log, silentLog } from './util/log.js';
import { VERSION } from './version.js';

const USAGE = `mergebox ${VERSION}: one INBOX for all of a person's mail accounts

  mergebox serve            run
  mergebox demo             run with built-in sample accounts, in a temporary directory
  mergebox check            validate the configuration, log in to every upstream, say what each offers
  mergebox status [--json]  what the running daemon does, per account
  mergebox sync [--user U] [--account A] [--wait] [--timeout SECONDS]
                            sync now; with --wait until nothing is left to do
  mergebox release ACCOUNT [--user U]
                            believe the deletions that are held because there are so many
  mergebox retry ACCOUNT [ACTION] [--user U]
                            try the changes again that the account's server refused, or one of them
  mergebox drop ACCOUNT ACTION [--user U]
                            give up a refused change; mail that is only here is written to a file
${ACCOUNT_USAGE}
${QUEUE_USAGE}
  mergebox rebuild [USER] [--force]
                            set a damaged database aside and build a new one; mail at the servers is not touched
  mergebox hash-password    read a password on standard input, print the hash for the configuration

Every command takes --config FILE (default ./config.json, or $MERGEBOX_CONFIG).
`;

const OPTIONS = {
  config: { type: 'string' },
  json: { type: 'boolean' },
  user: { type: 'string' },
  account: { type: 'string' },
  wait: { type: 'boolean' },
  force: { type: 'boolean' },
  timeout: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean' },
} as const;

type Values = ReturnType<typeof parse>['values'];

/** Exit statuses: 0 well, 1 a fault of the world, 2 a fault of the caller (arguments, configuration). */
const FAULT = 1;
const MISUSE = 2;
/** Milliseconds that a reader of the log has when the process has to end. */
const EXIT_MS = 1_000;

/** How many arguments a command takes; none where it is not named. */
const ARGUMENTS: ReadonlyMap<string, number> = new Map([
  ['release', 1],
  ['retry', 2],
  ['drop', 2],
  ['rebuild', 1],
]);

/** Runs one command line; the exit status. */
export async function run(args: readonly string[]): Promise<number> {
  try {
    armFaultPoint(process.env['MERGEBOX_FAULT']);
    if (isAccountCommand(args)) return (await accountCommand(args, defaultConfig(), readInput, print)) ? 0 : FAULT;
    if (isQueueCommand(args)) {
      await queueCommand(args, askQueue, print);
      return 0;
    }
    const { values, positionals } = parse(args);
    if (values.version) return print(`${VERSION}\n`);
    const [command, ...rest] = positionals;
    if (values.help || command === undefined) return print(USAGE, values.help ? 0 : MISUSE);
    if (rest.length > (ARGUMENTS.get(command) ?? 0))
      throw new MergeboxError('config', `unexpected argument "${rest.at(-1)}"`);
    return await dispatch(command, rest, values);
  } catch (error) {
    process.stderr.write(`mergebox: ${errorText(error)}\n`);
    return isMergeboxError(error, 'config') ? MISUSE : FAULT;
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new MergeboxError('config', `${errorText(error)}; see mergebox --help`);
  }
}

/** Each command loads what it needs when it runs: `status` is not to wait for what only `serve` uses. */
async function dispatch(command: string, rest: readonly string[], values: Values): Promise<number> {
  switch (command) {
    case 'serve':
      return serve(values);
    case 'demo':
      return (await import('./demo/demo.js')).runDemo();
    case 'check':
      return check(values);
    case 'status':
      return status(values);
    case 'sync':
      return sync(values);
    case 'release':
    case 'retry':
    case 'drop':
      return forAccount(command, rest, values);
    case 'rebuild':
      return rebuild(rest[0], values);
    case 'hash-password':
      return hash();
    default:
      throw new MergeboxError('config', `unknown command "${command}"; see mergebox --help`);
  }
}

function load(values: Pick<Values, 'config'>, warn?: (text: string) => void): Promise<Config> {
  return loadConfig(values.config ?? defaultConfig(), process.env, warn);
}

function defaultConfig(): string {
  return process.env['MERGEBOX_CONFIG'] ?? 'config.json';
}

async function serve(values: Values): Promise<number> {
  // Headers of mail are in the databases: whatever the directory allows, files are their owner's.
  process.umask(0o077);
  const warnings: string[] = [];
  const loaded = await load(values, (text) => warnings.push(text));
  const log = createLog(loaded.log.level);
  for (const text of warnings) log.warn(text);
  const [{ App }, { findServers }] = await Promise.all([import('./app.js'), import('./auto-accounts.js')]);
  const app = new App(await findServers(loaded, log), log);
  const stopped = untilSignal();
  // Whoever reads the log may leave; mail goes on.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.on('uncaughtException', (error) => {
    log.fatal({ err: error }, 'uncaught exception');
    // What was logged before comes out first, unless nobody reads it.
    log.flush(() => process.exit(FAULT));
    setTimeout(() => process.exit(FAULT), EXIT_MS);
  });
  process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));
  process.on('SIGHUP', () => void reload(app, log));
  // A limit on the size of files (setrlimit(2), RLIMIT_FSIZE) makes that write fail; it ends nothing.
  process.on('SIGXFSZ', () => log.error('a file has reached the size that this process may write'));
  try {
    log.info({ listeners: await app.start() }, 'ready');
  } catch (error) {
    await app.close().catch(() => undefined);
    throw error;
  }
  log.info({ signal: await stopped }, 'stopping');
  await app.close();
  log.info('stopped');
  return 0;
}

async function reload(app: App, log: Log): Promise<void> {
  try {
    await app.reload();
    log.info('certificate reloaded');
  } catch (error) {
    log.error({ err: errorText(error) }, 'certificate not reloaded; the old one stays');
  }
}

function untilSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve(signal));
  });
}

async function check(values: Values): Promise<number> {
  const loaded = await load(values, (text) => process.stderr.write(`warning: ${text}\n`));
  print('configuration: valid\n');
  const [{ checkUpstreams }, { findServers }] = await Promise.all([import('./check.js'), import('./auto-accounts.js')]);
  const config = await findServers(loaded, silentLog());
  return (await checkUpstreams(config, silentLog(), (line) => print(`${line}\n`))) ? 0 : FAULT;
}

async function rebuild(user: string | undefined, values: Values): Promise<number> {
  const { rebuildCommand } = await import('./rebuild-command.js');
  await rebuildCommand(await load(values), user ?? values.user, values.force ?? false, (line) => print(`${line}\n`));
  return 0;
}

async function status(values: Values): Promise<number> {
  const report = answer<StatusReport>(await ask(await load(values), 'GET', '/api/status'));
  print(values.json ? `${JSON.stringify(report, null, 2)}\n` : statusText(report));
  return report.healthy ? 0 : FAULT;
}

async function sync(values: Values): Promise<number> {
  const seconds = Number(values.timeout ?? 300);
  if (!(seconds > 0 && seconds <= 3_600)) throw new MergeboxError('config', '--timeout takes seconds, up to 3600');
  const { user, account } = values;
  const body = {
    ...(user === undefined ? {} : { user }),
    ...(account === undefined ? {} : { account }),
    wait: values.wait ?? false,
    timeoutMs: seconds * 1_000,
  };
  return reportSync(
    answer<SyncReport>(await ask(await load(values), 'POST', '/api/sync', body, seconds * 1_000 + 10_000)),
  );
}

async function forAccount(
  command: 'release' | 'retry' | 'drop',
  [account, action]: readonly string[],
  values: Values,
): Promise<number> {
  if (account === undefined) throw new MergeboxError('config', `${command}: which account?`);
  if (command === 'drop' && action === undefined) {
    throw new MergeboxError('config', 'drop: which action? mergebox status lists those that were refused');
  }
  if (action !== undefined && !/^[1-9]\d{0,14}$/.test(action)) {
    throw new MergeboxError('config', `${command}: "${action}" is not the number of an action; see mergebox status`);
  }
  const body = {
    ...(values.user === undefined ? {} : { user: values.user }),
    account,
    ...(action === undefined ? {} : { action: Number(action) }),
  };
  return reportSync(answer<SyncReport>(await ask(await load(values), 'POST', `/api/${command}`, body)));
}

function reportSync(report: SyncReport): number {
  for (const each of report.accounts) print(`${each.user}/${each.account}: ${each.result}\n`);
  return report.ok ? 0 : FAULT;
}

async function askQueue(config: string | undefined, body: Readonly<Record<string, unknown>>): Promise<unknown> {
  return answer(await ask(await load(config === undefined ? {} : { config }), 'POST', '/api/queue', body));
}

function ask(
  config: Config,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  timeoutMs?: number,
): Promise<AdminAnswer> {
  return adminRequest(adminSocketPath(config.dataDir), method, path, body, timeoutMs);
}

/** The body of a good answer; the daemon's own words otherwise. */
function answer<T>({ status: code, body }: AdminAnswer): T {
  if (code === 200) return body as T;
  const text = typeof body === 'object' && body !== null && 'error' in body ? String(body.error) : `HTTP ${code}`;
  throw new MergeboxError(code === 404 ? 'nonexistent' : 'unavailable', text);
}

/** Standard input without the newline that ends it. */
async function readInput(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks)
    .toString('utf8')
    .replace(/\r?\n$/, '');
}

async function hash(): Promise<number> {
  const password = await readInput();
  if (password === '') throw new MergeboxError('config', 'hash-password: no password on standard input');
  return print(`${await hashPassword(password)}\n`);
}

function print(text: string, code = 0): number {
  process.stdout.write(text);
  return code;
}
