import type { ProxySettings } from '../config/config.js';
import type { Secret } from '../util/secret.js';

/** An upstream SMTP server; fits the configuration's endpoint. */
export interface RelayEndpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM text of the authorities to trust instead of the system's. */
  readonly ca: string | null;
  readonly proxy?: ProxySettings | null;
}

/** When mail leaves: at once, when the account is known to be reachable, or when it was synced. */
export type SendWhen = 'now' | 'reachable' | 'sync';

export interface RelayTarget {
  readonly endpoint: RelayEndpoint;
  readonly auth: { readonly username: string; readonly password: Secret } | null;
  readonly when?: SendWhen;
  /** Sessions with that server at any time. */
  readonly connections?: number;
}

/** What submission needs to know of an account; fits the configuration's. */
export interface SendingAccount {
  readonly id: string;
  /** Those that may send; `*@domain` stands for all of a domain. */
  readonly addresses: readonly string[];
  readonly sent: 'auto' | 'always' | 'never';
  /** Null when the account has no server to send through. */
  readonly smtp: RelayTarget | null;
}

export interface SendingUser {
  readonly name: string;
  readonly accounts: readonly SendingAccount[];
  /** The server that mail from these addresses leaves through instead of the accounts' own; null addresses: all. */
  readonly relay?: (RelayTarget & { readonly addresses: readonly string[] | null }) | null;
}
