import type { FlagText } from '../mail/flags.js';
import { chunks } from '../util/group.js';
import { allocateUids, mirrorsOf } from './mailboxes.js';
import { savedNow } from './objects.js';
import { type CopyRow, type CopyState, type FolderRow, jsonIds, nextId } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

export interface NewCopy {
  readonly folderId: number;
  readonly uid: number | null;
  readonly messageId: number;
  readonly entryId: number | null;
  readonly mirrorUid: number | null;
  readonly state: CopyState;
  readonly flags: FlagText;
  readonly base: FlagText;
  readonly size: number;
  readonly internalDate: number;
}

/** Rows that one statement inserts. */
const PAGE_ROWS = 1_000;

/** Inserts copies and returns their ids in the same order. */
export async function insertCopies(tx: WriteTx, copies: readonly NewCopy[]): Promise<number[]> {
  if (copies.length === 0) return [];
  const first = await nextId(tx, 'copy');
  const rows = copies.map((each, index) => [
    ...[first + index, each.folderId, each.uid, each.messageId, each.entryId, each.mirrorUid],
    ...[each.state, each.flags, each.base, each.size, each.internalDate],
  ]);
  for (const page of chunks(rows, PAGE_ROWS)) {
    await tx.run(
      `INSERT INTO copy (id, folder_id, uid, message_id, entry_id, mirror_uid, state, flags, base, size, internal_date,
         mod_seq, arrived, saved)
       SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
         value ->> 8, value ->> 9, value ->> 10, ?2, ?2, CASE WHEN value ->> 5 IS NULL THEN NULL ELSE ?3 END
       FROM json_each(?1)`,
      [JSON.stringify(page), tx.modSeq, savedNow()],
    );
  }
  return copies.map((_, index) => first + index);
}

const DAY = 86_400;

/** The copy that a client's command makes in a folder: shown in its mirror at once, its upload owed. */
export async function insertPendingCopy(
  tx: WriteTx,
  folder: FolderRow,
  copy: Pick<NewCopy, 'messageId' | 'entryId' | 'flags' | 'size' | 'internalDate'>,
): Promise<{ id: number; mirrorUid: number }> {
  const mirror = (await mirrorsOf(tx, [folder.id])).get(folder.id)!;
  const mirrorUid = await allocateUids(tx, mirror.id, 1);
  tx.touch(mirror.id);
  const [id] = await insertCopies(tx, [
    { ...copy, folderId: folder.id, uid: null, mirrorUid, state: 'pending', base: '' },
  ]);
  const now = Math.floor(Date.now() / 1000);
  if (copy.internalDate < now - DAY) await tx.run('INSERT INTO put_here (copy_id, at) VALUES (?, ?)', [id!, now]);
  if (folder.role === 'sent') await tx.run('INSERT INTO filed_here (copy_id) VALUES (?)', [id!]);
  return { id: id!, mirrorUid };
}

export async function copiesByIds(tx: ReadTx, ids: Iterable<number>): Promise<Map<number, CopyRow>> {
  const rows = await tx.all<CopyRow>('SELECT * FROM copy WHERE id IN (SELECT value FROM json_each(?))', [jsonIds(ids)]);
  return new Map(rows.map((row) => [row.id, row]));
}

/** Copies of one folder that are alike but for their UIDs. */
export interface KnownCopies extends Pick<CopyRow, 'state' | 'base' | 'flags'> {
  readonly uids: readonly number[];
}

/**
 * The copies of a folder that have a UID, doomed ones as well: what a full listing is compared with. By what they are
 * like, since a folder knows few combinations and a row for each copy costs more than all the rest of a look.
 */
export async function knownCopies(tx: ReadTx, folderId: number): Promise<KnownCopies[]> {
  const rows = await tx.all<Omit<KnownCopies, 'uids'> & { uids: string }>(
    `SELECT state, base, flags, json_group_array(uid) AS uids FROM copy WHERE folder_id = ? AND uid IS NOT NULL
     GROUP BY state, base, flags`,
    [folderId],
  );
  return rows.map((row) => ({ ...row, uids: JSON.parse(row.uids) as number[] }));
}

/** Those of a folder's known UIDs that lie in one of the ranges. */
export async function uidsInRanges(
  tx: ReadTx,
  folderId: number,
  ranges: readonly (readonly [number, number])[],
): Promise<number[]> {
  const rows = await tx.all<{ uid: number }>(
    `SELECT copy.uid FROM json_each(?) AS range JOIN copy
     ON copy.folder_id = ? AND copy.uid BETWEEN json_extract(range.value, '$[0]') AND json_extract(range.value, '$[1]')`,
    [JSON.stringify(ranges), folderId],
  );
  return rows.map((row) => row.uid);
}

/** The UIDs of a folder's copies whose removal is owed. */
export async function doomedUids(tx: ReadTx, folderId: number): Promise<number[]> {
  const rows = await tx.all<{ uid: number }>(
    "SELECT uid FROM copy WHERE folder_id = ? AND state = 'doomed' AND uid IS NOT NULL",
    [folderId],
  );
  return rows.map((row) => row.uid);
}

/** How many copies of a folder have a UID. */
export async function countUids(tx: ReadTx, folderId: number): Promise<number> {
  const row = await tx.get<{ n: number }>('SELECT COUNT(*) AS n FROM copy WHERE folder_id = ? AND uid IS NOT NULL', [
    folderId,
  ]);
  return row!.n;
}

export async function copiesByUids(tx: ReadTx, folderId: number, uids: Iterable<number>): Promise<CopyRow[]> {
  return tx.all<CopyRow>('SELECT * FROM copy WHERE folder_id = ? AND uid IN (SELECT value FROM json_each(?))', [
    folderId,
    jsonIds(uids),
  ]);
}
