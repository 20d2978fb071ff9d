import type { SqlValue } from './driver.js';
import { sameContents, threadsOf } from './objects.js';
import { jsonIds, type NewMessage, valueBatches } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/** Rows of one INSERT: wide ones, so fewer than the 200 that suit narrow rows. */
const BATCH = 50;

/** Inserts contents and returns their ids in the same order. */
export async function insertMessages(tx: WriteTx, messages: readonly NewMessage[]): Promise<number[]> {
  const ids: number[] = [];
  for (const page of valueBatches(messages, BATCH)) {
    const same = await sameContents(tx, page);
    const threads = await threadsOf(
      tx,
      page.map((each) => each.header),
    );
    const params: SqlValue[] = page.flatMap((each, index) => [
      each.matchKey,
      each.mergeKey,
      each.messageId,
      each.size,
      each.envelope,
      each.structure,
      each.header,
      each.pinned,
      same[index]!,
      threads[index]!,
    ]);
    const rows = await tx.all<{ id: number }>(
      `INSERT INTO message (match_key, merge_key, message_id, size, envelope, structure, header, pinned, email_id, thread_id)
       VALUES ${page.map(() => '(?,?,?,?,?,?,?,?,?,?)').join(',')} RETURNING id`,
      params,
    );
    // One statement inserts in the order of its VALUES, so its ids ascend with them.
    ids.push(...rows.map((row) => row.id).sort((a, b) => a - b));
  }
  return ids;
}

export interface MetadataRow {
  readonly id: number;
  readonly envelope?: Buffer;
  readonly structure?: Buffer;
  readonly header?: Buffer;
  /** The number behind the EMAILID. */
  readonly email?: number;
  readonly thread?: number | null;
  readonly preview?: string | null;
}

/** The asked columns of these messages, by id. */
export async function metadataOf(
  tx: ReadTx,
  ids: readonly number[],
  wants: { envelope?: boolean; structure?: boolean; header?: boolean; ids?: boolean; preview?: boolean },
): Promise<Map<number, MetadataRow>> {
  const columns = ['id'];
  if (wants.envelope) columns.push('envelope');
  if (wants.structure) columns.push('structure');
  if (wants.header) columns.push('header');
  if (wants.ids) columns.push('COALESCE(email_id, id) AS email', 'thread_id AS thread');
  if (wants.preview) columns.push('preview');
  const rows = await tx.all<MetadataRow>(
    `SELECT ${columns.join(', ')} FROM message WHERE id IN (SELECT value FROM json_each(?))`,
    [jsonIds(ids)],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

export interface BodyPlace {
  readonly accountId: number;
  readonly path: string;
  readonly uidValidity: number;
  readonly uid: number;
}

/** Where the bytes of a message are: a pinned file, and the copies that a server holds. */
export async function placesOf(
  tx: ReadTx,
  messageId: number,
): Promise<{ pinned: string | null; size: number; places: BodyPlace[] } | null> {
  const message = await tx.get<{ pinned: string | null; size: number }>(
    'SELECT pinned, size FROM message WHERE id = ?',
    [messageId],
  );
  if (!message) return null;
  const places = await tx.all<BodyPlace>(
    `SELECT folder.account_id AS "accountId", folder.path AS path, folder.uid_validity AS "uidValidity", copy.uid AS uid
     FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE copy.message_id = ? AND copy.uid IS NOT NULL AND folder.uid_validity IS NOT NULL
     ORDER BY CASE copy.state WHEN 'live' THEN 0 ELSE 1 END`,
    [messageId],
  );
  return { ...message, places };
}

/** Forgets those of the messages that nothing refers to any more. */
export async function sweepMessages(tx: WriteTx, ids: Iterable<number>): Promise<void> {
  await tx.run(
    `DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))
     AND NOT EXISTS (SELECT 1 FROM copy WHERE copy.message_id = message.id)
     AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.message_id = message.id)`,
    [jsonIds(ids)],
  );
}

/** The pinned files that messages need; with `names`, those among them. */
export async function pinnedFiles(tx: ReadTx, names?: readonly string[]): Promise<Set<string>> {
  const rows = await tx.all<{ pinned: string }>(
    names === undefined
      ? 'SELECT DISTINCT pinned FROM message WHERE pinned IS NOT NULL'
      : 'SELECT DISTINCT pinned FROM message WHERE pinned IN (SELECT value FROM json_each(?))',
    names === undefined ? [] : [JSON.stringify(names)],
  );
  return new Set(rows.map((row) => row.pinned));
}
