import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Role } from '../../src/mail/ids.js';
import { Mutex } from '../../src/util/mutex.js';
import { startCyrus } from '../harness/cyrus.js';
import { type DovecotOptions, startDovecot } from '../harness/dovecot.js';
import type { MailServer } from '../harness/mail-server.js';
import { type Destruction, destructionTap } from './destruction-tap.js';
import { MoveWatch } from './move-watch.js';
import { TcpProxy } from './tcp-proxy.js';

/** A real server behind a proxy: Mergebox comes through the proxy, direct clients past it. */
export interface Upstream {
  readonly id: string;
  readonly server: MailServer;
  readonly proxy: TcpProxy;
  /** Every destructive command that came through the proxy. */
  readonly destructions: Destruction[];
  readonly watch: MoveWatch;
  /** One direct client at a time moves mail there. */
  readonly directMoves: Mutex;
  readonly separator: string;
  readonly prefix: string;
  /** Which folder has which role; a folder that Mergebox makes when it is needed is named as well. */
  readonly roles: ReadonlyMap<string, Role>;
  /** Direct clients must do without UIDPLUS there. */
  readonly plain: boolean;
  /** It offers MOVE. */
  readonly moves: boolean;
  /** While the server is paused: it forgets which UIDs its INBOX had, so that they start again under another UIDVALIDITY. */
  readonly forgetUids: (() => Promise<void>) | null;
}

type Kind = Pick<Upstream, 'id' | 'separator' | 'prefix' | 'plain' | 'moves' | 'forgetUids'> & {
  readonly server: MailServer;
  readonly roles: Readonly<Record<string, Role>>;
};

const NAMES = { Drafts: 'drafts', Sent: 'sent', Archive: 'archive', Junk: 'junk', Trash: 'trash' } as const;

function roles(prefix: string): Record<string, Role> {
  const named = Object.entries(NAMES).map(([name, role]) => [prefix + name, role] as const);
  return { INBOX: 'inbox', ...Object.fromEntries(named) };
}

/** A Dovecot that offers `options.capability`, or all it has. */
async function dovecot(id: string, options: DovecotOptions, names = roles(options.prefix ?? '')): Promise<Kind> {
  const server = await startDovecot(options);
  const { separator = '/', prefix = '', capability } = options;
  const offers = (name: string): boolean => capability === undefined || capability.split(' ').includes(name);
  const forgetUids = async (): Promise<void> => {
    const dir = server.maildir('alice');
    const stale = /^(dovecot-uidlist|dovecot\.index)/;
    // The keyword letters in the file names need dovecot-keywords.
    for (const name of await readdir(dir)) if (stale.test(name)) await rm(join(dir, name));
  };
  return {
    id,
    server,
    separator,
    prefix,
    roles: names,
    plain: !offers('UIDPLUS'),
    moves: offers('MOVE'),
    forgetUids: options.storage === 'mdbox' ? null : forgetUids,
  };
}

async function cyrus(id: string, names: 'modern' | 'classic'): Promise<Kind> {
  const server = await startCyrus({ names });
  const [separator, prefix] = names === 'modern' ? ['/', ''] : ['.', 'INBOX.'];
  return { id, server, separator, prefix, roles: roles(prefix), plain: false, moves: true, forgetUids: null };
}

const PLAIN = 'IMAP4rev1 LITERAL+ NAMESPACE IDLE SPECIAL-USE';
const CONDSTORE = 'IMAP4rev1 LITERAL+ NAMESPACE IDLE SPECIAL-USE ENABLE CONDSTORE UIDPLUS';

/** UIDPLUS and CONDSTORE without MOVE; other names, and one folder is missing. */
function dovecotMdbox(id: string): Promise<Kind> {
  const folders = { Entwurf: '\\Drafts', Gesendet: '\\Sent', Spam: '\\Junk', Papierkorb: '\\Trash' };
  return dovecot(
    id,
    { storage: 'mdbox', capability: CONDSTORE, folders },
    {
      INBOX: 'inbox',
      Entwurf: 'drafts',
      Gesendet: 'sent',
      Spam: 'junk',
      Papierkorb: 'trash',
      Archive: 'archive',
    },
  );
}

/** A server with everything, one with nothing beyond IMAP4rev1, and by the seed one of three others. */
const STARTS: readonly ((seed: number) => Promise<Kind>)[] = [
  () => dovecot('work', {}),
  () => dovecot('home', { separator: '.', prefix: 'INBOX.', capability: PLAIN }),
  (seed) => (seed % 2 === 0 ? dovecotMdbox('isp') : cyrus('uni', seed % 4 === 1 ? 'modern' : 'classic')),
];

/** The three servers of this seed with their proxies. */
export async function startUpstreams(seed: number, teardown: (stop: () => Promise<void>) => void): Promise<Upstream[]> {
  const upstreams: Upstream[] = [];
  for (const start of STARTS) {
    const kind = await start(seed);
    teardown(() => kind.server.stop());
    const destructions: Destruction[] = [];
    const watch = new MoveWatch();
    const proxy = await TcpProxy.start(kind.server.port, () =>
      destructionTap((seen) => destructions.push(seen), watch),
    );
    teardown(() => proxy.stop());
    upstreams.push({
      ...kind,
      proxy,
      destructions,
      watch,
      directMoves: new Mutex(),
      roles: new Map(Object.entries(kind.roles)),
    });
  }
  return upstreams;
}
