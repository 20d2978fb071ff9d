import { join } from 'node:path';
import type { TestCertificates } from './certificates.js';
import type { MailAccount } from './mail-server.js';

export interface DovecotOptions {
  /** Password of each user; default alice with `secret`. */
  readonly users?: Readonly<Record<string, string>>;
  /** How the IMAP (and POP3) port is protected; default none. `starttls` refuses logins in clear. */
  readonly tls?: 'implicit' | 'starttls' | 'none';
  /** What IMAP advertises after login instead of all that Dovecot can (imap_capability). */
  readonly capability?: string;
  /** Folders made at first login, each with the SPECIAL-USE attribute or null; default the usual five. */
  readonly folders?: Readonly<Record<string, string | null>>;
  readonly separator?: '/' | '.';
  readonly prefix?: '' | 'INBOX.';
  readonly storage?: 'maildir' | 'sdbox' | 'mdbox';
  readonly pop3?: boolean;
  readonly lmtp?: boolean;
  /** Raw lines at the end of the configuration. */
  readonly extra?: string;
}

export interface DovecotPorts {
  readonly imap: number;
  readonly pop3: number;
  readonly lmtp: number;
}

const SPECIAL_USE: Readonly<Record<string, string>> = {
  Drafts: '\\Drafts',
  Sent: '\\Sent',
  Archive: '\\Archive',
  Junk: '\\Junk',
  Trash: '\\Trash',
};

/** The text of dovecot.conf for one private instance below `dir`. */
export function dovecotConfig(
  dir: string,
  options: DovecotOptions,
  ports: DovecotPorts,
  certificates: TestCertificates,
  account: MailAccount,
): string {
  const tls = options.tls ?? 'none';
  const protocols = ['imap', ...(options.pop3 ? ['pop3'] : []), ...(options.lmtp ? ['lmtp'] : [])];
  return [
    `base_dir = ${join(dir, 'run')}`,
    `state_dir = ${join(dir, 'state')}`,
    `log_path = ${join(dir, 'dovecot.log')}`,
    'log_timestamp = "%Y-%m-%d %H:%M:%S.%{usecs} "',
    `protocols = ${protocols.join(' ')}`,
    'listen = 127.0.0.1',
    ...(account.root
      ? []
      : [
          `default_internal_user = ${account.name}`,
          `default_internal_group = ${account.group}`,
          `default_login_user = ${account.name}`,
        ]),
    `mail_uid = ${account.uid}`,
    `mail_gid = ${account.gid}`,
    'first_valid_uid = 1',
    'first_valid_gid = 1',
    `mail_location = ${mailLocation(options.storage ?? 'maildir')}`,
    // Tests and benches open many connections from one address.
    'mail_max_userip_connections = 1000',
    'default_client_limit = 4000',
    'default_process_limit = 1000',
    // A wrong password is answered at once, so that tests need no pauses.
    'auth_failure_delay = 0 secs',
    'auth_mechanisms = plain login',
    `ssl = ${tls === 'none' ? 'no' : 'required'}`,
    `ssl_cert = <${certificates.cert}`,
    `ssl_key = <${certificates.key}`,
    'disable_plaintext_auth = no',
    `passdb {\n  driver = passwd-file\n  args = ${join(dir, 'passwd')}\n}`,
    `userdb {\n  driver = static\n  args = uid=${account.uid} gid=${account.gid} home=${join(dir, 'mail')}/%u\n}`,
    namespaceBlock(options),
    ...services(options, ports, account),
    ...(options.capability === undefined ? [] : [`imap_capability = ${options.capability}`]),
    options.extra ?? '',
    '',
  ].join('\n');
}

function mailLocation(storage: 'maildir' | 'sdbox' | 'mdbox'): string {
  return storage === 'maildir' ? 'maildir:~/Maildir' : `${storage}:~/${storage}`;
}

function namespaceBlock(options: DovecotOptions): string {
  const folders = Object.entries(options.folders ?? SPECIAL_USE).map(([name, use]) =>
    [
      `  mailbox "${name}" {`,
      '    auto = subscribe',
      ...(use === null ? [] : [`    special_use = ${use}`]),
      '  }',
    ].join('\n'),
  );
  return [
    'namespace inbox {',
    '  inbox = yes',
    `  separator = ${options.separator ?? '/'}`,
    `  prefix = ${options.prefix ?? ''}`,
    ...folders,
    '}',
  ].join('\n');
}

function services(options: DovecotOptions, ports: DovecotPorts, account: MailAccount): string[] {
  const implicit = options.tls === 'implicit';
  const chroot = account.root ? '' : '\n  chroot =';
  const listener = (name: string, active: boolean, port: number): string =>
    `  inet_listener ${name} {\n    port = ${active ? port : 0}\n${active && implicit ? '    ssl = yes\n' : ''}  }`;
  const login = (protocol: 'imap' | 'pop3', tlsName: string, port: number): string =>
    // service_count 0: one login process serves many connections, Dovecot's fast mode.
    `service ${protocol}-login {${chroot}\n  service_count = 0\n${listener(protocol, !implicit, port)}\n${listener(tlsName, implicit, port)}\n}`;
  return [
    login('imap', 'imaps', ports.imap),
    ...(options.pop3 ? [login('pop3', 'pop3s', ports.pop3)] : []),
    ...(options.lmtp ? [`service lmtp {\n  inet_listener lmtp {\n    port = ${ports.lmtp}\n  }\n}`] : []),
    // No growing delays after failed logins from this address.
    `service anvil {${chroot}\n  unix_listener anvil-auth-penalty {\n    mode = 0\n  }\n}`,
    ...(account.root ? [] : ['service stats {\n  chroot =\n}']),
  ];
}
