import { type FlagText, flagDelta } from '../mail/flags.js';
import { reconcileFlags, withUnholdable } from '../mail/reconcile.js';
import { groupBy } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { oweFlags } from './actions.js';
import { copiesByUids, insertCopies } from './copies.js';
import { type Group, groupFlags, groupsOfEntries, setGroupFlags } from './groups.js';
import { insertMessages } from './messages.js';
import { type CopyRow, type FolderRow, jsonIds, type NewMessage } from './rows.js';
import type { WriteTx } from './store.js';

export interface Arrival {
  readonly uid: number;
  readonly flags: FlagText;
  readonly internalDate: number;
  readonly message: NewMessage;
}

/**
 * Records mail that a pull found in a folder. A copy that we owe the folder and may have delivered already (its upload,
 * COPY or MOVE was tried, the answer lost) is recognised by its content and gets its UID instead of a twin. Whatever
 * else is new stays unplaced until `placeCopies`.
 */
export async function recordArrivals(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  arrivals: readonly Arrival[],
): Promise<void> {
  const known = new Set(
    (
      await copiesByUids(
        tx,
        folder.id,
        arrivals.map((each) => each.uid),
      )
    ).map((copy) => copy.uid),
  );
  const unknown = arrivals.filter((each) => !known.has(each.uid));
  const fresh = await adoptPending(tx, book, folder, unknown);
  const ids = await insertMessages(
    tx,
    fresh.map((each) => each.message),
  );
  await insertCopies(
    tx,
    fresh.map((each, index) => ({
      folderId: folder.id,
      uid: each.uid,
      messageId: ids[index]!,
      entryId: null,
      mirrorUid: null,
      state: 'live',
      flags: each.flags,
      base: each.flags,
      size: each.message.size,
      internalDate: each.internalDate,
    })),
  );
}

/**
 * Gives copies that wait for a UID the one they are found under: those whose upload, COPY or MOVE was tried, and those
 * that lost theirs in a UIDVALIDITY reset. Returns the arrivals that are none of them.
 */
async function adoptPending(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  arrivals: readonly Arrival[],
): Promise<Arrival[]> {
  const waiting = await tx.all<CopyRow & { match_key: string }>(
    `SELECT copy.*, message.match_key FROM copy JOIN message ON message.id = copy.message_id
     WHERE copy.folder_id = ? AND copy.uid IS NULL AND NOT EXISTS (
       SELECT 1 FROM action WHERE action.target_id = copy.id AND action.attempts = 0) ORDER BY copy.id`,
    [folder.id],
  );
  if (waiting.length === 0) return [...arrivals];
  const byKey = groupBy(waiting, (copy) => copy.match_key);
  const fresh: Arrival[] = [];
  for (const arrival of [...arrivals].sort((a, b) => a.uid - b.uid)) {
    const copy = byKey.get(arrival.message.matchKey)?.shift();
    if (!copy) {
      fresh.push(arrival);
      continue;
    }
    // What a re-anchored copy agreed on before the reset is still its base; a delivered one arrives with its flags.
    await bindCopy(tx, book, copy.id, arrival.uid, copy.state === 'pending' ? arrival.flags : copy.base);
    if (copy.state !== 'pending') await recordFlags(tx, book, folder, new Map([[arrival.uid, arrival.flags]]));
  }
  return fresh;
}

/** A copy that waited for its UID was found or acknowledged upstream under `uid`, with `base` as its flags there. */
export async function bindCopy(
  tx: WriteTx,
  book: AccountBook,
  copyId: number,
  uid: number,
  base: FlagText,
): Promise<void> {
  await tx.run(
    "UPDATE copy SET uid = ?, base = ?, state = CASE state WHEN 'doomed' THEN state ELSE 'live' END WHERE id = ?",
    [uid, base, copyId],
  );
  await oweFlags(tx, book, [copyId], 'reconciliation: flags changed while the copy was on its way');
}

/**
 * Merges flags seen at a server into the groups of those copies, and owes the difference where we have more. Returns
 * how many copies had changed there.
 */
export async function recordFlags(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  observed: ReadonlyMap<number, FlagText>,
): Promise<number> {
  const copies = (await copiesByUids(tx, folder.id, observed.keys())).filter((copy) => copy.state !== 'doomed');
  const seen = copies
    .map((copy) => ({ copy, flags: withUnholdable(observed.get(copy.uid!)!, copy.flags, folder.flags_offered) }))
    .filter(({ copy, flags }) => isOther(copy.base, flags));
  if (seen.length === 0) return 0;
  const groups = await groupsOfEntries(
    tx,
    seen.flatMap(({ copy }) => copy.entry_id ?? []),
  );
  const changes: { group: Group; flags: FlagText }[] = [];
  const unchanged: number[] = [];
  for (const [, members] of groupBy(seen, ({ copy }) => copy.entry_id ?? -copy.id)) {
    const { copy } = members[0]!;
    const group: Group = (copy.entry_id !== null && groups.get(copy.entry_id)) || { entry: null, copies: [copy] };
    const before = groupFlags(group);
    const flags = book.pulls(folder.account_id)
      ? reconcileFlags(
          before,
          members.map((each) => ({ base: each.copy.base, observed: each.flags })),
        )
      : before;
    if (flags !== before) changes.push({ group, flags });
    else unchanged.push(...members.map((each) => each.copy.id));
  }
  for (const [flags, members] of groupBy(seen, (each) => each.flags)) {
    await tx.run('UPDATE copy SET base = ? WHERE id IN (SELECT value FROM json_each(?))', [
      flags,
      jsonIds(members.map((each) => each.copy.id)),
    ]);
  }
  await setGroupFlags(tx, book, changes, `reconciliation: flags changed at ${book.get(folder.account_id).name}`);
  await oweFlags(tx, book, unchanged, 'reconciliation: the server changed a flag back');
  return seen.length;
}

/** Servers may spell a keyword as they knew it first; that is no change. */
function isOther(base: FlagText, observed: FlagText): boolean {
  if (base === observed) return false;
  const { add, remove } = flagDelta(base, observed);
  return add.length + remove.length > 0;
}

/** A vanished copy turned up again under its UID (a held or mistaken disappearance). */
export async function recordReappeared(tx: WriteTx, folderId: number, uids: readonly number[]): Promise<void> {
  await tx.run(
    "UPDATE copy SET state = 'live' WHERE folder_id = ? AND state = 'vanished' AND uid IN (SELECT value FROM json_each(?))",
    [folderId, jsonIds(uids)],
  );
}
