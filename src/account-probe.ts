import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, realpath, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ProxyRule } from './config/config.js';
import { appendToList } from './config/edit.js';
import { parseJson } from './config/json.js';
import { loadConfig } from './config/load.js';
import { proxyFor } from './config/proxy.js';
import { parseAddress } from './probe/address.js';
import { dnsResolver } from './probe/dns.js';
import { type AccountEntry, accountEntry, chosen, freeId } from './probe/entry.js';
import { httpGet } from './probe/http.js';
import { PROBE_LIMITS } from './probe/limits.js';
import { probe } from './probe/probe.js';
import { reportText } from './probe/report.js';
import type { Reach } from './probe/types.js';
import { connectSocket } from './upstream/connector.js';
import { MergeboxError } from './util/errors.js';
import type { Secret } from './util/secret.js';

export interface AccountProbe {
  readonly address: string;
  readonly configFile: string;
  /** Null: nothing is logged in to. */
  readonly password: Secret | null;
  /** Adds the account to the file. */
  readonly write: boolean;
  /** Whose account it becomes; needed when the file has several users. */
  readonly user: string | undefined;
  readonly id: string | undefined;
  readonly confirmed: readonly string[];
  /** Where the servers are, when that is known. */
  readonly host: string | undefined;
  readonly port: number | undefined;
  /** PEM file of authorities to trust instead of the system's. */
  readonly ca: string | undefined;
  /** Name server to ask instead of the machine's. */
  readonly dns: string | undefined;
}

/** `mergebox account probe`: true when mail can be read there (and the password, if any, was accepted). */
export async function probeAccount(options: AccountProbe, print: (text: string) => void): Promise<boolean> {
  const address = parseAddress(options.address);
  const file = await readConfigFile(options.configFile);
  if (options.write && file === null) throw new MergeboxError('config', `${options.configFile}: there is no such file`);
  const user = file === null ? null : userIn(file.raw, options);
  const rule = file === null ? null : await proxyRule(file.path);
  const ca = options.ca === undefined ? null : await readFile(options.ca, 'utf8');
  const route = (host: string, port: number) => proxyFor(rule, host, port);
  const report = await probe({
    address,
    password: options.password,
    ...(options.host === undefined ? {} : { place: { host: options.host, port: options.port ?? null } }),
    confirmed: options.confirmed.map((host) => host.toLowerCase()),
    reach: defaultReach(route, ca, options.dns),
    proxyFor: route,
    ca,
  });
  print(reportText(report));
  const id = options.id ?? freeId(address.domain, user?.ids ?? []);
  const secret = secretPlace(options, user?.name ?? '', id);
  const entry = accountEntry(report, id, secret, options.ca === undefined ? null : path.resolve(options.ca));
  if (entry === null) return false;
  print(`\nthe account for the configuration:\n${JSON.stringify(entry, null, 2)}\n`);
  if (chosen(report).incoming?.login.result === 'refused') return false;
  if (options.write && file !== null && user !== null) {
    await addAccount(file, user.index, entry, options.password);
    print(`\nadded to ${file.path} as account "${id}" of ${user.name}; restart the daemon to use it\n`);
  }
  return true;
}

/** The world as it is: the system's resolver and our own connector. */
export function defaultReach(
  route: (host: string, port: number) => ReturnType<typeof proxyFor>,
  ca: string | null,
  dns?: string,
): Reach {
  const timing = { connectMs: PROBE_LIMITS.talkMs, handshakeMs: PROBE_LIMITS.talkMs };
  return {
    resolver: dnsResolver(dns),
    get: httpGet({ proxyFor: route, ca }),
    dial: (endpoint, startTls, signal) => connectSocket({ endpoint, startTls, timing, signal }),
  };
}

/** The password goes to a file of its own beside the configuration; without one the environment is to have it. */
function secretPlace({ password, write }: AccountProbe, user: string, id: string): AccountEntry['auth']['password'] {
  if (password !== null && write) return { file: path.join('passwords', `${encodeURIComponent(user)}-${id}`) };
  return { env: `${id.toUpperCase().replaceAll('-', '_')}_PASSWORD` };
}

interface ConfigFile {
  /** Behind all symbolic links. */
  readonly path: string;
  readonly text: string;
  readonly raw: unknown;
}

async function readConfigFile(file: string): Promise<ConfigFile | null> {
  try {
    const real = await realpath(file);
    const text = await readFile(real, 'utf8');
    return { path: real, text, raw: parseJson(text) };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new MergeboxError('config', `reading the configuration ${file}: ${(error as Error).message}`);
  }
}

/** Secrets of other accounts may be out of reach where this runs; what is set wrong still counts. */
function anyEnvironment(): NodeJS.ProcessEnv {
  return new Proxy(process.env, { get: (env, name: string) => env[name] ?? 'not set here' });
}

async function proxyRule(file: string): Promise<ProxyRule | null> {
  return (await loadConfig(file, anyEnvironment())).proxy;
}

function userIn(raw: unknown, { user, write }: AccountProbe): { index: number; name: string; ids: string[] } | null {
  const users = (raw as { users?: { name?: unknown; accounts?: { id?: unknown }[] }[] }).users ?? [];
  const index = user === undefined ? 0 : users.findIndex(({ name }) => name === user);
  const found = users[index];
  if (found === undefined || (user === undefined && users.length > 1 && write)) {
    if (!write) return null;
    throw new MergeboxError('config', `whose account? Name one of the users of the configuration with --user`);
  }
  return { index, name: String(found.name), ids: (found.accounts ?? []).map(({ id }) => String(id)) };
}

/**
 * Adds the entry, all else in the file left as it stands. The new file replaces the old one in one step, after it was
 * found valid and is on the disk; a crash leaves the old one and perhaps a password file that nothing refers to.
 */
async function addAccount(file: ConfigFile, user: number, entry: AccountEntry, password: Secret | null): Promise<void> {
  const dir = path.dirname(file.path);
  const text = appendToList(file.text, ['users', user, 'accounts'], entry);
  const place = entry.auth.password;
  const secretFile = 'file' in place ? path.join(dir, place.file) : null;
  if (secretFile !== null && password !== null) {
    await mkdir(path.dirname(secretFile), { recursive: true, mode: 0o700 });
    await writeDurably(secretFile, password.reveal(), 0o600);
  }
  const temporary = path.join(dir, `.${path.basename(file.path)}.${randomBytes(6).toString('hex')}`);
  try {
    await writeDurably(temporary, text, (await stat(file.path)).mode & 0o777);
    await loadConfig(temporary, anyEnvironment());
    if ((await readFile(file.path, 'utf8')) !== file.text) {
      throw new MergeboxError('config', `${file.path} was changed meanwhile: nothing is written; try again`);
    }
    await rename(temporary, file.path);
  } catch (error) {
    await rm(temporary, { force: true });
    if (secretFile !== null) await rm(secretFile, { force: true });
    throw error;
  }
  await syncDirectory(dir);
}

/** A new file, never one that is there already. */
async function writeDurably(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(file, 'wx', mode).catch((error: NodeJS.ErrnoException) => {
    throw new MergeboxError('config', `write ${file}: ${error.code ?? error.message}`);
  });
  try {
    await handle.chmod(mode);
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
