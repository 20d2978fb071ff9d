import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { defaultReach } from './account-probe.js';
import type { AccountConfig, Config, Endpoint, ProxyRule } from './config/config.js';
import { proxyFor } from './config/proxy.js';
import { parseAddress } from './probe/address.js';
import { accountEntry, chosen } from './probe/entry.js';
import { probe } from './probe/probe.js';
import { createImapUpstream } from './upstream/imap.js';
import type { Upstream } from './upstream/port.js';
import { errorText, MergeboxError } from './util/errors.js';
import type { Log } from './util/log.js';
import { Mutex } from './util/mutex.js';

/** How to talk to the servers of one account, as it was found once. */
interface Found {
  /** What it was found for; another address, name or host is looked for anew. */
  readonly asked: string;
  readonly protocol: 'imap' | 'pop3';
  readonly username: string;
  readonly incoming: Place;
  readonly smtp: Place | null;
}

interface Place {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls';
}

/** POP3 logs in for every look. */
const POP3_POLL_SECONDS = 300;

/**
 * The configuration with the servers of its accounts of protocol `auto`: those found earlier, as dataDir remembers them,
 * and those found now. An account whose servers cannot be found now stays `auto` and is looked for again as it connects.
 */
export async function findServers(config: Config, log: Log): Promise<Config> {
  if (!config.users.some(({ accounts }) => accounts.some(({ protocol }) => protocol === 'auto'))) return config;
  // All accounts share the file that remembers them.
  const lock = new Mutex();
  const users = await Promise.all(
    config.users.map(async (user) => ({
      ...user,
      accounts: await Promise.all(
        user.accounts.map((account) =>
          findServer(config, user.name, account, log, lock).catch((error: unknown) => {
            log.warn({ user: user.name, account: account.id, err: errorText(error) }, 'servers not found');
            return account;
          }),
        ),
      ),
    })),
  );
  return { ...config, users };
}

/** For an account that was not found at the start. POP3 accounts are kept in another way, which the start decides. */
export async function openFound(config: Config, user: string, account: AccountConfig, log: Log): Promise<Upstream> {
  const found = await findServer(config, user, account, log, new Mutex());
  if (found.protocol === 'imap') return createImapUpstream({ account: found, log });
  throw new MergeboxError('unavailable', 'the account was found to be POP3: restart Mergebox to use it');
}

/** What to tell when there is nothing to be told from the servers. */
export function notFound({ addresses }: AccountConfig): string {
  return `no server was found for ${addresses[0] ?? 'it'}; "mergebox account probe" tells why, "host" names one`;
}

/** The account as if it stood in the configuration whole. Rejects with `unavailable` when nothing usable was found. */
async function findServer(
  config: Config,
  user: string,
  account: AccountConfig,
  log: Log,
  lock: Mutex,
): Promise<AccountConfig> {
  if (account.protocol !== 'auto' || account.search === undefined) return account;
  const key = `${user}/${account.id}`;
  const asked = JSON.stringify([account.addresses[0], account.auth.username, account.search.host, account.search.port]);
  const known = (await remembered(config.dataDir))[key];
  if (known?.asked === asked) return withServers(account, known, account.search.proxy);
  const found = await look(account, asked);
  log.info({ user, account: account.id, ...found.incoming, protocol: found.protocol }, 'servers found');
  await lock.run(() => remember(config.dataDir, key, found));
  return withServers(account, found, account.search.proxy);
}

async function look(account: AccountConfig, asked: string): Promise<Found> {
  const { search, auth, endpoint } = account;
  const address = parseAddress(account.addresses[0] ?? '');
  const route = (host: string, port: number) => proxyFor(search?.proxy ?? null, host, port);
  const report = await probe({
    address,
    // A token is no password.
    password: auth.mechanism === 'xoauth2' ? null : auth.password,
    ...(auth.username === address.address ? {} : { usernames: [auth.username] }),
    ...(search?.host ? { place: { host: search.host, port: search.port } } : {}),
    confirmed: [],
    reach: defaultReach(route, endpoint.ca),
    proxyFor: route,
    ca: endpoint.ca,
  });
  const entry = accountEntry(report, account.id, { env: 'unused' }, null);
  if (entry === null) throw new MergeboxError('unavailable', notFound(account));
  const { login } = chosen(report).incoming!;
  if (login.result === 'refused') {
    throw new MergeboxError('authentication', `${entry.host}:${entry.port} refused the login: ${login.text}`);
  }
  const place = ({ host, port, tls }: Place): Place => ({ host, port, tls });
  return {
    asked,
    protocol: entry.protocol,
    username: entry.auth.username,
    incoming: place(entry),
    smtp: entry.smtp === undefined ? null : place(entry.smtp),
  };
}

function withServers(account: AccountConfig, found: Found, rule: ProxyRule | null): AccountConfig {
  const { search: _, ...rest } = account;
  const endpoint = ({ host, port, tls }: Place): Endpoint => {
    const proxy = proxyFor(rule, host, port);
    return { host, port, tls, ca: account.endpoint.ca, ...(proxy === null ? {} : { proxy }) };
  };
  const auth = { ...account.auth, username: found.username };
  const pop3 = found.protocol === 'pop3';
  return {
    ...rest,
    protocol: found.protocol,
    endpoint: endpoint(found.incoming),
    auth,
    pollSeconds: pop3 ? Math.max(account.pollSeconds, POP3_POLL_SECONDS) : account.pollSeconds,
    smtp:
      account.smtp ??
      (found.smtp === null ? null : { endpoint: endpoint(found.smtp), auth, when: 'now', connections: 2 }),
  };
}

function fileIn(dataDir: string): string {
  return path.join(dataDir, 'found-servers.json');
}

/** What cannot be read is found again. */
async function remembered(dataDir: string): Promise<Record<string, Found | undefined>> {
  try {
    const raw = JSON.parse(await readFile(fileIn(dataDir), 'utf8')) as Record<string, unknown>;
    return Object.fromEntries(Object.entries(raw).flatMap(([key, value]) => (isFound(value) ? [[key, value]] : [])));
  } catch {
    return {};
  }
}

function isFound(value: unknown): value is Found {
  const { asked, protocol, username, incoming, smtp } = (value ?? {}) as Partial<Record<keyof Found, unknown>>;
  const known = protocol === 'imap' || protocol === 'pop3';
  return (
    known &&
    typeof asked === 'string' &&
    typeof username === 'string' &&
    isPlace(incoming) &&
    (smtp === null || isPlace(smtp))
  );
}

function isPlace(value: unknown): value is Place {
  const { host, port, tls } = (value ?? {}) as Partial<Record<keyof Place, unknown>>;
  return typeof host === 'string' && Number.isInteger(port) && (tls === 'implicit' || tls === 'starttls');
}

async function remember(dataDir: string, key: string, found: Found): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const text = JSON.stringify({ ...(await remembered(dataDir)), [key]: found }, null, 2);
  const temporary = `${fileIn(dataDir)}.${randomBytes(6).toString('hex')}`;
  try {
    const handle = await open(temporary, 'wx', 0o600);
    try {
      await handle.writeFile(`${text}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, fileIn(dataDir));
  } finally {
    await rm(temporary, { force: true });
  }
}
