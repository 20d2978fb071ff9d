import { foldersOf } from '../store/folders.js';
import type { FolderRow } from '../store/rows.js';
import type { UpstreamFolder } from '../upstream/port.js';
import type { SyncContext } from './context.js';

/** Whether the folders that a server listed are all as they are known, so that there is nothing to write down. */
export async function isListingKnown(
  { store, account, window, choice }: SyncContext,
  listed: readonly UpstreamFolder[],
  prefix: string,
): Promise<boolean> {
  if ((window?.() ?? null) !== null || choice !== undefined) return false;
  const { known, saved, busy } = await store.snapshot(async (tx) => ({
    known: await foldersOf(tx, account.id),
    saved: await tx.get<{ value: string }>('SELECT value FROM meta WHERE key = ?', [`prefix.${account.id}`]),
    // What changes folders themselves, and what an earlier configuration left out of them.
    busy: await tx.get(
      `SELECT 1 FROM action WHERE account_id = ?1 AND kind IN ('create-folder', 'rename-folder', 'delete-folder')
       UNION ALL SELECT 1 FROM folder_window JOIN folder ON folder.id = folder_window.folder_id WHERE account_id = ?1
       UNION ALL SELECT 1 FROM meta WHERE key = 'excluded.' || ?1 AND value <> '[]' LIMIT 1`,
      [account.id],
    ),
  }));
  if (busy !== undefined || saved?.value !== prefix || known.length !== listed.length) return false;
  const byPath = new Map(known.map((folder) => [folder.path, folder]));
  return listed.every((folder) => isSame(byPath.get(folder.path), folder));
}

function isSame(row: FolderRow | undefined, listed: UpstreamFolder): boolean {
  return (
    row !== undefined &&
    row.state === 'live' &&
    row.delimiter === listed.delimiter &&
    (row.virtual === 1) === listed.virtual &&
    (row.selectable === 1) === listed.selectable
  );
}
