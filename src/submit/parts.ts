import type { Clock } from '../util/clock.js';
import type { Log } from '../util/log.js';
import type { ContentBudget } from './content.js';
import type { RelayTimeouts } from './limits.js';
import type { SenderBook } from './sender.js';

export interface SubmissionListener {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
}

/** PEM texts. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** What the listeners share. */
export interface SubmissionParts {
  readonly hostname: string;
  readonly messageBytes: number;
  readonly graceMs: number;
  readonly timeouts: RelayTimeouts;
  readonly clock: Clock;
  readonly log: Log;
  readonly budget: ContentBudget;
  readonly metrics: { messages(result: 'delivered' | 'refused' | 'deferred'): void; notFiled(): void };
  readonly authenticate: (user: string, password: string, peer: string) => Promise<boolean>;
  readonly fileSent: (user: string, account: string, message: Buffer) => Promise<void>;
  user(name: string): { readonly name: string; readonly senders: SenderBook } | null;
}
