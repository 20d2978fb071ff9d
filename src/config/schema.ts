import { z } from 'zod';

/** A secret as written in the file: the text itself, or where to find it. */
const secret = z.union(
  [z.string().min(1), z.strictObject({ env: z.string().min(1) }), z.strictObject({ file: z.string().min(1) })],
  { error: 'a string that is not empty, { "env": NAME } or { "file": PATH }' },
);

const port = z.int().min(0).max(65535);
const upstreamPort = z.int().min(1).max(65535);
const tlsMode = z.enum(['implicit', 'starttls', 'none']);

/** Where a service listens; the port defaults to the service's own for that kind of protection. */
export const listenerSchema = z.strictObject({
  host: z.string().min(1).default('0.0.0.0'),
  /** 0 takes a free one. */
  port: port.optional(),
  tls: tlsMode.default('implicit'),
  /** Lets `tls: "none"` stand on an address that is not loopback. */
  allowPlaintext: z.boolean().default(false),
});

const auth = z.strictObject({ username: z.string().min(1), password: secret });

/** `xoauth2`: the password is an access token (POP3). */
const accountAuth = auth.extend({ mechanism: z.enum(['auto', 'xoauth2']).default('auto') });

/** The way through a firewall; TLS is with the upstream all the same. */
const proxy = z.strictObject({
  type: z.enum(['http', 'socks5']),
  host: z.string().min(1),
  /** 3128 for http (CONNECT), 1080 for socks5. */
  port: upstreamPort.optional(),
  auth: auth.optional(),
  /** Hosts reached without it, as in NO_PROXY: names with all below them, addresses, networks; `*` is all. */
  except: z.array(z.string().min(1)).default(['localhost', '127.0.0.0/8', '::1']),
});

const smtp = z.strictObject({
  host: z.string().min(1),
  /** 465 for implicit TLS, else 587. */
  port: upstreamPort.optional(),
  tls: tlsMode.default('implicit'),
  allowPlaintext: z.boolean().default(false),
  ca: z.string().min(1).optional(),
  /** The account's own `auth` when absent; `false` for a server that takes none. */
  auth: z.union([auth, z.literal(false)]).optional(),
  /** When mail leaves: at once; when the account is known to be reachable; whenever it was synced. */
  when: z.enum(['now', 'reachable', 'sync']).default('now'),
  /** Connections to this server at any time. */
  connections: z.int().min(1).max(50).default(8),
});

const address = z.string().regex(/^[^@\s]+@[^@\s]+$/, 'an address, local@domain');

/** The server that a user's mail leaves through instead of the accounts' own. */
const relay = smtp.extend({
  /** Only mail from these; `*@domain` is all of a domain. All mail when absent. */
  addresses: z.array(address).optional(),
});

const folderPattern = z.string().min(1).max(255);

export const accountSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9_-]{1,32}$/, '1 to 32 of A-Z a-z 0-9 _ -'),
  /**
   * `local`: folders that live in dataDir alone; neither `host` nor `auth` then. `auto`: found out once, by the first of
   * `addresses`, or by `host` (and `port`) where they are known.
   */
  protocol: z.enum(['imap', 'pop3', 'local', 'auto']).default('imap'),
  host: z.string().min(1).optional(),
  /** IMAP: 993 for implicit TLS, else 143. POP3: 995, else 110. */
  port: upstreamPort.optional(),
  tls: tlsMode.default('implicit'),
  allowPlaintext: z.boolean().default(false),
  /** A PEM file with the certificate authorities to trust instead of the system's. */
  ca: z.string().min(1).optional(),
  auth: accountAuth.optional(),
  /** Those it owns, aliases too; `*@domain` is all of a domain. */
  addresses: z.array(address).default([]),
  authority: z.enum(['both', 'upstream', 'mergebox']).default('both'),
  /** What a deletion at another server does to this account's copy. */
  onUpstreamDelete: z.enum(['trash', 'expunge', 'keep']).default('trash'),
  /** 60; 300 for POP3, where each look is a login. */
  pollSeconds: z.int().min(1).max(86_400).optional(),
  /** Connections to this server at any time. */
  connections: z.int().min(2).max(20).default(3),
  /** POP3: when a mail that is here is deleted at the server. */
  leaveOnServer: z
    .union([z.enum(['until-deleted', 'forever']), z.int().min(1).max(3_650)], {
      error: '"until-deleted", "forever", or a number of days',
    })
    .default('until-deleted'),
  /** Folders to sync: patterns of paths, `/` between levels; each stands for the folder and all below it. */
  include: z.array(folderPattern).default(['*']),
  exclude: z.array(folderPattern).default([]),
  /** Earliest mail to show: a date, or days before today; all when absent. IMAP only, like `maxMessages`. */
  since: z
    .string()
    .regex(/^(\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])|\d{1,5}d)$/, 'a date like "2024-01-31" or days like "90d"')
    .optional(),
  /** Newest mails of each folder to show; all when absent. */
  maxMessages: z.int().min(1).optional(),
  /** Whose bodies are fetched before anybody asks, to be readable without the server. */
  bodies: z
    .string()
    .regex(/^(on-demand|all|recent:\d{1,5}d)$/, '"on-demand", "all", or "recent:30d"')
    .default('on-demand'),
  /** Octets; larger mails are fetched only when somebody reads them. */
  bodyMaxBytes: z.int().min(0).default(26_214_400),
  /** Folder of each role, where the server does not tell or tells wrong. */
  folders: z
    .strictObject({
      drafts: z.string().optional(),
      sent: z.string().optional(),
      archive: z.string().optional(),
      junk: z.string().optional(),
      trash: z.string().optional(),
    })
    .default({}),
  smtp: smtp.optional(),
  /** The proxy at the top of the file when absent; `false`: none. */
  proxy: z.union([proxy, z.literal(false)]).optional(),
  /** Whether Mergebox files sent mail: `auto` files unless the copy is there already. */
  sent: z.enum(['auto', 'always', 'never']).default('auto'),
});

