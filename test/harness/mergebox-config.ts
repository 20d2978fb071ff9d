import type { TestCertificates } from './certificates.js';
import { runMergebox } from './command-line.js';
import type { MailServer } from './mail-server.js';

type Json = Record<string, unknown>;

/** An account at a server of the test; any further key of the configuration may stand beside these. */
export interface TestAccount extends Json {
  readonly id: string;
  readonly server: MailServer;
  /** User at that server; default alice. */
  readonly login?: string;
  /** Default: the right one. */
  readonly password?: string;
}

export interface TestUser {
  readonly name: string;
  readonly password: string;
  readonly accounts: readonly TestAccount[];
  /** Further keys, such as `dedupe`. */
  readonly extra?: Json;
}

const hashes = new Map<string, Promise<string>>();

/** The hash that `mergebox hash-password` makes, once per password and process. */
export function hashPassword(password: string): Promise<string> {
  let hash = hashes.get(password);
  if (hash === undefined) {
    hash = runMergebox(['hash-password'], { stdin: `${password}\n` }).then(({ code, stdout, stderr }) => {
      if (code !== 0 || stdout.trim() === '') throw new Error(`hash-password exited ${code}: ${stdout}${stderr}`);
      return stdout.trim();
    });
    hashes.set(password, hash);
  }
  return hash;
}

const LISTENERS = (['none', 'implicit', 'starttls'] as const).map((tls) => ({ host: '127.0.0.1', port: 0, tls }));

/** A whole configuration on loopback: IMAP and submission in all three forms of `tls`, every port free. */
export async function mergeboxConfig(
  dataDir: string,
  users: readonly TestUser[],
  certificates: TestCertificates,
  overrides: Json = {},
): Promise<Json> {
  return {
    dataDir,
    tls: { cert: certificates.cert, key: certificates.key },
    imap: { listeners: LISTENERS },
    submission: { listeners: LISTENERS },
    admin: { host: '127.0.0.1', port: 0 },
    users: await Promise.all(
      users.map(async ({ name, password, accounts, extra }) => ({
        name,
        passwordHash: await hashPassword(password),
        ...extra,
        accounts: accounts.map(accountEntry),
      })),
    ),
    ...overrides,
  };
}

function accountEntry({ server, login = 'alice', password, id, ...rest }: TestAccount): Json {
  return {
    id,
    protocol: 'imap',
    host: server.tls === 'none' ? server.host : 'localhost',
    port: server.port,
    tls: server.tls,
    ...(server.tls === 'none' ? {} : { ca: server.ca }),
    auth: { username: login, password: password ?? server.users[login] ?? '' },
    addresses: [`${login}@${id}.example`],
    ...rest,
  };
}
