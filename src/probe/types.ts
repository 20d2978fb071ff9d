import type { Socket } from 'node:net';
import type { Endpoint, TlsMode } from '../config/config.js';
import type { StartTls } from '../upstream/connector.js';

export type Service = 'imap' | 'pop3' | 'smtp';

/** Where a candidate comes from, from the most to the least reliable. */
export type Source = 'named host' | 'known provider' | 'autoconfig' | 'SRV record' | 'MX record' | 'common name';

/** A place where a service may be; nothing of it is believed before the server there has been talked to. */
export interface Candidate {
  /** What its source says is there; the greeting decides. */
  readonly service: Service;
  readonly host: string;
  readonly port: number;
  readonly tls: Exclude<TlsMode, 'none'>;
  readonly source: Source;
  /** The login name that goes with it; null: the address, then its local part. */
  readonly username: string | null;
}

/** What the host's relation to the address lets it have: a password only where nobody on the way could choose it. */
export type Trust = 'trusted' | 'needs confirmation';

export interface Finding extends Candidate {
  readonly trust: Trust;
  /** What answered there; null when nothing usable did, and `failure` says why. */
  readonly spoken: Spoken | null;
  readonly failure: string | null;
  readonly login: Login;
}

/** What a server told after TLS was verified. */
export interface Spoken {
  readonly service: Service;
  /** Upper case, as announced. */
  readonly capabilities: readonly string[];
}

export type Login =
  | { readonly result: 'not tried' }
  | { readonly result: 'accepted'; readonly username: string }
  /** `text` is the server's. */
  | { readonly result: 'refused'; readonly text: string };

export interface SrvRecord {
  readonly name: string;
  readonly port: number;
  readonly priority: number;
  readonly weight: number;
}

/** The questions put to the DNS; a name without an answer yields an empty list, a fault rejects. */
export interface Resolver {
  srv(name: string): Promise<readonly SrvRecord[]>;
  mx(name: string): Promise<readonly string[]>;
}

/** One GET without redirects followed; `body` is bounded by the caller's limits. Rejects when there is no answer. */
export type HttpGet = (url: URL, signal: AbortSignal) => Promise<HttpAnswer>;

export interface HttpAnswer {
  readonly status: number;
  readonly location: string | null;
  readonly body: Buffer;
}

/** Opens a connection as the endpoint wants it, its TLS verified (or not at all). */
export type Dial = (endpoint: Endpoint, startTls: StartTls, signal: AbortSignal) => Promise<Socket>;

/** How the probe reaches the world; tests hand in their own. */
export interface Reach {
  readonly resolver: Resolver;
  readonly get: HttpGet;
  readonly dial: Dial;
}