/** The user's directory carries the name, %-encoded; what is no text at all is refused by another rule. */
function namesDirectory(name: string): boolean {
  return name !== '.' && name !== '..' && encodeURIComponent(Buffer.from(name).toString()).length <= 255;
}

const userSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[^\s/\\\p{Cc}\p{Cs}]{1,128}$/u, '1 to 128 characters, no space, slash or control character')
    .refine(namesDirectory, 'a name of at most 255 octets, %-encoded, that is not "." or ".."'),
  passwordHash: z.string().min(1),
  dedupe: z.enum(['content', 'messageId', 'off']).default('content'),
  defaultAccount: z.string().optional(),
  relay: relay.optional(),
  accounts: z.array(accountSchema).default([]),
});

const limits = z.strictObject({
  /** Octets of one message a client may APPEND or submit. */
  messageBytes: z.int().min(1_024).default(67_108_864),
  /** Octets of message bodies kept in memory, for all users together. */
  memoryCacheBytes: z.int().min(0).default(67_108_864),
  /** Octets of message bodies kept on disk, per user. */
  diskCacheBytes: z.int().min(0).default(2_147_483_648),
  /** Octets of bodies that are kept to be readable without their servers, per user. */
  offlineBytes: z.int().min(0).default(10_737_418_240),
  /** Octets a second at which one account's bodies are fetched for that. */
  prefetchBytesPerSecond: z.int().min(1_024).default(2_097_152),
  /** IMAP connections of one user. */
  sessionsPerUser: z.int().min(1).default(64),
  /** IMAP connections of one client address. */
  sessionsPerAddress: z.int().min(1).default(256),
  /** Minutes without a command until an IMAP connection is closed (RFC 9051 §5.4: at least 30). */
  idleMinutes: z.int().min(30).default(30),
  /** Seconds that the first sync of all accounts may hold back the merged mailboxes. */
  firstSyncSeconds: z.int().min(0).default(120),
  /** A sync that would remove more than this share of a folder, and more than `holdCount` mails, is held. */
  holdShare: z.number().min(0).max(1).default(0.2),
  holdCount: z.int().min(0).default(20),
});

/** Both kinds of TLS on the service's own ports, on all addresses. */
const listeners = z.array(listenerSchema).prefault([{ tls: 'implicit' }, { tls: 'starttls' }]);

/** The configuration file; every key has a default but `users` and what identifies an account. */
export const configSchema = z.strictObject({
  dataDir: z.string().min(1).default('./data'),
  tls: z.strictObject({ cert: z.string().min(1), key: z.string().min(1) }).optional(),
  imap: z.strictObject({ listeners }).prefault({}),
  submission: z
    .strictObject({
      listeners,
      /** The name Mergebox gives in its greeting, EHLO and Received; the machine's own when absent. */
      hostname: z
        .string()
        .regex(/^[A-Za-z0-9]([A-Za-z0-9.-]{0,253}[A-Za-z0-9])?$/, 'a host name')
        .optional(),
      /** Seconds a client waits for the first try of its mail before it is told that it is queued. */
      waitSeconds: z.number().min(0).max(240).default(10),
      /** Seconds until a mail that was put off is tried again; they double, up to an hour. */
      retrySeconds: z.number().min(0.05).max(86_400).default(30),
      /** Seconds that an upstream server may take to answer to a whole message (RFC 5321 §4.5.3.2.6: 600). */
      replySeconds: z.number().min(0.1).max(3_600).default(600),
      /** Hours of waiting until its sender is warned, and until it is given up. */
      warnHours: z.number().positive().default(4),
      giveUpHours: z.number().positive().default(120),
    })
    .prefault({}),
  admin: z
    .strictObject({
      host: z.string().min(1).default('127.0.0.1'),
      port: port.default(8080),
      /** What a request must bear to change anything; without one, nothing can be changed over TCP. */
      token: secret.optional(),
    })
    .prefault({}),
  log: z
    .strictObject({ level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace']).default('info') })
    .prefault({}),
  limits: limits.prefault({}),
  /** For all connections to upstream servers. */
  proxy: proxy.optional(),
  users: z.array(userSchema).min(1),
});

export type FileConfig = z.infer<typeof configSchema>;
export type SecretSource = z.infer<typeof secret>;
