import { accountKeyword, type FlagText, flagText } from '../mail/flags.js';
import { joinFlags } from '../mail/reconcile.js';
import { groupBy } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import type { SqlValue } from './driver.js';
import { agreeOnFlags, refreshAccounts } from './groups.js';
import { allocateUids, mergedMailbox, mirrorsOf } from './mailboxes.js';
import { savedNow, shareEmailIds } from './objects.js';
import { type FolderRow, jsonIds, valueBatches } from './rows.js';
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
  const rows = await tx.all<Unplaced>(
    `SELECT copy.id, copy.folder_id, copy.message_id, message.merge_key, copy.flags, copy.size, copy.internal_date
     FROM copy JOIN message ON message.id = copy.message_id
     WHERE copy.id IN (SELECT value FROM json_each(?)) AND copy.mirror_uid IS NULL`,
    [jsonIds(copyIds)],
  );
  const order = new Map(copyIds.map((id, index) => [id, index]));
  rows.sort((a, b) => order.get(a.id)! - order.get(b.id)!);
  await placeInMirrors(tx, rows);
  const folders = await foldersById(tx, rows);
  const byRole = groupBy(
    rows.filter((row) => folders.get(row.folder_id)!.virtual === 0 && folders.get(row.folder_id)!.role !== null),
    (row) => folders.get(row.folder_id)!.role!,
  );
  for (const [role, members] of byRole) {
    await placeInMerged(tx, book, (await mergedMailbox(tx, role)).id, members, folders);
  }
}

async function placeInMirrors(tx: WriteTx, rows: readonly Unplaced[]): Promise<void> {
  const byFolder = groupBy(rows, (row) => row.folder_id);
  for (const [folderId, mirror] of await mirrorsOf(tx, byFolder.keys())) {
    const members = byFolder.get(folderId)!;
    const first = await allocateUids(tx, mirror.id, members.length);
    const pairs = members.map((row, index) => [row.id, first + index]);
    await tx.run(
      `UPDATE copy SET mirror_uid = json_extract(place.value, '$[1]'), mod_seq = ?, saved = ? FROM json_each(?) AS place
       WHERE copy.id = json_extract(place.value, '$[0]')`,
      [tx.modSeq, savedNow(), JSON.stringify(pairs)],
    );
    tx.touch(mirror.id);
  }
}

async function placeInMerged(
  tx: WriteTx,
  book: AccountBook,
  mailboxId: number,
  rows: readonly Unplaced[],
  folders: ReadonlyMap<number, FolderRow>,
): Promise<void> {
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
  const pairs = [
    ...fresh.flatMap(({ members }, index) => members.map((row) => [row.id, ids[index]!])),
    ...joins.map(({ entry, row }) => [row.id, entry]),
  ];
  await tx.run(
    `UPDATE copy SET entry_id = json_extract(place.value, '$[1]') FROM json_each(?) AS place
     WHERE copy.id = json_extract(place.value, '$[0]')`,
    [JSON.stringify(pairs)],
  );
  await shareEmailIds(tx, [
    ...fresh.flatMap(({ members }, index) =>
      members.slice(1).map((row) => ({ messageId: row.message_id, entryId: ids[index]! })),
    ),
    ...joins.map(({ entry, row }) => ({ messageId: row.message_id, entryId: entry })),
  ]);
  tx.touch(mailboxId);
  const grown = [
    ...joins.map(({ entry }) => entry),
    ...fresh.flatMap(({ members }, index) => (members.length > 1 ? ids[index]! : [])),
  ];
  await agreeOnFlags(tx, book, grown, 'reconciliation: the same mail at several accounts');
  await refreshAccounts(tx, book, grown);
}

/** Entries of the same mails, oldest first, with the accounts that have a copy in each. */
async function openEntries(
  tx: ReadTx,
  mailboxId: number,
  rows: readonly Unplaced[],
): Promise<Map<string, { id: number; accounts: Set<number> }[]>> {
  const keys = [...new Set(rows.flatMap((row) => row.merge_key ?? []))];
  const found = await tx.all<{ id: number; merge_key: string; account_id: number | null }>(
    `SELECT entry.id, entry.merge_key, folder.account_id FROM entry
     LEFT JOIN copy ON copy.entry_id = entry.id LEFT JOIN folder ON folder.id = copy.folder_id
     WHERE entry.mailbox_id = ? AND entry.merge_key IN (SELECT value FROM json_each(?)) ORDER BY entry.uid`,
    [mailboxId, JSON.stringify(keys)],
  );
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
  const ids: number[] = [];
  for (const page of valueBatches(entries, 200)) {
    const params: SqlValue[] = page.flatMap((each) => [
      mailboxId,
      each.uid,
      each.messageId,
      each.key,
      each.flags,
      each.accounts,
      tx.modSeq,
      each.size,
      each.date,
      savedNow(),
    ]);
    const rows = await tx.all<{ id: number; uid: number }>(
      `INSERT INTO entry (mailbox_id, uid, message_id, merge_key, flags, accounts, mod_seq, size, internal_date, saved)
       VALUES ${page.map(() => '(?,?,?,?,?,?,?,?,?,?)').join(',')} RETURNING id, uid`,
      params,
    );
    ids.push(...rows.sort((a, b) => a.uid - b.uid).map((row) => row.id));
  }
  return ids;
}

async function foldersById(tx: ReadTx, rows: readonly Unplaced[]): Promise<Map<number, FolderRow>> {
  const found = await tx.all<FolderRow>('SELECT * FROM folder WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(new Set(rows.map((row) => row.folder_id))),
  ]);
  return new Map(found.map((row) => [row.id, row]));
}
