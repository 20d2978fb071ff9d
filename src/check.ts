import { notFound } from './auto-accounts.js';
import type { AccountConfig, Config } from './config/config.js';
import { RELAY_TIMEOUTS } from './submit/limits.js';
import { Relay } from './submit/relay.js';
import { createImapUpstream } from './upstream/imap.js';
import { openPop3 } from './upstream/pop3/login.js';
import { Pop3Session } from './upstream/pop3/session.js';
import { DEFAULT_TIMING } from './upstream/timing.js';
import { errorText, MergeboxError } from './util/errors.js';
import type { Log } from './util/log.js';

/** Extensions worth telling a person about, with what they spare. */
const NOTABLE = ['QRESYNC', 'CONDSTORE', 'IDLE', 'UIDPLUS', 'MOVE', 'SPECIAL-USE', 'OBJECTID', 'COMPRESS=DEFLATE'];

/** `mergebox check`: logs in to every upstream and says what it offers. False when any of them failed. */
export async function checkUpstreams(config: Config, log: Log, print: (line: string) => void): Promise<boolean> {
  let ok = true;
  for (const user of config.users) {
    for (const account of user.accounts) {
      for (const look of [LOOKS[account.protocol], lookAtSmtp]) {
        try {
          for (const line of await look(account, log, config.submission.hostname))
            print(`${user.name}/${account.id}: ${line}`);
        } catch (error) {
          ok = false;
          print(`${user.name}/${account.id}: FAILED: ${errorText(error)}`);
        }
      }
    }
  }
  return ok;
}

async function lookAtImap(account: AccountConfig, log: Log): Promise<string[]> {
  const { host, port, tls } = account.endpoint;
  const upstream = createImapUpstream({ account, log });
  try {
    const features = await upstream.connect();
    const folders = await upstream.listFolders();
    const offered = NOTABLE.filter((name) => features.capabilities.includes(name));
    const roles = folders.flatMap((folder) => (folder.role === null ? [] : `${folder.role}=${folder.path}`));
    return [
      `imap ${host}:${port} (${tls}): logged in; offers ${offered.join(' ') || 'IMAP4rev1 only'}`,
      `imap ${host}:${port}: ${folders.length} folders; ${roles.join(' ')}`,
    ];
  } finally {
    await upstream.disconnect();
  }
}

async function lookAtPop3(account: AccountConfig): Promise<string[]> {
  const { host, port, tls } = account.endpoint;
  const where = `pop3 ${host}:${port}`;
  const session = new Pop3Session(await openPop3(account, DEFAULT_TIMING, new AbortController().signal));
  try {
    const { count, octets } = await session.stat();
    const names = await session.uidl();
    const lacks = [...(names === null ? ['UIDL'] : []), ...((await hasTop(session, count)) ? [] : ['TOP'])];
    return [
      `${where} (${tls}): logged in; offers ${[...session.capabilities.keys()].join(' ') || 'no CAPA'}`,
      `${where}: ${count} mails of ${octets} octets${lacks.length === 0 ? '' : `; lacks ${lacks.join(', ')}`}`,
    ];
  } finally {
    await session.leave();
  }
}

async function hasTop(session: Pop3Session, count: number): Promise<boolean> {
  return count === 0 || (await session.top(1)) !== null;
}

async function lookAtLocal(): Promise<string[]> {
  return ['local: folders that live here'];
}

async function lookAtUnfound(account: AccountConfig): Promise<string[]> {
  throw new MergeboxError('unavailable', notFound(account));
}

const LOOKS = { imap: lookAtImap, pop3: lookAtPop3, local: lookAtLocal, auto: lookAtUnfound } as const;

async function lookAtSmtp(account: AccountConfig, _log: Log, hostname: string): Promise<string[]> {
  if (account.smtp === null) return ['smtp: none configured; mail cannot be sent from this account'];
  const { host, port, tls } = account.smtp.endpoint;
  const relay = await Relay.open(account.smtp, hostname, RELAY_TIMEOUTS);
  const { size, eightBitMime, smtpUtf8 } = relay.features;
  relay.close();
  const offered = [
    ...(eightBitMime ? ['8BITMIME'] : []),
    ...(smtpUtf8 ? ['SMTPUTF8'] : []),
    ...(size === null ? [] : [`SIZE ${size}`]),
  ];
  const login = account.smtp.auth ? 'logged in' : 'connected';
  return [`smtp ${host}:${port} (${tls}): ${login}; offers ${offered.join(' ') || 'no extension'}`];
}
