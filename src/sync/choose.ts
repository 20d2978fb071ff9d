import { isChosen } from '../mail/folder-choice.js';
import { folderById, foldersOf, removeFolders, saveExcludedRoles, unsettledFolders } from '../store/folders.js';
import type { FolderRow } from '../store/rows.js';
import type { WriteTx } from '../store/store.js';
import { trimWindow } from '../store/window.js';
import type { UpstreamFolder } from '../upstream/port.js';
import type { SyncContext } from './context.js';

export interface Choice {
  readonly folders: readonly UpstreamFolder[];
  /** Whether the account has folders that are not synced, where mail may go unseen. */
  readonly unseen: boolean;
}

/**
 * The folders that are to be synced. Those that the configuration leaves out are forgotten here, and only here, once what
 * is owed to them is done.
 */
export async function chooseFolders(
  tx: WriteTx,
  { account, book, choice }: SyncContext,
  listed: readonly UpstreamFolder[],
  prefix: string,
): Promise<Choice> {
  if (choice === undefined) return { folders: listed, unseen: false };
  const excluded = listed.filter((folder) => !isChosen(folder, prefix, choice));
  await saveExcludedRoles(
    tx,
    account.id,
    excluded.flatMap(({ role }) => role ?? []),
  );
  if (excluded.length === 0) return { folders: listed, unseen: false };
  const unsettled = await unsettledFolders(tx, account.id);
  const gone = new Set(excluded.map(({ path }) => path).filter((path) => !unsettled.has(path)));
  const known = await foldersOf(tx, account.id);
  await removeFolders(
    tx,
    book,
    known.filter(({ path }) => gone.has(path)),
  );
  return {
    folders: listed.filter(({ path }) => !gone.has(path)),
    unseen: excluded.some(({ selectable }) => selectable),
  };
}

/** Takes out what the history window does not show any more; true when there was anything. */
export async function trimFolders(
  { store, book, folderLock, window }: SyncContext,
  folders: readonly Pick<FolderRow, 'id'>[],
): Promise<boolean> {
  const shown = window?.() ?? null;
  if (shown === null) return false;
  let trimmed = false;
  for (const { id } of folders) {
    const once = (): Promise<boolean> =>
      store.write(async (tx) => {
        const folder = await folderById(tx, id);
        return folder !== undefined && (await trimWindow(tx, book, folder, shown));
      });
    while (await folderLock.run(id, once)) trimmed = true;
  }
  return trimmed;
}
