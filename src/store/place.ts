import { accountKeyword, type FlagText, flagText } from '../mail/flags.js';
import { joinFlags } from '../mail/reconcile.js';
import { groupBy } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { agreeOnFlags, refreshAccounts } from './groups.js';
import { allocateUids, mergedMailbox, mirrorsOf } from './mailboxes.js';
import { savedNow, shareEmailIds } from './objects.js';
import { type FolderRow, jsonIds, nextId } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

interface Unplaced {
  readonly id: number;
  readonly folder_id: number;
  readonly message_id: number;
  readonly merge_key: string | null;
  readonly flags: FlagText;
  readonly size: number;
  readonly internal_date: number;
}

type UnplacedTuple = [
  id: number,
  folder: number,
  message: number,
  key: string | null,
  flags: FlagText,
  size: number,
  date: number,
];

/** How many copies one unit places: bounds the time that other writes wait. */
export const PLACE_BATCH = 1_000;

/** Copies that no client has seen yet, by date and then by UID; of one folder or of all. */
export async function unplacedCopies(tx: ReadTx, folderId: number | null): Promise<number[]> {
  const where = folderId === null ? '' : 'AND folder_id = ?';
  const row = await tx.get<{ ids: string }>(
    `SELECT json_group_array(id) AS ids FROM (SELECT id FROM copy WHERE mirror_uid IS NULL AND state = 'live' ${where}
     ORDER BY internal_date, folder_id, uid)`,
    folderId === null ? [] : [folderId],
  );
  return JSON.parse(row!.ids) as number[];
}

/**
 * Shows copies to clients, in this order: a UID in their mirror, and in the merged mailbox of their folder's role
 * either a place in the entry of the same mail (the k-th copy of one account pairs with the k-th of another) or an
 * entry of their own.
 */
export async function placeCopies(tx: WriteTx, book: AccountBook, copyIds: readonly number[]): Promise<void> {
  const rows = await unplacedRows(tx, copyIds);
  if (rows.length === 0) return;
  const folders = await foldersById(tx, rows);
  const mirrorUids = await placesInMirrors(tx, rows);
  const byRole = groupBy(
    rows.filter((row) => folders.get(row.folder_id)!.virtual === 0 && folders.get(row.folder_id)!.role !== null),
    (row) => folders.get(row.folder_id)!.role!,
  );
  const merged: Merged[] = [];
  for (const [role, members] of byRole) {
    merged.push(await placesInMerged(tx, book, (await mergedMailbox(tx, role)).id, members, folders));
  }
  const entryIds = new Map(merged.flatMap(({ places }) => places));
  await tx.run(
    `UPDATE copy SET mirror_uid = value ->> 1, entry_id = value ->> 2, mod_seq = ?2, saved = ?3 FROM json_each(?1)
     WHERE copy.id = value ->> 0`,
    [
      JSON.stringify(rows.map(({ id }) => [id, mirrorUids.get(id) ?? null, entryIds.get(id) ?? null])),
      tx.modSeq,
      savedNow(),
    ],
  );
  for (const { joined } of merged) await settleJoined(tx, book, joined);
}

/** Those of the copies that no client sees yet, in this order. */
async function unplacedRows(tx: ReadTx, copyIds: readonly number[]): Promise<Unplaced[]> {
  const row = await tx.get<{ rows: string }>(
    `SELECT json_group_array(json_array(id, folder_id, message_id, merge_key, flags, size, internal_date)) AS rows
     FROM (SELECT copy.id, copy.folder_id, copy.message_id, message.merge_key, copy.flags, copy.size, copy.internal_date
       FROM json_each(?) AS wanted
       JOIN copy ON copy.id = wanted.value JOIN message ON message.id = copy.message_id
       WHERE copy.mirror_uid IS NULL ORDER BY wanted.key)`,
    [jsonIds(copyIds)],
  );
  return (JSON.parse(row!.rows) as UnplacedTuple[]).map(
    ([id, folder_id, message_id, merge_key, flags, size, internal_date]) => ({
      ...{ id, folder_id, message_id, merge_key },
      ...{ flags, size, internal_date },
    }),
  );
}

/** The UID of each copy in its mirror, by copy. */
async function placesInMirrors(tx: WriteTx, rows: readonly Unplaced[]): Promise<Map<number, number>> {
  const byFolder = groupBy(rows, (row) => row.folder_id);
  const uids = new Map<number, number>();
  for (const [folderId, mirror] of await mirrorsOf(tx, byFolder.keys())) {
    const members = byFolder.get(folderId)!;
    const first = await allocateUids(tx, mirror.id, members.length);
    for (const [index, row] of members.entries()) uids.set(row.id, first + index);
    tx.touch(mirror.id);
  }
  return uids;
}

/** Where copies of one role go: the entry of each, and which of them are not alone there. */
interface Merged {
  readonly places: readonly (readonly [copyId: number, entryId: number])[];
  readonly joined: readonly { readonly messageId: number; readonly entryId: number }[];
}

/** Once the copies have their entries: those that found company agree on flags, accounts and EMAILID. */
async function settleJoined(tx: WriteTx, book: AccountBook, joined: Merged['joined']): Promise<void> {
  if (joined.length === 0) return;
  await shareEmailIds(tx, joined);
  const grown = [...new Set(joined.map(({ entryId }) => entryId))];
  await agreeOnFlags(tx, book, grown, 'reconciliation: the same mail at several accounts');
  await refreshAccounts(tx, book, grown);
}

