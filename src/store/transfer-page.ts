import { accountKeyword, flagText } from '../mail/flags.js';
import type { AccountBook } from './account-book.js';
import { owe } from './actions.js';
import { insertCopies } from './copies.js';
import { type Group, groupFlags } from './groups.js';
import { allocateUids, mirrorsOf } from './mailboxes.js';
import { savedNow } from './objects.js';
import { doomCopies, expungeEntries, settleEntries } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds, type MailboxRow, nextId } from './rows.js';
import type { WriteTx } from './store.js';

/** Where a copy goes: the folder, and how the server gets it there. */
export interface Leg {
  readonly folder: FolderRow;
  readonly source: CopyRow;
  /** Within an account the server copies or moves; across accounts the bytes are uploaded. */
  readonly within: boolean;
  /** The content of the new copy; one of its own at another account, whose server may make something else of it. */
  readonly messageId: number;
}

/** One group on its way, with a leg for each account that takes part. */
export interface Journey {
  readonly group: Group;
  readonly legs: readonly Leg[];
}

/** What the new entry of a group shows. */
export function shownLeg({ group, legs }: Journey): Leg {
  return legs.find((leg) => leg.source.message_id === group.entry?.message_id) ?? legs[0]!;
}

/**
 * Whether these can be dealt with together: every server copies or moves its own mail, a MOVE leaves no copy behind, and
 * no copy is meant twice.
 */
export function isUniform(journeys: readonly Journey[], mode: 'copy' | 'move'): boolean {
  const sources = new Set<number>();
  for (const { group, legs } of journeys) {
    if (mode === 'move' && legs.length !== group.copies.length) return false;
    for (const { within, source } of legs) {
      if (!within || sources.has(source.id)) return false;
      sources.add(source.id);
    }
  }
  return true;
}

/**
 * As one transfer after the other, for groups that are `isUniform`, with the same few statements for all of them.
 * `merged`: the merged mailbox that shows mail of the target, if one does. Target UIDs in the order of the groups.
 */
export async function transferTogether(
  tx: WriteTx,
  book: AccountBook,
  journeys: readonly Journey[],
  target: MailboxRow,
  merged: MailboxRow | null,
  mode: 'copy' | 'move',
  reason: string,
): Promise<number[]> {
  const entries = merged === null ? null : await insertEntries(tx, book, merged, journeys);
  const legs = journeys.flatMap((journey, index) => journey.legs.map((leg) => ({ leg, journey, index })));
  const mirrorUids = await mirrorPlaces(
    tx,
    legs.map(({ leg }) => leg.folder.id),
  );
  const made = await insertCopies(
    tx,
    legs.map(({ leg, journey, index }, at) => ({
      ...{ folderId: leg.folder.id, uid: null, messageId: leg.messageId, entryId: entries?.[index]?.id ?? null },
      ...{ mirrorUid: mirrorUids[at]!, state: 'pending', flags: groupFlags(journey.group), base: '' },
      ...{ size: leg.source.size, internalDate: leg.source.internal_date },
    })),
  );
  await owe(
    tx,
    legs.map(({ leg }, at) => ({
      accountId: leg.folder.account_id,
      kind: mode,
      copyId: leg.source.id,
      targetId: made[at]!,
    })),
    reason,
  );
  if (mode === 'move') await leave(tx, book, journeys);
  if (target.folder_id === null) return entries!.map(({ uid }) => uid);
  const uids: number[] = new Array<number>(journeys.length).fill(0);
  for (const [at, { leg, index }] of legs.entries()) {
    if (leg.folder.id === target.folder_id) uids[index] = mirrorUids[at]!;
  }
  return uids;
}

async function insertEntries(
  tx: WriteTx,
  book: AccountBook,
  mailbox: MailboxRow,
  journeys: readonly Journey[],
): Promise<{ id: number; uid: number }[]> {
  const shown = journeys.map(shownLeg);
  const keys = await tx.all<{ id: number; merge_key: string | null }>(
    'SELECT id, merge_key FROM message WHERE id IN (SELECT value FROM json_each(?))',
    [jsonIds(new Set(shown.map((leg) => leg.messageId)))],
  );
  const keyOf = new Map(keys.map((row) => [row.id, row.merge_key]));
  const firstUid = await allocateUids(tx, mailbox.id, journeys.length);
  const firstId = await nextId(tx, 'entry');
  const rows = journeys.map(({ group, legs }, index) => {
    const { messageId, source } = shown[index]!;
    const accounts = flagText(legs.map((leg) => accountKeyword(book.get(leg.folder.account_id).name)));
    return [
      ...[firstId + index, firstUid + index, messageId, keyOf.get(messageId) ?? null],
      ...[groupFlags(group), accounts, source.size, source.internal_date],
    ];
  });
  await tx.run(
    `INSERT INTO entry (id, uid, message_id, merge_key, flags, accounts, size, internal_date, mailbox_id, mod_seq, saved)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, ?2, ?3, ?4
     FROM json_each(?1)`,
    [JSON.stringify(rows), mailbox.id, tx.modSeq, savedNow()],
  );
  tx.touch(mailbox.id);
  return rows.map((_, index) => ({ id: firstId + index, uid: firstUid + index }));
}

/** A UID in the mirror of each of these folders, in their order. */
async function mirrorPlaces(tx: WriteTx, folderIds: readonly number[]): Promise<number[]> {
  const mirrors = await mirrorsOf(tx, new Set(folderIds));
  const next = new Map<number, number>();
  for (const [folderId, mirror] of mirrors) {
    next.set(folderId, await allocateUids(tx, mirror.id, folderIds.filter((id) => id === folderId).length));
    tx.touch(mirror.id);
  }
  return folderIds.map((folderId) => {
    const uid = next.get(folderId)!;
    next.set(folderId, uid + 1);
    return uid;
  });
}

/** The far end of a MOVE of which every copy goes along. */
async function leave(tx: WriteTx, book: AccountBook, journeys: readonly Journey[]): Promise<void> {
  await doomCopies(
    tx,
    journeys.flatMap(({ legs }) => legs.map((leg) => leg.source)),
  );
  const left = journeys.flatMap(({ group }) => group.entry ?? []);
  const kept = await tx.all<{ entry_id: number }>(
    "SELECT DISTINCT entry_id FROM copy WHERE entry_id IN (SELECT value FROM json_each(?)) AND state <> 'doomed'",
    [jsonIds(left.map((entry) => entry.id))],
  );
  const keptIds = new Set(kept.map((row) => row.entry_id));
  await expungeEntries(
    tx,
    left.filter((entry) => !keptIds.has(entry.id)),
  );
  await settleEntries(tx, book, [...keptIds]);
}
