import { accountKeyword, type FlagText, flagText } from '../mail/flags.js';
import { joinFlags } from '../mail/reconcile.js';
import { chunks } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { oweFlags } from './actions.js';
import { mirrorsOf } from './mailboxes.js';
import { type CopyRow, type EntryRow, jsonIds, type MailboxRow } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/**
 * What changes together: an entry of a merged mailbox with its copies, or a single copy that is merged nowhere. Flags
 * and deletions belong to the group, whichever of its mailboxes they were made in.
 */
export interface Group {
  readonly entry: EntryRow | null;
  /** Those a client sees: live, pending or vanished-but-unexplained. */
  readonly copies: readonly CopyRow[];
}

/** Groups that one statement reads or changes. */
const PAGE = 1_000;

const SHOWN = "state IN ('live', 'pending', 'vanished')";

/** The groups behind these UIDs of a mailbox, by UID; UIDs that are gone are left out. */
export async function groupsOf(tx: ReadTx, mailbox: MailboxRow, uids: readonly number[]): Promise<Map<number, Group>> {
  if (uids.length <= PAGE) return groupPage(tx, mailbox, uids);
  const found = new Map<number, Group>();
  // Rows become objects in one go: of a page at a time, or everybody waits.
  for (const page of chunks(uids, PAGE)) {
    for (const [uid, group] of await groupPage(tx, mailbox, page)) found.set(uid, group);
  }
  return found;
}

async function groupPage(tx: ReadTx, mailbox: MailboxRow, uids: readonly number[]): Promise<Map<number, Group>> {
  const ids = jsonIds(uids);
  if (mailbox.folder_id === null) {
    const entries = await tx.all<EntryRow>(
      'SELECT * FROM entry WHERE mailbox_id = ? AND uid IN (SELECT value FROM json_each(?)) ORDER BY uid',
      [mailbox.id, ids],
    );
    const copies = await copiesOfEntries(
      tx,
      entries.map((entry) => entry.id),
    );
    return new Map(entries.map((entry) => [entry.uid, { entry, copies: copies.get(entry.id) ?? [] }]));
  }
  const own = await tx.all<CopyRow>(
    `SELECT * FROM copy WHERE folder_id = ? AND ${SHOWN} AND mirror_uid IN (SELECT value FROM json_each(?)) ORDER BY mirror_uid`,
    [mailbox.folder_id, ids],
  );
  const byEntry = await groupsOfEntries(
    tx,
    own.flatMap((copy) => copy.entry_id ?? []),
  );
  return new Map(
    own.map((copy) => [
      copy.mirror_uid!,
      (copy.entry_id !== null && byEntry.get(copy.entry_id)) || { entry: null, copies: [copy] },
    ]),
  );
}

/** Whole groups by entry id. */
export async function groupsOfEntries(tx: ReadTx, entryIds: readonly number[]): Promise<Map<number, Group>> {
  if (entryIds.length === 0) return new Map();
  const entries = await tx.all<EntryRow>('SELECT * FROM entry WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(new Set(entryIds)),
  ]);
  const copies = await copiesOfEntries(
    tx,
    entries.map((entry) => entry.id),
  );
  return new Map(entries.map((entry) => [entry.id, { entry, copies: copies.get(entry.id) ?? [] }]));
}

async function copiesOfEntries(tx: ReadTx, entryIds: readonly number[]): Promise<Map<number, CopyRow[]>> {
  const rows = await tx.all<CopyRow>(
    `SELECT * FROM copy WHERE entry_id IN (SELECT value FROM json_each(?)) AND ${SHOWN} ORDER BY id`,
    [jsonIds(entryIds)],
  );
  const byEntry = new Map<number, CopyRow[]>();
  for (const row of rows) {
    const list = byEntry.get(row.entry_id!);
    if (list) list.push(row);
    else byEntry.set(row.entry_id!, [row]);
  }
  return byEntry;
}

/** The flags of a group, without the account keywords. */
export function groupFlags(group: Group): FlagText {
  return group.entry?.flags ?? group.copies[0]?.flags ?? '';
}

/** The MODSEQ that a client of that mailbox sees on the group. */
export function groupModSeq(group: Group, mailbox: MailboxRow): number {
  if (mailbox.folder_id === null) return group.entry!.mod_seq;
  return group.copies.find((copy) => copy.folder_id === mailbox.folder_id)?.mod_seq ?? 0;
}

