import type { Role } from '../mail/ids.js';
import { type CopyAction, type Observed, reconcile } from '../mail/reconcile.js';
import { groupBy } from '../util/group.js';
import type { AccountBook, AccountPolicy } from './account-book.js';
import { owe, recordDestroyed } from './actions.js';
import { copiesByIds, insertPendingCopy } from './copies.js';
import type { SqlValue } from './driver.js';
import { copyFacts } from './facts.js';
import { type Group, groupFlags, groupsOfEntries, setGroupFlags } from './groups.js';
import { makePending } from './put-back.js';
import { doomCopies, dropCopies, folderAccounts, settleEntries } from './remove.js';
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

/** Copies that a complete look at a reset folder did not find again. */
export async function lostCopies(tx: ReadTx, folderId: number): Promise<number[]> {
  const rows = await tx.all<{ id: number }>(
    "SELECT id FROM copy WHERE folder_id = ? AND uid IS NULL AND state = 'live'",
    [folderId],
  );
  return rows.map((row) => row.id);
}

/**
 * They count as vanished, except where the folder has new mail of the same identity: that is theirs with other bytes, or
 * one of several that nothing but the bytes tells apart. It is shown under a new UID, and nobody deleted anything.
 */
export async function recordLost(
  tx: WriteTx,
  book: AccountBook,
  folderId: number,
  ids: readonly number[],
): Promise<void> {
  await tx.run("UPDATE copy SET state = 'vanished' WHERE id IN (SELECT value FROM json_each(?))", [jsonIds(ids)]);
  const kinds = async (where: string, params: SqlValue[]): Promise<Map<string, number[]>> => {
    const rows = await tx.all<{ id: number; match_key: string }>(
      `SELECT copy.id, message.match_key FROM copy JOIN message ON message.id = copy.message_id WHERE ${where} ORDER BY copy.id`,
      params,
    );
    return new Map([...groupBy(rows, (row) => row.match_key)].map(([key, own]) => [key, own.map((row) => row.id)]));
  };
  const lost = await kinds('copy.id IN (SELECT value FROM json_each(?))', [jsonIds(ids)]);
  const fresh = await kinds("copy.folder_id = ? AND copy.mirror_uid IS NULL AND copy.state = 'live'", [folderId]);
  const changed = [...lost].flatMap(([key, own]) => own.slice(0, fresh.get(key)?.length ?? 0));
  await dropCopies(tx, book, [...(await copiesByIds(tx, changed)).values()]);
}

/**
 * How many of a folder's copies that are not there any more (by UID, or by row where UIDs are gone too) have come to
 * another folder of the account since the last complete look.
 */
export async function movedCount(
  tx: ReadTx,
  folder: FolderRow,
  uids: readonly number[],
  lost: readonly number[],
): Promise<number> {
  const row = await tx.get<{ n: number | null }>(
    `SELECT SUM(MIN(gone.n, (SELECT COUNT(*) FROM message JOIN copy ON copy.message_id = message.id
         JOIN folder ON folder.id = copy.folder_id
         WHERE message.match_key = gone.match_key AND folder.account_id = ?1 AND copy.folder_id <> ?2
         AND copy.state = 'live' AND copy.uid IS NOT NULL AND (folder.virtual = 1 OR copy.arrived > ?3)))) AS n
     FROM (SELECT message.match_key, COUNT(*) AS n FROM copy JOIN message ON message.id = copy.message_id
       WHERE copy.folder_id = ?2 AND copy.state <> 'doomed'
       AND (copy.uid IN (SELECT value FROM json_each(?4)) OR copy.id IN (SELECT value FROM json_each(?5)))
       GROUP BY message.match_key) AS gone`,
    [folder.account_id, folder.id, folder.pulled, jsonIds(uids), jsonIds(lost)],
  );
  return row?.n ?? 0;
}