async function placesInMerged(
  tx: WriteTx,
  book: AccountBook,
  mailboxId: number,
  rows: readonly Unplaced[],
  folders: ReadonlyMap<number, FolderRow>,
): Promise<Merged> {
  const accountOf = (row: Unplaced): number => folders.get(row.folder_id)!.account_id;
  const open = await openEntries(tx, mailboxId, rows);
  const fresh: { row: Unplaced; accounts: Set<number>; key: string | null; members: Unplaced[] }[] = [];
  const joins: { entry: number; row: Unplaced }[] = [];
  const waiting = new Map<string, (typeof fresh)[number][]>();
  for (const row of rows) {
    const account = accountOf(row);
    const known =
      row.merge_key === null ? undefined : open.get(row.merge_key)?.find((each) => !each.accounts.has(account));
    if (known) {
      known.accounts.add(account);
      joins.push({ entry: known.id, row });
      continue;
    }
    const sibling =
      row.merge_key === null ? undefined : waiting.get(row.merge_key)?.find((each) => !each.accounts.has(account));
    if (sibling) {
      sibling.accounts.add(account);
      sibling.members.push(row);
      continue;
    }
    const entry = { row, accounts: new Set([account]), key: row.merge_key, members: [row] };
    fresh.push(entry);
    if (row.merge_key !== null) waiting.set(row.merge_key, [...(waiting.get(row.merge_key) ?? []), entry]);
  }
  const first = fresh.length === 0 ? 0 : await allocateUids(tx, mailboxId, fresh.length);
  const ids = await insertEntries(
    tx,
    mailboxId,
    fresh.map(({ row, accounts, key, members }, index) => ({
      uid: first + index,
      messageId: row.message_id,
      key,
      flags: members.length === 1 ? row.flags : joinFlags(members.map((each) => each.flags)),
      accounts: flagText([...accounts].map((id) => accountKeyword(book.get(id).name))),
      size: row.size,
      date: row.internal_date,
    })),
  );
  tx.touch(mailboxId);
  return {
    places: [
      ...fresh.flatMap(({ members }, index) => members.map((row) => [row.id, ids[index]!] as const)),
      ...joins.map(({ entry, row }) => [row.id, entry] as const),
    ],
    joined: [
      ...fresh.flatMap(({ members }, index) =>
        members.slice(1).map((row) => ({ messageId: row.message_id, entryId: ids[index]! })),
      ),
      ...joins.map(({ entry, row }) => ({ messageId: row.message_id, entryId: entry })),
    ],
  };
}

/** Entries of the same mails, oldest first, with the accounts that have a copy in each. */
async function openEntries(
  tx: ReadTx,
  mailboxId: number,
  rows: readonly Unplaced[],
): Promise<Map<string, { id: number; accounts: Set<number> }[]>> {
  const keys = [...new Set(rows.flatMap((row) => row.merge_key ?? []))];
  const found = await tx.all<{ id: number; uid: number; merge_key: string; account_id: number | null }>(
    // CROSS: key by key, for nothing tells the planner how many entries a mailbox has.
    `SELECT entry.id, entry.uid, entry.merge_key, folder.account_id FROM json_each(?1) AS wanted
     CROSS JOIN entry ON entry.mailbox_id = ?2 AND entry.merge_key = wanted.value
     LEFT JOIN copy ON copy.entry_id = entry.id LEFT JOIN folder ON folder.id = copy.folder_id`,
    [JSON.stringify(keys), mailboxId],
  );
  found.sort((a, b) => a.uid - b.uid);
  const byKey = new Map<string, { id: number; accounts: Set<number> }[]>();
  for (const row of found) {
    const list = byKey.get(row.merge_key) ?? [];
    byKey.set(row.merge_key, list);
    let entry = list.find((each) => each.id === row.id);
    if (!entry) {
      entry = { id: row.id, accounts: new Set() };
      list.push(entry);
    }
    if (row.account_id !== null) entry.accounts.add(row.account_id);
  }
  return byKey;
}

interface NewEntry {
  readonly uid: number;
  readonly messageId: number;
  readonly key: string | null;
  readonly flags: FlagText;
  readonly accounts: FlagText;
  readonly size: number;
  readonly date: number;
}

async function insertEntries(tx: WriteTx, mailboxId: number, entries: readonly NewEntry[]): Promise<number[]> {
  if (entries.length === 0) return [];
  const first = await nextId(tx, 'entry');
  const rows = entries.map((each) => [
    ...[each.uid, each.messageId, each.key, each.flags, each.accounts],
    ...[each.size, each.date],
  ]);
  await tx.run(
    `INSERT INTO entry (id, mailbox_id, uid, message_id, merge_key, flags, accounts, size, internal_date, mod_seq, saved)
     SELECT ?2 + key, ?3, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ?4, ?5
     FROM json_each(?1)`,
    [JSON.stringify(rows), first, mailboxId, tx.modSeq, savedNow()],
  );
  return entries.map((_, index) => first + index);
}

async function foldersById(tx: ReadTx, rows: readonly Unplaced[]): Promise<Map<number, FolderRow>> {
  const found = await tx.all<FolderRow>('SELECT * FROM folder WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(new Set(rows.map((row) => row.folder_id))),
  ]);
  return new Map(found.map((row) => [row.id, row]));
}
