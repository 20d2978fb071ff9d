import type { Clock } from '../../util/clock.js';
import type { Log } from '../../util/log.js';
import type { RelayTimeouts } from '../limits.js';
import type { SenderBook } from '../sender.js';
import type { QueueHost } from './host.js';
import type { QueuedMail } from './mail.js';
import type { QueueTimes } from './progress.js';

export interface QueueOptions {
  /** The user's directory. */
  readonly dir: string;
  readonly book: () => SenderBook;
  readonly host: QueueHost;
  /** This host's name. */
  readonly hostname: string;
  readonly times: QueueTimes;
  readonly timeouts: RelayTimeouts;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: QueueMetrics;
}

export interface QueueMetrics {
  ended(result: 'delivered' | 'refused' | 'failed' | 'dropped'): void;
  unknown(): void;
  notFiled(): void;
}

/** A mail as the listener hands it over; the queue gives it its number. */
export type NewMail = Pick<
  QueuedMail,
  'account' | 'viaRelay' | 'sender' | 'priority' | 'size' | 'recipients' | 'envelope'
> & {
  /** Milliseconds since the Unix epoch before which it must not leave; 0: at once. */
  readonly releaseAt: number;
};
