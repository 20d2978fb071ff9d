import { flagDelta, flagList, hasFlag } from '../mail/flags.js';
import { type HistoryWindow, isWider, packNumbers, unpackNumbers } from '../mail/window.js';
import type { AccountBook } from './account-book.js';
import { dropCopies } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

interface WindowRow {
  readonly uid_validity: number;
  readonly since: number | null;
  readonly max: number | null;
  readonly skipped: string;
}

/** How many copies one unit of work takes out of a window. */
const TRIM_BATCH = 1_000;

const NONE: ReadonlySet<number> = new Set();

/**
 * UIDs at the server that its window keeps out of this folder: not known, and no arrivals either. Empty where there is
 * no window, and where it has become wider, so that all is looked at again.
 */
export async function skippedUids(
  tx: ReadTx,
  folder: Pick<FolderRow, 'id' | 'uid_validity'>,
  window: HistoryWindow | null,
): Promise<ReadonlySet<number>> {
  const row = await windowRow(tx, folder.id);
  if (!row || row.uid_validity !== folder.uid_validity || isWider(window, row)) return NONE;
  return unpackNumbers(row.skipped);
}

/** Records what a complete look left out. */
export async function saveSkipped(
  tx: WriteTx,
  folderId: number,
  uidValidity: number,
  window: HistoryWindow | null,
  skipped: Iterable<number>,
): Promise<void> {
  if (window === null) return tx.run('DELETE FROM folder_window WHERE folder_id = ?', [folderId]).then(() => undefined);
  const packed = packNumbers([...skipped].sort((a, b) => a - b));
  await tx.run(
    `INSERT INTO folder_window (folder_id, uid_validity, since, max, skipped) VALUES (?,?,?,?,?)
     ON CONFLICT (folder_id) DO UPDATE SET uid_validity = excluded.uid_validity, since = excluded.since,
       max = excluded.max, skipped = excluded.skipped`,
    [folderId, uidValidity, window.since, window.max, packed],
  );
}

/** Lets the next round look at the folders whose window has become wider, however little their servers have changed. */
export async function reopenWindows(tx: WriteTx, accountId: number, window: HistoryWindow | null): Promise<void> {
  const rows = await tx.all<WindowRow & { folder_id: number }>(
    `SELECT folder_window.* FROM folder_window JOIN folder ON folder.id = folder_window.folder_id
     WHERE folder.account_id = ?`,
    [accountId],
  );
  const wider = rows.filter((row) => isWider(window, row)).map((row) => row.folder_id);
  if (wider.length === 0) return;
  await tx.run('UPDATE folder SET exists_count = -1 WHERE id IN (SELECT value FROM json_each(?))', [jsonIds(wider)]);
}

/**
 * Takes up to a thousand copies that the window does not show any more out of the folder; true when there were any. This
 * is no deletion: nothing is owed to any server, and a mail that other accounts show stays. A copy stays too while
 * something is owed to its server, while its bytes or some of its flags are nowhere else, and while a disappearance in
 * its account is not explained, for which it may be the explanation. The folder must be locked against pulls.
 */
export async function trimWindow(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  window: HistoryWindow,
): Promise<boolean> {
  if (folder.uid_validity === null || folder.uid_next === null) return false;
  const unexplained = await tx.get(
    `SELECT 1 FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE folder.account_id = ? AND copy.state = 'vanished' LIMIT 1`,
    [folder.account_id],
  );
  if (unexplained) return false;
  const outside = (await copiesOutside(tx, folder, window)).filter((copy) => isHeldUpstream(copy, folder));
  if (outside.length === 0) return false;
  const skipped = new Set(await skippedUids(tx, folder, window));
  for (const { uid } of outside) skipped.add(uid!);
  await saveSkipped(tx, folder.id, folder.uid_validity, window, skipped);
  await dropCopies(tx, book, outside);
  await tx.run('DELETE FROM put_here WHERE copy_id IN (SELECT value FROM json_each(?))', [
    jsonIds(outside.map((copy) => copy.id)),
  ]);
  return true;
}

async function copiesOutside(tx: ReadTx, folder: FolderRow, { since, max }: HistoryWindow): Promise<CopyRow[]> {
  const floor =
    max === null
      ? undefined
      : await tx.get<{ uid: number }>(
          `SELECT uid FROM copy WHERE folder_id = ? AND uid IS NOT NULL AND state = 'live'
           ORDER BY uid DESC LIMIT 1 OFFSET ?`,
          [folder.id, max - 1],
        );
  return tx.all<CopyRow>(
    `SELECT copy.* FROM copy JOIN message ON message.id = copy.message_id
     LEFT JOIN put_here ON put_here.copy_id = copy.id
     WHERE copy.folder_id = ? AND copy.state = 'live' AND copy.uid IS NOT NULL AND message.pinned IS NULL
     AND (COALESCE(put_here.at, copy.internal_date) < ? OR copy.uid < ?)
     AND NOT EXISTS (SELECT 1 FROM action WHERE action.copy_id = copy.id)
     AND NOT EXISTS (SELECT 1 FROM action WHERE action.target_id = copy.id)
     ORDER BY copy.uid LIMIT ?`,
    [folder.id, since ?? 0, floor?.uid ?? 0, TRIM_BATCH],
  );
}

/** Whether its server has all its flags, so that they are there again when the window shows it once more. */
function isHeldUpstream({ flags, base, refused }: CopyRow, { flags_offered: offered }: FolderRow): boolean {
  const { add, remove } = flagDelta(base, flags);
  if (refused !== '' || add.length + remove.length > 0) return false;
  return (
    offered === null ||
    flagList(flags).every((flag) => flag.startsWith('$account_') || hasFlag(offered, flag) || hasFlag(offered, '\\*'))
  );
}

async function windowRow(tx: ReadTx, folderId: number): Promise<WindowRow | undefined> {
  return tx.get<WindowRow>('SELECT uid_validity, since, max, skipped FROM folder_window WHERE folder_id = ?', [
    folderId,
  ]);
}
