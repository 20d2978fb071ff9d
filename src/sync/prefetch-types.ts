import type { OfflineBodies } from '../cache/offline-bodies.js';
import type { StoredBody } from '../cache/stored-body.js';
import type { BodyPlace } from '../store/messages.js';
import type { OfflineWish } from '../store/offline.js';
import type { BodySink } from '../upstream/port.js';
import type { Clock } from '../util/clock.js';
import type { Quiet } from '../util/quiet.js';

/** What of an account's mail is fetched ahead, and how gently. */
export interface Prefetch {
  /** As configured, for the status. */
  readonly policy: string;
  /** What is wished for at this moment. */
  readonly wish: () => OfflineWish;
  readonly bodies: OfflineBodies;
  /** The bytes of one copy, in the background, once they are known to be those of the mail that was listed. */
  readonly fetch: (place: BodyPlace, sink: BodySink) => Promise<void>;
  /** What a client had fetched lately need not be fetched again. */
  readonly cached: (messageId: number) => Promise<StoredBody | null>;
  readonly bytesPerSecond: number;
  /** Goes on only while nobody waits for a body. */
  readonly quiet: Quiet;
  readonly clock?: Clock;
}

export interface PrefetchStatus {
  readonly policy: string;
  /** Mails wished for, as of the last look. */
  readonly wanted: number;
  readonly kept: number;
  /** Octets that the user's accounts take together. */
  readonly octets: number;
  /** The room for them is used up. */
  readonly full: boolean;
}