/** Gives groups new flags: in every mailbox that shows them, and owed to every copy whose server has others. */
export async function setGroupFlags(
  tx: WriteTx,
  book: AccountBook,
  changes: readonly { group: Group; flags: FlagText }[],
  reason: string,
): Promise<void> {
  const entries: FlagChange[] = [];
  const copies: FlagChange[] = [];
  const folders = new Set<number>();
  for (const { group, flags } of changes) {
    if (group.entry) {
      entries.push([group.entry.id, flags]);
      tx.touch(group.entry.mailbox_id);
    }
    for (const copy of group.copies) {
      copies.push([copy.id, flags]);
      folders.add(copy.folder_id);
    }
  }
  await setFlags(tx, 'entry', entries);
  await setFlags(tx, 'copy', copies);
  await touchMirrors(tx, folders);
  await oweFlags(
    tx,
    book,
    changes.flatMap(({ group }) => group.copies.map((copy) => copy.id)),
    reason,
  );
}

/** Entries that copies joined: what is set on any of them is set on the entry and on all its copies. */
export async function agreeOnFlags(
  tx: WriteTx,
  book: AccountBook,
  entryIds: readonly number[],
  reason: string,
): Promise<void> {
  const groups = await groupsOfEntries(tx, entryIds);
  const changes = [...groups.values()]
    .map((group) => ({ group, flags: joinFlags([group.entry!.flags, ...group.copies.map((copy) => copy.flags)]) }))
    .filter(({ group, flags }) => group.entry!.flags !== flags || group.copies.some((copy) => copy.flags !== flags));
  await setGroupFlags(tx, book, changes, reason);
}

type FlagChange = readonly [id: number, flags: FlagText];

async function setFlags(tx: WriteTx, table: 'entry' | 'copy', changes: readonly FlagChange[]): Promise<void> {
  for (const page of chunks(changes, PAGE)) {
    await tx.run(
      `UPDATE ${table} SET flags = value ->> 1, mod_seq = ?2 FROM json_each(?1) WHERE ${table}.id = value ->> 0`,
      [JSON.stringify(page), tx.modSeq],
    );
  }
}

/** Tells that the mirrors of these folders show something new. */
export async function touchMirrors(tx: WriteTx, folderIds: Iterable<number>): Promise<void> {
  for (const mailbox of (await mirrorsOf(tx, folderIds)).values()) tx.touch(mailbox.id);
}

/** Recomputes which accounts hold a copy, after copies came or went. */
export async function refreshAccounts(tx: WriteTx, book: AccountBook, entryIds: Iterable<number>): Promise<void> {
  const ids = [...new Set(entryIds)];
  if (ids.length === 0) return;
  const rows = await tx.all<{ id: number; mailbox_id: number; accounts: FlagText; account_id: number | null }>(
    `SELECT DISTINCT entry.id, entry.mailbox_id, entry.accounts, folder.account_id
     FROM entry LEFT JOIN copy ON copy.entry_id = entry.id AND copy.${SHOWN} LEFT JOIN folder ON folder.id = copy.folder_id
     WHERE entry.id IN (SELECT value FROM json_each(?))`,
    [jsonIds(ids)],
  );
  const now = new Map<number, { mailbox: number; before: FlagText; keywords: string[] }>();
  for (const row of rows) {
    const entry = now.get(row.id) ?? { mailbox: row.mailbox_id, before: row.accounts, keywords: [] };
    // An account that is being forgotten has no name any more.
    if (row.account_id !== null && book.has(row.account_id)) {
      entry.keywords.push(accountKeyword(book.get(row.account_id).name));
    }
    now.set(row.id, entry);
  }
  const byText = new Map<FlagText, number[]>();
  for (const [id, { mailbox, before, keywords }] of now) {
    const text = flagText(keywords);
    if (text === before) continue;
    tx.touch(mailbox);
    const list = byText.get(text);
    if (list) list.push(id);
    else byText.set(text, [id]);
  }
  for (const [text, changed] of byText) {
    await tx.run('UPDATE entry SET accounts = ?, mod_seq = ? WHERE id IN (SELECT value FROM json_each(?))', [
      text,
      tx.modSeq,
      jsonIds(changed),
    ]);
  }
}
