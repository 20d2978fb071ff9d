import type { FlagText } from '../mail/flags.js';
import type { SqlValue } from './driver.js';
import { allocateUids, mirrorsOf } from './mailboxes.js';
import { savedNow } from './objects.js';
import { type CopyRow, type CopyState, type FolderRow, jsonIds, valueBatches } from './rows.js';
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

const BATCH = 50;

/** Inserts copies and returns their ids in the same order. */
export async function insertCopies(tx: WriteTx, copies: readonly NewCopy[]): Promise<number[]> {
  const ids: number[] = [];
  for (const page of valueBatches(copies, BATCH)) {
    const params: SqlValue[] = page.flatMap((each) => [
      each.folderId,
      each.uid,
      each.messageId,
      each.entryId,
      each.mirrorUid,
      each.state,
      each.flags,
      each.base,
      tx.modSeq,
      tx.modSeq,
      each.size,
      each.internalDate,
      each.mirrorUid === null ? null : savedNow(),
    ]);
    const rows = await tx.all<{ id: number }>(
      `INSERT INTO copy (folder_id, uid, message_id, entry_id, mirror_uid, state, flags, base, mod_seq, arrived, size, internal_date, saved)
       VALUES ${page.map(() => '(?,?,?,?,?,?,?,?,?,?,?,?,?)').join(',')} RETURNING id`,
      params,
    );
    ids.push(...rows.map((row) => row.id).sort((a, b) => a - b));
  }
  return ids;
}

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
  return { id: id!, mirrorUid };
}

export async function copiesByIds(tx: ReadTx, ids: Iterable<number>): Promise<Map<number, CopyRow>> {
  const rows = await tx.all<CopyRow>('SELECT * FROM copy WHERE id IN (SELECT value FROM json_each(?))', [jsonIds(ids)]);
  return new Map(rows.map((row) => [row.id, row]));
}

/** The UIDs of a folder's copies, doomed ones as well, ascending: what a full listing is compared with. */
export async function knownUids(tx: ReadTx, folderId: number): Promise<number[]> {
  const row = await tx.get<{ rows: string }>(
    'SELECT json_group_array(uid) AS rows FROM (SELECT uid FROM copy WHERE folder_id = ? AND uid IS NOT NULL ORDER BY uid)',
    [folderId],
  );
  return JSON.parse(row!.rows) as number[];
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
