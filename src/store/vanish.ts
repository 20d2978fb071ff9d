import { hasFlag, removeFlags } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import type { AccountBook } from './account-book.js';
import { recordDestroyed } from './actions.js';
import { groupsOfEntries, setGroupFlags } from './groups.js';
import { dropCopies, folderAccounts } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';
import { discardCopies, moveCopyToRole } from './transfer.js';

/**
 * Marks copies that a folder shows no longer. A doomed one that was to be expunged has reached its end; one that is
 * being moved is settled by its action. The others stay visible until `explainVanished` knows why.
 */
export async function recordVanished(
  tx: WriteTx,
  book: AccountBook,
  folderId: number,
  uids: readonly number[],
): Promise<void> {
  const ids = jsonIds(uids);
  const ended = await tx.all<CopyRow>(
    `SELECT * FROM copy WHERE folder_id = ? AND state = 'doomed' AND uid IN (SELECT value FROM json_each(?))
     AND NOT EXISTS (SELECT 1 FROM action WHERE action.copy_id = copy.id AND action.kind IN ('move', 'copy'))`,
    [folderId, ids],
  );
  await recordEnds(tx, book, ended);
  await dropCopies(tx, book, ended);
  await tx.run(
    "UPDATE copy SET state = 'vanished' WHERE folder_id = ? AND state = 'live' AND uid IN (SELECT value FROM json_each(?))",
    [folderId, ids],
  );
}

/** An EXPUNGE whose answer was lost has been done, or another client was first: either way the ledger has it. */
async function recordEnds(tx: WriteTx, book: AccountBook, copies: readonly CopyRow[]): Promise<void> {
  const rows = await tx.all<{ account_id: number; path: string; uid_validity: number; uid: number; reason: string }>(
    `SELECT folder.account_id, folder.path, folder.uid_validity, copy.uid, action.reason FROM copy
     JOIN folder ON folder.id = copy.folder_id JOIN action ON action.copy_id = copy.id AND action.kind = 'expunge'
     WHERE copy.id IN (SELECT value FROM json_each(?))`,
    [jsonIds(copies.map((copy) => copy.id))],
  );
  await recordDestroyed(
    tx,
    rows.map(({ account_id, path, uid_validity, uid, reason }) => ({
      account: book.get(account_id).name,
      folder: path,
      uidValidity: uid_validity,
      uid,
      kind: 'expunge',
      reason,
    })),
  );
}

/** Copies that a complete look at a reset folder did not find again count as vanished; how many there are. */
export async function lostCopies(tx: ReadTx, folderId: number): Promise<number[]> {
  const rows = await tx.all<{ id: number }>(
    "SELECT id FROM copy WHERE folder_id = ? AND uid IS NULL AND state = 'live'",
    [folderId],
  );
  return rows.map((row) => row.id);
}

export async function recordLost(tx: WriteTx, ids: readonly number[]): Promise<void> {
  await tx.run("UPDATE copy SET state = 'vanished' WHERE id IN (SELECT value FROM json_each(?))", [jsonIds(ids)]);
}

/** The copies of an account that vanished and are not explained yet. */
export async function vanishedCopies(tx: ReadTx, accountId: number): Promise<number[]> {
  const rows = await tx.all<{ id: number }>(
    "SELECT copy.id FROM copy JOIN folder ON folder.id = copy.folder_id WHERE folder.account_id = ? AND copy.state = 'vanished'",
    [accountId],
  );
  return rows.map((row) => row.id);
}

interface Vanished extends CopyRow {
  readonly match_key: string;
  readonly pulled: number;
  readonly role: Role | null;
}

/**
 * Decides why these copies of an account vanished; all its folders must have been looked at since they were marked. Moved,
 * when the same mail has arrived in another folder of the account since (or a folder like All Mail still holds it); else
 * really deleted. A move leaves the other accounts' copies alone, except into Trash (a deletion) and out of it (a
 * restoration), which they follow.
 */
export async function explainVanished(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  copyIds: readonly number[],
): Promise<void> {
  const vanished = await tx.all<Vanished>(
    `SELECT copy.*, message.match_key, folder.pulled, folder.role FROM copy
     JOIN folder ON folder.id = copy.folder_id JOIN message ON message.id = copy.message_id
     WHERE copy.id IN (SELECT value FROM json_each(?)) AND copy.state = 'vanished' ORDER BY copy.id`,
    [jsonIds(copyIds)],
  );
  const taken = new Set<number>();
  for (const copy of vanished) {
    const found = await movedTo(tx, accountId, copy, taken);
    if (found) taken.add(found.id);
    await settleVanished(tx, book, accountId, copy, found);
  }
}

async function movedTo(
  tx: ReadTx,
  accountId: number,
  copy: Vanished,
  taken: ReadonlySet<number>,
): Promise<(CopyRow & { role: Role | null }) | undefined> {
  const rows = await tx.all<CopyRow & { role: Role | null }>(
    `SELECT copy.*, folder.role FROM message JOIN copy ON copy.message_id = message.id JOIN folder ON folder.id = copy.folder_id
     WHERE message.match_key = ? AND folder.account_id = ? AND copy.folder_id <> ?
     AND copy.state = 'live' AND copy.uid IS NOT NULL AND (folder.virtual = 1 OR copy.arrived > ?)
     ORDER BY folder.virtual, copy.id`,
    [copy.match_key, accountId, copy.folder_id, copy.pulled],
  );
  return rows.find((row) => !taken.has(row.id));
}

async function settleVanished(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  copy: Vanished,
  found: (CopyRow & { role: Role | null }) | undefined,
): Promise<void> {
  const group = copy.entry_id === null ? undefined : (await groupsOfEntries(tx, [copy.entry_id])).get(copy.entry_id);
  const others = (group?.copies ?? []).filter((each) => each.id !== copy.id && each.state !== 'vanished');
  const name = book.get(accountId).name;
  if (book.pulls(accountId) && others.length > 0) {
    const folders = await folderAccounts(tx, others);
    if (!found || (found.role === 'trash' && copy.role !== 'trash')) {
      await discardCopies(tx, book, others, folders, `reconciliation: deleted at ${name}`);
    } else if (copy.role === 'trash' && found.role !== null) {
      await restoreCopies(tx, book, others, folders, found.role, `reconciliation: restored at ${name}`);
    } else if (isMarkOfMove(copy, found)) {
      const flags = removeFlags(group!.entry!.flags, ['\\Deleted']);
      const reason = `reconciliation: moved at ${name}`;
      await setGroupFlags(tx, book, [{ group: { entry: group!.entry, copies: others }, flags }], reason);
    }
  }
  await dropCopies(tx, book, [copy]);
}

/**
 * A client without MOVE copies, marks \Deleted and expunges. The mark was never meant for the other accounts' copies,
 * where the next EXPUNGE would destroy them.
 */
function isMarkOfMove(gone: CopyRow, found: CopyRow): boolean {
  return hasFlag(gone.base, '\\Deleted') && !hasFlag(found.flags, '\\Deleted');
}

async function restoreCopies(
  tx: WriteTx,
  book: AccountBook,
  copies: readonly CopyRow[],
  folders: ReadonlyMap<number, FolderRow>,
  role: Role,
  reason: string,
): Promise<void> {
  for (const copy of copies) {
    const folder = folders.get(copy.folder_id)!;
    if (folder.role !== 'trash' || !book.pushes(folder.account_id)) continue;
    await moveCopyToRole(tx, book, copy, book.get(folder.account_id), role, reason);
  }
}
