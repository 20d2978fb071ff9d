import type { Secret } from '../util/secret.js';

/** An upstream SMTP server; fits the configuration's endpoint. */
export interface RelayEndpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM text of the authorities to trust instead of the system's. */
  readonly ca: string | null;
}

export interface RelayTarget {
  readonly endpoint: RelayEndpoint;
  readonly auth: { readonly username: string; readonly password: Secret } | null;
}

/** What submission needs to know of an account; fits the configuration's. */
export interface SendingAccount {
  readonly id: string;
  readonly addresses: readonly string[];
  readonly sent: 'auto' | 'always' | 'never';
  /** Null when the account sends no mail. */
  readonly smtp: RelayTarget | null;
}

export interface SendingUser {
  readonly name: string;
  readonly accounts: readonly SendingAccount[];
}
