import type { ActionRow } from '../store/actions.js';
import { copiesByIds } from '../store/copies.js';
import { foldersByIds } from '../store/folders.js';
import type { CopyRow, FolderRow } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';

/** An action with the rows it is about; a row that is gone is undefined. */
export interface LoadedAction {
  readonly row: ActionRow;
  readonly copy: CopyRow | undefined;
  readonly folder: FolderRow | undefined;
  readonly target: CopyRow | undefined;
  readonly targetFolder: FolderRow | undefined;
}

export async function loadActions(tx: ReadTx, rows: readonly ActionRow[]): Promise<LoadedAction[]> {
  const copies = await copiesByIds(
    tx,
    rows.flatMap((row) => [row.copy_id ?? [], row.target_id ?? []].flat()),
  );
  const folderIds = [...copies.values()]
    .map((copy) => copy.folder_id)
    .concat(rows.flatMap((row) => row.folder_id ?? []));
  const folders = await foldersByIds(tx, new Set(folderIds));
  return rows.map((row) => {
    const copy = row.copy_id === null ? undefined : copies.get(row.copy_id);
    const target = row.target_id === null ? undefined : copies.get(row.target_id);
    const folderId = copy?.folder_id ?? row.folder_id;
    return {
      row,
      copy,
      folder: folderId === null || folderId === undefined ? undefined : folders.get(folderId),
      target,
      targetFolder: target && folders.get(target.folder_id),
    };
  });
}

/** Actions of one batch become one upstream command. */
const BATCH = 1_000;

/**
 * The next actions to run together: the first that may run, and those behind it of the same kind on the same folders
 * that no earlier waiting action stands in the way of. Order is kept per copy and for folders.
 */
export function nextBatch(actions: readonly LoadedAction[], now: number): LoadedAction[] {
  const blocked = new Set<number>();
  let foldersBlocked = false;
  const batch: LoadedAction[] = [];
  // A set of UIDs holds each once: two copies of one mail take two commands.
  const sources = new Set<number>();
  for (const action of actions) {
    const ids = [action.row.copy_id, action.row.target_id].filter((id) => id !== null);
    const free = !foldersBlocked && ids.every((id) => !blocked.has(id)) && isRunnable(action, now);
    const fits = batch.length === 0 || (batch.length < BATCH && batchKey(action) === batchKey(batch[0]!));
    if (free && fits && !sources.has(action.row.copy_id ?? 0)) {
      batch.push(action);
      if (action.row.copy_id !== null) sources.add(action.row.copy_id);
      if (isFolderAction(action) || action.row.kind === 'append') return batch;
      continue;
    }
    for (const id of ids) blocked.add(id);
    // A folder that is to be made, renamed or deleted first changes what later actions are about.
    if (isFolderAction(action)) foldersBlocked = true;
  }
  return batch;
}

function isFolderAction({ row }: LoadedAction): boolean {
  return row.kind === 'create-folder' || row.kind === 'delete-folder' || row.kind === 'rename-folder';
}

function isRunnable(action: LoadedAction, now: number): boolean {
  const { row, copy, folder, target, targetFolder } = action;
  if (row.next_try > now) return false;
  if (targetFolder && targetFolder.state !== 'live') return false;
  // A copy without a UID is on its way, or looked for after a UIDVALIDITY reset.
  if (!copy || copy.uid !== null) return true;
  if (row.kind === 'expunge') return !isLookedFor(action);
  // Looked for in vain: the executor knows what becomes of the target.
  const lost = copy.state === 'doomed' && folder !== undefined && folder.uid_next !== null;
  return lost || (target?.uid !== null && target?.uid !== undefined);
}

/** Whether the copy lost its UID to a UIDVALIDITY reset and may be found again. */
export function isLookedFor({ copy, folder }: LoadedAction): boolean {
  return copy?.uid === null && folder !== undefined && folder.uid_validity !== null && folder.uid_next === null;
}

function batchKey({ row, copy, target }: LoadedAction): string {
  return `${row.kind} ${copy?.folder_id ?? row.folder_id ?? ''} ${target?.folder_id ?? ''} ${row.attempts > 0 ? 'again' : ''}`;
}