/** The copies of an account that vanished and are not explained yet. */
export async function vanishedCopies(tx: ReadTx, accountId: number): Promise<number[]> {
  const rows = await tx.all<{ id: number }>(
    "SELECT copy.id FROM copy JOIN folder ON folder.id = copy.folder_id WHERE folder.account_id = ? AND copy.state = 'vanished' ORDER BY copy.id",
    [accountId],
  );
  return rows.map((row) => row.id);
}

interface Vanished extends CopyRow {
  readonly match_key: string;
  readonly pulled: number;
  readonly role: Role | null;
}

/** Where the mail of a vanished copy is now. */
interface Found extends CopyRow {
  readonly role: Role | null;
  readonly virtual: 0 | 1;
}

/**
 * Decides why these copies of an account vanished; all its folders must have been looked at since they were marked. Moved,
 * when the same mail has arrived in another folder of the account since (or a folder like All Mail still holds it); else
 * really deleted. A move leaves the other accounts' copies alone, except into Trash (a deletion) and out of it (a
 * restoration), which they follow. `unseen` says that the account has folders that are not synced, where a mail may have
 * gone: then nothing counts as deleted for the other accounts. `taken`: what explained others before and explains no
 * more, when they come a page at a time.
 */
export async function explainVanished(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  copyIds: readonly number[],
  unseen = false,
  taken = new Set<number>(),
): Promise<void> {
  const vanished = await tx.all<Vanished>(
    `SELECT copy.*, message.match_key, folder.pulled, folder.role FROM copy
     JOIN folder ON folder.id = copy.folder_id JOIN message ON message.id = copy.message_id
     WHERE copy.id IN (SELECT value FROM json_each(?)) AND copy.state = 'vanished' ORDER BY copy.id`,
    [jsonIds(copyIds)],
  );
  for (const copy of vanished) {
    const found = await movedTo(tx, accountId, copy, taken);
    if (found) taken.add(found.id);
    else if (unseen && book.get(accountId).authority !== 'mergebox') {
      await dropCopies(tx, book, [copy]);
      continue;
    }
    await settleVanished(tx, book, accountId, copy, found);
  }
}

/** Mail whose bytes are here does not go with the server's: a POP3 server that forgets is no reason to. */
function goesToOwnTrash({ local, onUpstreamDelete }: AccountPolicy, { role }: Vanished): boolean {
  return local === true && onUpstreamDelete === 'trash' && role !== 'trash' && role !== 'junk';
}

async function movedTo(
  tx: ReadTx,
  accountId: number,
  copy: Vanished,
  taken: ReadonlySet<number>,
): Promise<Found | undefined> {
  const rows = await tx.all<Found>(
    `SELECT copy.*, folder.role, folder.virtual FROM message JOIN copy ON copy.message_id = message.id JOIN folder ON folder.id = copy.folder_id
     WHERE message.match_key = ? AND folder.account_id = ? AND copy.folder_id <> ?
     AND copy.state = 'live' AND copy.uid IS NOT NULL AND (folder.virtual = 1 OR copy.arrived > ?)
     ORDER BY folder.virtual, copy.id`,
    [copy.match_key, accountId, copy.folder_id, copy.pulled],
  );
  return rows.find((row) => !taken.has(row.id));
}

