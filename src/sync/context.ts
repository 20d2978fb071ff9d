import type { FolderChoice } from '../mail/folder-choice.js';
import type { HistoryWindow } from '../mail/window.js';
import type { AccountBook, AccountPolicy } from '../store/account-book.js';
import type { Store } from '../store/store.js';
import type { Upstream } from '../upstream/port.js';
import type { Log } from '../util/log.js';
import type { KeyedMutex } from '../util/mutex.js';
import type { Prefetch } from './prefetch-types.js';

/** What the parts of one account's engine share. */
export interface SyncContext {
  readonly account: AccountPolicy;
  /** Between two looks at all folders when nothing else asks for one. */
  readonly pollSeconds: number;
  readonly book: AccountBook;
  readonly store: Store;
  readonly upstream: Upstream;
  readonly log: Log;
  readonly dedupe: 'content' | 'messageId' | 'off';
  /**
   * One holder per folder (row id): what a pull saw and what an action did to the same folder must not overlap, or an
   * old observation would be taken for a change.
   */
  readonly folderLock: KeyedMutex<number>;
  /** The bytes of a message, wherever they are. */
  readonly loadBytes: (messageId: number) => Promise<Buffer>;
  /**
   * Makes bytes durable in our own files, with a note of where they belong if one is given, and keeps them there until
   * `use`, which commits the reference, has settled.
   */
  readonly keep: <T>(bytes: Buffer, use: (sha256: string) => Promise<T>, note?: string) => Promise<T>;
  /** The file with these bytes (SHA-256, hex) may go: a server has them. */
  readonly released: (sha256: string) => void;
  readonly guard: { readonly share: number; readonly count: number };
  /** The history that is shown now; absent or null: all of it. */
  readonly window?: () => HistoryWindow | null;
  /** What is fetched ahead of being read; absent: nothing. */
  readonly prefetch?: Prefetch;
  /** Which folders are synced; absent: all. */
  readonly choice?: FolderChoice;
}
