import type { Role } from '../../src/mail/ids.js';
import { type Dovecot, type DovecotOptions, startDovecot } from '../harness/dovecot.js';
import { type Destruction, destructionTap } from './destruction-tap.js';
import { TcpProxy } from './tcp-proxy.js';

/** A real server behind a proxy: Mergebox comes through the proxy, direct clients past it. */
export interface Upstream {
  readonly id: string;
  readonly server: Dovecot;
  readonly proxy: TcpProxy;
  /** Every destructive command that came through the proxy. */
  readonly destructions: Destruction[];
  readonly separator: string;
  readonly prefix: string;
  /** Which folder has which role; a folder that Mergebox makes when it is needed is named as well. */
  readonly roles: ReadonlyMap<string, Role>;
  /** Direct clients must do without UIDPLUS there. */
  readonly plain: boolean;
  /** It offers MOVE. */
  readonly moves: boolean;
}

interface Kind {
  readonly options: DovecotOptions;
  readonly roles: Readonly<Record<string, Role>>;
  readonly plain: boolean;
}

const PLAIN = 'IMAP4rev1 LITERAL+ NAMESPACE IDLE SPECIAL-USE';
const CONDSTORE = 'IMAP4rev1 LITERAL+ NAMESPACE IDLE SPECIAL-USE ENABLE CONDSTORE UIDPLUS';

/** QRESYNC and MOVE; nothing beyond IMAP4rev1; CONDSTORE and UIDPLUS with other names and a folder missing. */
const KINDS: Readonly<Record<string, Kind>> = {
  work: {
    options: {},
    roles: { INBOX: 'inbox', Drafts: 'drafts', Sent: 'sent', Archive: 'archive', Junk: 'junk', Trash: 'trash' },
    plain: false,
  },
  home: {
    options: { separator: '.', prefix: 'INBOX.', capability: PLAIN },
    roles: {
      INBOX: 'inbox',
      'INBOX.Drafts': 'drafts',
      'INBOX.Sent': 'sent',
      'INBOX.Archive': 'archive',
      'INBOX.Junk': 'junk',
      'INBOX.Trash': 'trash',
    },
    plain: true,
  },
  isp: {
    options: {
      storage: 'mdbox',
      capability: CONDSTORE,
      folders: { Entwurf: '\\Drafts', Gesendet: '\\Sent', Spam: '\\Junk', Papierkorb: '\\Trash' },
    },
    roles: {
      INBOX: 'inbox',
      Entwurf: 'drafts',
      Gesendet: 'sent',
      Spam: 'junk',
      Papierkorb: 'trash',
      Archive: 'archive',
    },
    plain: false,
  },
};

/** The three servers with their proxies. */
export async function startUpstreams(teardown: (stop: () => Promise<void>) => void): Promise<Upstream[]> {
  const upstreams: Upstream[] = [];
  for (const [id, { options, roles, plain }] of Object.entries(KINDS)) {
    const server = await startDovecot(options);
    teardown(() => server.stop());
    const destructions: Destruction[] = [];
    const proxy = await TcpProxy.start(server.port, () => destructionTap((seen) => destructions.push(seen)));
    teardown(() => proxy.stop());
    upstreams.push({
      id,
      server,
      proxy,
      destructions,
      separator: options.separator ?? '/',
      prefix: options.prefix ?? '',
      roles: new Map(Object.entries(roles)),
      plain,
      moves: options.capability === undefined,
    });
  }
  return upstreams;
}
