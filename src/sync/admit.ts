import type { HistoryWindow } from '../mail/window.js';
import { countUids } from '../store/copies.js';
import type { FolderRow } from '../store/rows.js';
import type { Store } from '../store/store.js';
import type { FolderReader, UpstreamMessage } from '../upstream/port.js';

/** Which unknown mail of a folder is fetched, and what of it is left out after all. */
export interface Admission {
  readonly fetch: readonly number[];
  readonly skip: readonly number[];
  /** Whether a fetched mail is recorded; one that is not is skipped too. */
  readonly keeps: (message: Pick<UpstreamMessage, 'uid' | 'internalDate'>) => boolean;
}

const ALL = (): boolean => true;

/**
 * Keeps out what the window does not show. What came since the last complete look is let in whatever its date, for it may
 * explain why a mail has left another folder; it is taken out again when everything is explained. Nothing is kept out
 * while copies wait to be recognised in this folder (an upload whose answer was lost, a new UIDVALIDITY).
 */
export async function admit(
  store: Store,
  folder: FolderRow,
  reader: FolderReader,
  arrivals: readonly number[],
  window: HistoryWindow | null,
): Promise<Admission> {
  if (window === null || arrivals.length === 0 || (await hasWaiting(store, folder.id))) {
    return { fetch: arrivals, skip: [], keeps: ALL };
  }
  const isNew = (uid: number): boolean => folder.uid_next !== null && uid >= folder.uid_next;
  const fresh = arrivals.filter(isNew);
  let old = arrivals.filter((uid) => !isNew(uid));
  const { since, max } = window;
  if (since !== null && old.length > 0) {
    const dated = new Set(await reader.uids(since));
    old = old.filter((uid) => dated.has(uid));
  }
  if (max !== null && old.length > 0) {
    const known = await store.read((tx) => countUids(tx, folder.id));
    old = [...old].sort((a, b) => b - a).slice(0, Math.max(0, max - known - fresh.length));
  }
  const fetch = new Set([...fresh, ...old]);
  return {
    fetch: [...fetch],
    skip: arrivals.filter((uid) => !fetch.has(uid)),
    keeps: ({ uid, internalDate }) => since === null || internalDate === null || internalDate >= since || isNew(uid),
  };
}

async function hasWaiting(store: Store, folderId: number): Promise<boolean> {
  const row = await store.read((tx) =>
    tx.get('SELECT 1 FROM copy WHERE folder_id = ? AND uid IS NULL LIMIT 1', [folderId]),
  );
  return row !== undefined;
}
