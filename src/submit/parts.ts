import type { Clock } from '../util/clock.js';
import type { Log } from '../util/log.js';
import type { ContentBudget } from './content.js';
import type { OutgoingQueue } from './queue/queue.js';
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

/** A user as submission sees one. */
export interface Submitter {
  readonly senders: SenderBook;
  readonly queue: OutgoingQueue;
}

/** What the listeners share. */
export interface SubmissionParts {
  readonly hostname: string;
  readonly messageBytes: number;
  readonly graceMs: number;
  /** How long a client waits for the first try of its mail. */
  readonly waitMs: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly budget: ContentBudget;
  readonly metrics: { messages(result: 'delivered' | 'queued' | 'refused' | 'deferred'): void };
  readonly authenticate: (user: string, password: string, peer: string) => Promise<boolean>;
  /** Null for a user that is not configured. */
  submitter(user: string): Submitter | null;
}
