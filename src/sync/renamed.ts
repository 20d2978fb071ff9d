import { foldersOf, setUidValidity } from '../store/folders.js';
import { relocateFolders } from '../store/park.js';
import type { FolderRow } from '../store/rows.js';
import type { FolderState, UpstreamFolder } from '../upstream/port.js';
import type { SyncContext } from './context.js';

/**
 * Folders that another client renamed: one is listed no more, and a new one has its UIDVALIDITY and no fewer UIDs. It
 * keeps its mailbox, with the UIDs that clients know. That is a guess until its mail was recognised by content, as after
 * a new UIDVALIDITY: what is not there counts as vanished, and what is other mail as new.
 */
export async function followRenames(context: SyncContext, listed: readonly UpstreamFolder[]): Promise<void> {
  const { store, upstream, account, book, log } = context;
  const known = await store.read((tx) => foldersOf(tx, account.id));
  const listedPaths = new Set(listed.map(({ path }) => path));
  const gone = known.filter((folder) => folder.state === 'live' && !listedPaths.has(folder.path) && hasMail(folder));
  if (gone.length === 0 || (await changesOwed(context))) return;
  const paths = new Set(known.map(({ path }) => path));
  const fresh = listed.filter(({ path, selectable }) => selectable && !paths.has(path)).map(({ path }) => path);
  if (fresh.length === 0) return;
  const states = await upstream.status(fresh);
  const renames = gone.flatMap((folder) => {
    const to = only(fresh.filter((path) => isLike(folder, states.get(path))));
    return to !== null && only(gone.filter((each) => isLike(each, states.get(to)))) ? { folder, to } : [];
  });
  for (const { folder, to } of renames.sort((a, b) => a.to.length - b.to.length)) {
    log.info({ from: folder.path, to }, 'a folder was renamed at the server');
    await store.write(async (tx) => {
      await relocateFolders(tx, book, account.id, folder.path, { path: to });
      for (const row of await foldersOf(tx, account.id)) {
        const moved = row.path === to || row.path.startsWith(to + (row.delimiter ?? '/'));
        if (moved && row.uid_validity !== null) await setUidValidity(tx, row.id, row.uid_validity);
      }
    });
  }
}

function hasMail({ uid_validity, uid_next }: FolderRow): boolean {
  return uid_validity !== null && uid_next !== null && uid_next > 1;
}

function isLike(folder: FolderRow, state: FolderState | undefined): boolean {
  return state !== undefined && state.uidValidity === folder.uid_validity && state.uidNext >= folder.uid_next!;
}

/** Names that we are about to change ourselves tell nothing. */
async function changesOwed({ store, account }: SyncContext): Promise<boolean> {
  const row = await store.read((tx) =>
    tx.get(
      "SELECT 1 FROM action WHERE account_id = ? AND state = 'pending' AND kind IN ('rename-folder', 'delete-folder') LIMIT 1",
      [account.id],
    ),
  );
  return row !== undefined;
}

/** Null when it is not the only one. */
function only<T>(items: readonly T[]): T | null {
  return items.length === 1 ? items[0]! : null;
}