/** The reconciliation decides; what it decides is owed in the same transaction. */
async function settleVanished(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  copy: Vanished,
  found: Found | undefined,
): Promise<void> {
  const known = copy.entry_id === null ? undefined : (await groupsOfEntries(tx, [copy.entry_id])).get(copy.entry_id);
  const group: Group = known ?? { entry: null, copies: [copy] };
  const folders = await folderAccounts(tx, group.copies);
  const gone: Observed = { is: 'gone', to: found ?? null };
  const before = groupFlags(group);
  const { entry: flags, copies: outcomes } = reconcile(
    before,
    group.copies.map((each) => copyFacts(book, each, folders.get(each.folder_id)!, observedOf(each, copy.id, gone))),
  );
  const reason = `reconciliation: ${whatHappened(copy, found)} at ${book.get(accountId).name}`;
  if (flags !== null && flags !== before) {
    const copies = group.copies.filter((_, index) => outcomes[index]!.action.do !== 'forget');
    await setGroupFlags(tx, book, [{ group: { ...group, copies }, flags }], reason);
  }
  const those = (act: CopyAction['do']): CopyRow[] => group.copies.filter((_, n) => outcomes[n]!.action.do === act);
  await discardCopies(tx, book, those('discard'), folders, reason);
  for (const [index, { action }] of outcomes.entries()) {
    const each = group.copies[index]!;
    if (action.do === 'restore') {
      const account = book.get(folders.get(each.folder_id)!.account_id);
      await moveCopyToRole(tx, book, each, account, action.role, reason);
    } else if (action.do === 'putBack') await putBack(tx, book, each, group, found, reason);
  }
  const forgotten = those('forget');
  const account = book.get(accountId);
  if (!found && goesToOwnTrash(account, copy) && forgotten.some((each) => each.id === copy.id)) {
    await moveCopyToRole(tx, book, copy, account, 'trash', reason);
    forgotten.splice(
      forgotten.findIndex((each) => each.id === copy.id),
      1,
    );
    if (copy.entry_id !== null) await settleEntries(tx, book, [copy.entry_id]);
  }
  // Last: entries that have lost all their copies go with it.
  await dropCopies(tx, book, forgotten);
}

function observedOf(each: CopyRow, goneId: number, gone: Observed): Observed {
  if (each.id === goneId) return gone;
  return each.state === 'vanished' ? { is: 'missing' } : { is: 'unknown' };
}

function whatHappened(copy: Vanished, found: Found | undefined): string {
  if (!found || (found.role === 'trash' && copy.role !== 'trash')) return 'deleted';
  return copy.role === 'trash' && found.role !== null ? 'restored' : 'moved';
}

/**
 * A mail that left its folder at an account whose content Mergebox decides: it returns under the UIDs it has with
 * clients, by a MOVE from where the server has it now, else by an upload of the bytes. Without bytes anywhere it is gone.
 */
async function putBack(
  tx: WriteTx,
  book: AccountBook,
  copy: CopyRow,
  group: Group,
  found: Found | undefined,
  reason: string,
): Promise<void> {
  const accountId = (await folderAccounts(tx, [copy])).get(copy.folder_id)!.account_id;
  const own = await tx.get('SELECT 1 FROM message WHERE id = ? AND pinned IS NOT NULL', [copy.message_id]);
  const twin = group.copies.find((each) => each.id !== copy.id && each.state === 'live' && each.uid !== null);
  if (!found && !own && !twin) return dropCopies(tx, book, [copy]);
  if (!found && !own) {
    // The mirror showed other bytes than it will show: the mail gets a new UID there.
    const folder = (await folderAccounts(tx, [copy])).get(copy.folder_id)!;
    const made = await insertPendingCopy(tx, folder, {
      messageId: twin!.message_id,
      entryId: copy.entry_id,
      flags: copy.flags,
      size: twin!.size,
      internalDate: copy.internal_date,
    });
    await owe(tx, [{ accountId, kind: 'append', targetId: made.id }], reason);
    return dropCopies(tx, book, [copy]);
  }
  await makePending(tx, [copy.id]);
  if (!found) {
    await owe(tx, [{ accountId, kind: 'append', targetId: copy.id }], reason);
  } else if (found.virtual === 1) {
    await owe(tx, [{ accountId, kind: 'copy', copyId: found.id, targetId: copy.id }], reason);
  } else {
    await doomCopies(tx, [found]);
    await settleEntries(tx, book, found.entry_id === null ? [] : [found.entry_id]);
    await owe(tx, [{ accountId, kind: 'move', copyId: found.id, targetId: copy.id }], reason);
  }
}
