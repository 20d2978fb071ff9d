import type { PinnedFiles } from '../cache/pinned-files.js';
import type { AccountBook } from '../store/account-book.js';
import type { Store } from '../store/store.js';
import type { Bodies } from './bodies.js';

/** What the use cases of one user share. */
export interface MailContext {
  readonly user: string;
  /** Which of the user's sessions it is, for what is decided in it; absent where no client is behind it. */
  readonly session?: string;
  readonly store: Store;
  readonly book: AccountBook;
  readonly bodies: Bodies;
  readonly pinned: PinnedFiles;
  readonly dedupe: 'content' | 'messageId' | 'off';
  /** Octets of one message a client may append. */
  readonly maxMessageBytes: number;
}

/** Who decides something in this context, as the list of actions and the ledger name it. */
export function byWhom({ user, session }: MailContext): string {
  return session === undefined ? user : `${user}, ${session}`;
}
