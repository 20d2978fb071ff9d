import { removeFlags } from '../mail/flags.js';
import type { AccountBook } from './account-book.js';
import { type NewAction, owe } from './actions.js';
import { type Group, groupFlags, groupsOfEntries, refreshAccounts, setGroupFlags } from './groups.js';
import { allocateUids, mirrorsOf, recordExpunged } from './mailboxes.js';
import { sweepMessages } from './messages.js';
import { type CopyRow, type EntryRow, type FolderRow, jsonIds } from './rows.js';
import type { WriteTx } from './store.js';

/** How long after a COPY a removal of its source counts as the second half of a move. */
export const COPIED_SECONDS = 60;

/** Takes copies out of their mirrors: clients see them expunged. */
export async function hideInMirrors(tx: WriteTx, copies: readonly CopyRow[]): Promise<void> {
  const mirrors = await mirrorsOf(tx, new Set(copies.map((copy) => copy.folder_id)));
  for (const [folderId, mirror] of mirrors) {
    const uids = copies
      .filter((copy) => copy.folder_id === folderId && copy.state !== 'doomed')
      .flatMap((copy) => copy.mirror_uid ?? []);
    await recordExpunged(tx, mirror.id, uids);
  }
}

/** Takes entries out of their merged mailbox; their copies must have been dealt with. */
export async function expungeEntries(tx: WriteTx, entries: readonly EntryRow[]): Promise<void> {
  const byMailbox = new Map<number, number[]>();
  for (const entry of entries) {
    const list = byMailbox.get(entry.mailbox_id);
    if (list) list.push(entry.uid);
    else byMailbox.set(entry.mailbox_id, [entry.uid]);
  }
  for (const [mailboxId, uids] of byMailbox) await recordExpunged(tx, mailboxId, uids);
  await tx.run('DELETE FROM entry WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(entries.map((each) => each.id)),
  ]);
}

/** Hides copies whose removal upstream is owed (or held back by authority); rows stay until it is acknowledged. */
export async function doomCopies(tx: WriteTx, copies: readonly CopyRow[]): Promise<void> {
  await hideInMirrors(tx, copies);
  const ids = jsonIds(copies.map((copy) => copy.id));
  await tx.run(
    "UPDATE copy SET state = 'doomed', entry_id = NULL, mod_seq = ? WHERE id IN (SELECT value FROM json_each(?))",
    [tx.modSeq, ids],
  );
  // A removal needs no flags; a MOVE's target is owed them when it has arrived.
  await tx.run("DELETE FROM action WHERE kind = 'flags' AND copy_id IN (SELECT value FROM json_each(?))", [ids]);
}

/** Forgets copies that no server has any more; entries that lose their last one go with them. */
export async function dropCopies(tx: WriteTx, book: AccountBook, copies: readonly CopyRow[]): Promise<void> {
  if (copies.length === 0) return;
  await hideInMirrors(tx, copies);
  const ids = jsonIds(copies.map((copy) => copy.id));
  await tx.run('DELETE FROM copy WHERE id IN (SELECT value FROM json_each(?))', [ids]);
  // A COPY or MOVE whose source is gone is settled by its executor, which knows what became of the target.
  await tx.run(
    "DELETE FROM action WHERE copy_id IN (SELECT value FROM json_each(?)) AND kind NOT IN ('copy', 'move')",
    [ids],
  );
  // What was refused for them is of no use any more.
  await tx.run(
    `DELETE FROM action WHERE state = 'parked'
     AND (copy_id IN (SELECT value FROM json_each(?)) OR target_id IN (SELECT value FROM json_each(?)))`,
    [ids, ids],
  );
  await settleContents(tx, book, copies);
}

/** After these copies were taken from their entries and contents: what is left of both. */
export async function settleContents(tx: WriteTx, book: AccountBook, copies: readonly CopyRow[]): Promise<void> {
  const messages = new Set(copies.map((copy) => copy.message_id));
  // Entries elsewhere may show these very bytes without a copy of their own that has them.
  const showing = await tx.all<{ id: number }>(
    'SELECT id FROM entry WHERE message_id IN (SELECT value FROM json_each(?))',
    [jsonIds(messages)],
  );
  await settleEntries(tx, book, [...copies.flatMap((copy) => copy.entry_id ?? []), ...showing.map((row) => row.id)]);
  await sweepMessages(tx, messages);
}

