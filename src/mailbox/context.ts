import type { PinnedFiles } from '../cache/pinned-files.js';
import type { AccountBook } from '../store/account-book.js';
import type { Store } from '../store/store.js';
import type { Bodies } from './bodies.js';

/** What the use cases of one user share. */
export interface MailContext {
  readonly user: string;
  readonly store: Store;
  readonly book: AccountBook;
  readonly bodies: Bodies;
  readonly pinned: PinnedFiles;
  readonly dedupe: 'content' | 'messageId' | 'off';
  /** Octets of one message a client may append. */
  readonly maxMessageBytes: number;
}
