import type { Secret } from '../util/secret.js';
import type { FileConfig } from './schema.js';

/** How a connection is protected: TLS from the first octet, after STARTTLS (forced), or not at all. */
export type TlsMode = 'implicit' | 'starttls' | 'none';

export interface Credentials {
  readonly username: string;
  readonly password: Secret;
  /** `xoauth2`: the password is an access token. */
  readonly mechanism?: 'auto' | 'xoauth2';
}

/** Where and how to reach an upstream server. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
  /** PEM text of the certificate authorities to trust instead of the system's. */
  readonly ca: string | null;
  /** What the connection goes through; absent or null: straight. TLS is with the upstream all the same. */
  readonly proxy?: ProxySettings | null;
}

/** A proxy that is asked for a tunnel: HTTP CONNECT, or SOCKS5 (RFC 1928) with names resolved there. */
export interface ProxySettings {
  readonly type: 'http' | 'socks5';
  readonly host: string;
  readonly port: number;
  readonly auth: Credentials | null;
}

/** A proxy with the hosts that are reached without it. */
export interface ProxyRule {
  readonly proxy: ProxySettings;
  readonly except: readonly string[];
}

/** A server that mail leaves through; `auth` is null for one that takes none. */
export interface SmtpConfig {
  readonly endpoint: Endpoint;
  readonly auth: Credentials | null;
  readonly when: 'now' | 'reachable' | 'sync';
  readonly connections: number;
}

type FileUser = FileConfig['users'][number];
type FileAccount = FileUser['accounts'][number];

export interface AccountConfig
  extends Readonly<
    Omit<FileAccount, 'host' | 'port' | 'tls' | 'ca' | 'auth' | 'smtp' | 'allowPlaintext' | 'proxy' | 'pollSeconds'>
  > {
  /** Of a local account, which has neither, nothing is to be made of this and of `auth`. */
  readonly endpoint: Endpoint;
  readonly auth: Credentials;
  readonly pollSeconds: number;
  /** Null when this account has no server to send through. */
  readonly smtp: SmtpConfig | null;
  /** Where to look for the servers of an account with protocol `auto`; nothing is to be made of `endpoint` then. */
  readonly search?: Search;
}

export interface Search {
  readonly host: string | null;
  readonly port: number | null;
  readonly proxy: ProxyRule | null;
}

export interface UserConfig extends Readonly<Omit<FileUser, 'accounts' | 'defaultAccount' | 'relay'>> {
  readonly accounts: readonly AccountConfig[];
  /** What mail from these addresses (null: from all) leaves through instead of the account's own server. */
  readonly relay: (SmtpConfig & { readonly addresses: readonly string[] | null }) | null;
  /** The account of mail that no address assigns; null only for a user without accounts. */
  readonly defaultAccount: string | null;
}

export interface ListenerConfig {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
}

/** The validated configuration: paths absolute, secrets read, frozen. */
export interface Config {
  readonly dataDir: string;
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly imap: { readonly listeners: readonly ListenerConfig[] };
  readonly submission: Readonly<Omit<FileConfig['submission'], 'listeners' | 'hostname'>> & {
    readonly listeners: readonly ListenerConfig[];
    readonly hostname: string;
  };
  readonly admin: { readonly host: string; readonly port: number; readonly token: Secret | null };
  readonly log: { readonly level: string };
  readonly limits: Readonly<FileConfig['limits']>;
  /** For what no account's own setting decides. */
  readonly proxy: ProxyRule | null;
  readonly users: readonly UserConfig[];
}