/** After copies left: entries without copies are expunged, the others keep true bytes and account keywords. */
export async function settleEntries(tx: WriteTx, book: AccountBook, entryIds: readonly number[]): Promise<void> {
  const groups = [...(await groupsOfEntries(tx, entryIds)).values()];
  await expungeEntries(
    tx,
    groups.filter((group) => group.copies.length === 0).map((group) => group.entry!),
  );
  const kept = groups.filter((group) => group.copies.length > 0);
  for (const group of kept) await keepContentTrue(tx, group);
  await refreshAccounts(
    tx,
    book,
    kept.map((group) => group.entry!.id),
  );
}

/**
 * The bytes under a UID never change: when the copy an entry showed is gone and no server or pinned file has those
 * bytes, the entry gets a new UID with the content of a copy that is left.
 */
async function keepContentTrue(tx: WriteTx, group: Group): Promise<void> {
  const entry = group.entry!;
  if (group.copies.some((copy) => copy.message_id === entry.message_id)) return;
  const elsewhere = await tx.get(
    `SELECT 1 FROM message WHERE id = ? AND (pinned IS NOT NULL
     OR EXISTS (SELECT 1 FROM copy WHERE copy.message_id = message.id AND copy.uid IS NOT NULL AND copy.state = 'live'))`,
    [entry.message_id],
  );
  if (elsewhere) return;
  const heir = group.copies[0]!;
  const uid = await allocateUids(tx, entry.mailbox_id, 1);
  await recordExpunged(tx, entry.mailbox_id, [entry.uid]);
  await tx.run('UPDATE entry SET uid = ?, message_id = ?, size = ?, internal_date = ?, mod_seq = ? WHERE id = ?', [
    uid,
    heir.message_id,
    heir.size,
    heir.internal_date,
    tx.modSeq,
    entry.id,
  ]);
  await sweepMessages(tx, [entry.message_id]);
}

/**
 * A client's EXPUNGE of whole groups: every copy's removal is owed. A client without MOVE copies first; it cannot know yet
 * that its COPY was refused, so that mail stays, without its mark.
 */
export async function expungeGroups(
  tx: WriteTx,
  book: AccountBook,
  marked: readonly Group[],
  reason: string,
): Promise<void> {
  const inVain = await copiedInVain(
    tx,
    marked.flatMap((group) => group.copies),
  );
  const isSpared = (group: Group): boolean => group.copies.some((copy) => inVain.has(copy.id));
  const spared = marked.filter(isSpared);
  await setGroupFlags(
    tx,
    book,
    spared.map((group) => ({ group, flags: removeFlags(groupFlags(group), ['\\Deleted']) })),
    reason,
  );
  const groups = spared.length === 0 ? marked : marked.filter((group) => !isSpared(group));
  const copies = groups.flatMap((group) => group.copies);
  const folders = await folderAccounts(tx, copies);
  await doomCopies(tx, copies);
  await expungeEntries(
    tx,
    groups.flatMap((group) => group.entry ?? []),
  );
  await oweExpunges(tx, book, copies, folders, reason);
}

/** Those whose COPY was answered with OK a moment ago, and refused by its server since. */
async function copiedInVain(tx: WriteTx, copies: readonly CopyRow[]): Promise<ReadonlySet<number>> {
  const rows = await tx.all<{ copy_id: number }>(
    `SELECT copy_id FROM action WHERE state = 'parked' AND kind IN ('copy', 'append') AND created > ?
     AND copy_id IN (SELECT value FROM json_each(?))`,
    [Math.floor(Date.now() / 1000) - COPIED_SECONDS, jsonIds(copies.map((copy) => copy.id))],
  );
  return new Set(rows.map((row) => row.copy_id));
}

export async function oweExpunges(
  tx: WriteTx,
  book: AccountBook,
  copies: readonly CopyRow[],
  folders: ReadonlyMap<number, FolderRow>,
  reason: string,
  afterId?: number,
): Promise<void> {
  const actions: NewAction[] = copies
    .map((copy) => ({ copy, accountId: folders.get(copy.folder_id)!.account_id }))
    .filter(({ accountId }) => book.pushes(accountId))
    .map(({ copy, accountId }) => ({
      accountId,
      kind: 'expunge',
      copyId: copy.id,
      ...(afterId === undefined ? {} : { afterId }),
    }));
  await owe(tx, actions, reason);
}

/** The folders of copies, by folder id. */
export async function folderAccounts(tx: WriteTx, copies: readonly CopyRow[]): Promise<Map<number, FolderRow>> {
  const rows = await tx.all<FolderRow>('SELECT * FROM folder WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(new Set(copies.map((copy) => copy.folder_id))),
  ]);
  return new Map(rows.map((row) => [row.id, row]));
}
