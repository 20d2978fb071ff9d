import { type FlagText, hasFlag, removeFlags } from '../mail/flags.js';
import { type Observed, reconcile, sameFlags, withUnholdable } from '../mail/reconcile.js';
import { groupBy } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { oweFlags } from './actions.js';
import { adoptPending } from './adopt.js';
import type { Arrival } from './bind.js';
import { copiesByUids, insertCopies } from './copies.js';
import { copyFacts } from './facts.js';
import { type Group, groupFlags, groupsOfEntries, setGroupFlags } from './groups.js';
import { insertMessages } from './messages.js';
import { folderAccounts } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

export type { Arrival } from './bind.js';

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
  const { fresh, found } = await adoptPending(tx, book, folder, unknown);
  // The server's answer to our own COPY or MOVE may have named them since they were listed.
  const named = arrivals.filter((each) => known.has(each.uid)).map((each) => [each.uid, each.flags] as const);
  await recordFlags(tx, book, folder, new Map([...found, ...named]));
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
 * Merges flags seen at a server into the groups of those copies, and owes the difference where we have more. Returns
 * how many copies had changed there.
 */
export async function recordFlags(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  observed: ReadonlyMap<number, FlagText>,
): Promise<number> {
  const copies = (await copiesByUids(tx, folder.id, observed.keys())).filter((copy) =>
    isOther(folder, copy, observed.get(copy.uid!)!),
  );
  if (copies.length === 0) return 0;
  const seen = new Set(copies.map((copy) => copy.id));
  const changes: { group: Group; flags: FlagText }[] = [];
  const bases: { id: number; base: FlagText }[] = [];
  const unchanged: number[] = [];
  for (const { group, folders } of await groupsWithFolders(tx, copies)) {
    const before = groupFlags(group);
    const result = reconcile(
      before,
      group.copies.map((copy) => copyFacts(book, copy, folders.get(copy.folder_id)!, observedOf(copy, seen, observed))),
    );
    const flags = result.entry ?? before;
    for (const [index, { base }] of result.copies.entries()) {
      const { id } = group.copies[index]!;
      if (!seen.has(id)) continue;
      bases.push({ id, base });
      if (flags === before) unchanged.push(id);
    }
    if (flags !== before) changes.push({ group, flags });
  }
  for (const [base, members] of groupBy(bases, (each) => each.base)) {
    await tx.run('UPDATE copy SET base = ? WHERE id IN (SELECT value FROM json_each(?))', [
      base,
      jsonIds(members.map(({ id }) => id)),
    ]);
  }
  await setGroupFlags(tx, book, changes, `reconciliation: flags changed at ${book.get(folder.account_id).name}`);
  await oweFlags(tx, book, unchanged, 'reconciliation: the server changed a flag back');
  return copies.length;
}

type Seen = Pick<CopyRow, 'state' | 'base' | 'flags'>;

function isOther(folder: FolderRow, { state, base, flags }: Seen, observed: FlagText): boolean {
  return state !== 'doomed' && !sameFlags(base, withUnholdable(observed, flags, folder.flags_offered));
}

/** Whether `recordReappeared` or `recordFlags` would change anything about a copy that its server shows so. */
export function isNewsOf(folder: FolderRow, copy: Seen, observed: FlagText): boolean {
  return copy.state === 'vanished' || isOther(folder, copy, observed);
}

/** As `isNewsOf` for any of these. */
export async function isNews(tx: ReadTx, folder: FolderRow, observed: ReadonlyMap<number, FlagText>): Promise<boolean> {
  const copies = await copiesByUids(tx, folder.id, observed.keys());
  return copies.some((copy) => isNewsOf(folder, copy, observed.get(copy.uid!)!));
}

function observedOf(copy: CopyRow, seen: ReadonlySet<number>, observed: ReadonlyMap<number, FlagText>): Observed {
  if (seen.has(copy.id)) return { is: 'present', flags: observed.get(copy.uid!)! };
  return copy.state === 'vanished' ? { is: 'missing' } : { is: 'unknown' };
}

/** The groups of these copies, each once, with the folders of all their copies. */
async function groupsWithFolders(
  tx: WriteTx,
  copies: readonly CopyRow[],
): Promise<{ group: Group; folders: ReadonlyMap<number, FolderRow> }[]> {
  const entries = await groupsOfEntries(
    tx,
    copies.flatMap((copy) => copy.entry_id ?? []),
  );
  const groups: Group[] = [...entries.values()];
  for (const copy of copies) if (copy.entry_id === null) groups.push({ entry: null, copies: [copy] });
  const folders = await folderAccounts(
    tx,
    groups.flatMap((group) => group.copies),
  );
  return groups.map((group) => ({ group, folders }));
}

/** A vanished copy turned up again under its UID (a held or mistaken disappearance). */
export async function recordReappeared(tx: WriteTx, folderId: number, uids: readonly number[]): Promise<void> {
  await tx.run(
    "UPDATE copy SET state = 'live' WHERE folder_id = ? AND state = 'vanished' AND uid IN (SELECT value FROM json_each(?))",
    [folderId, jsonIds(uids)],
  );
}

/**
 * Before others' \Deleted is taken away for a moment: it is owed to them from now on, and its absence is no news. A
 * crash in that moment then costs nothing; without one, the same mark is set twice.
 */
export async function oweSetAside(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  { path, uidValidity }: { readonly path: string; readonly uidValidity: number },
  uids: readonly number[],
): Promise<void> {
  const folder = await tx.get<FolderRow>(
    'SELECT * FROM folder WHERE account_id = ? AND path = ? AND uid_validity = ?',
    [accountId, path, uidValidity],
  );
  const copies = folder === undefined ? [] : await copiesByUids(tx, folder.id, uids);
  const marked = copies.filter((copy) => copy.state === 'live' && hasFlag(copy.flags, '\\Deleted'));
  for (const [base, same] of groupBy(marked, (copy) => removeFlags(copy.base, ['\\Deleted']))) {
    await tx.run('UPDATE copy SET base = ? WHERE id IN (SELECT value FROM json_each(?))', [
      base,
      jsonIds(same.map((copy) => copy.id)),
    ]);
  }
  await oweFlags(
    tx,
    book,
    marked.map((copy) => copy.id),
    'reconciliation: a mark that was set aside during an EXPUNGE without UIDPLUS',
  );
}
