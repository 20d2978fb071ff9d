import { sameContents, threadsOf } from './objects.js';
import { jsonIds, type NewMessage, nextId } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/** Octets of metadata that one statement takes; a page of usual mails has less. */
const PACK_BYTES = 4 << 20;

/** Inserts contents and returns their ids in the same order. */
export async function insertMessages(tx: WriteTx, messages: readonly NewMessage[]): Promise<number[]> {
  if (messages.length === 0) return [];
  const first = await nextId(tx, 'message');
  const same = await sameContents(tx, messages, first);
  const threads = await threadsOf(
    tx,
    messages.map((each) => each.header),
  );
  const rows = messages.map(({ matchKey, mergeKey, messageId, size, pinned }, index) => [
    ...[matchKey, mergeKey, messageId, size, pinned],
    ...[same[index], threads[index]],
  ]);
  await tx.run(
    `INSERT INTO message (id, match_key, merge_key, message_id, size, pinned, email_id, thread_id)
     SELECT ?2 + key, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6
     FROM json_each(?1)`,
    [JSON.stringify(rows), first],
  );
  await insertMetadata(tx, first, messages);
  return messages.map((_, index) => first + index);
}

/**
 * The wire forms of messages with consecutive ids. They go over as one piece of memory, since what takes time is the
 * number of values that are bound, not their octets.
 */
async function insertMetadata(tx: WriteTx, firstId: number, messages: readonly NewMessage[]): Promise<void> {
  let parts: Buffer[] = [];
  let places: number[][] = [];
  let bytes = 0;
  let first = firstId;
  const flush = async (): Promise<void> => {
    await tx.run(
      `INSERT INTO metadata (id, envelope, structure, header)
       SELECT ?3 + key, substr(?2, value ->> 0, value ->> 1), substr(?2, value ->> 2, value ->> 3),
         substr(?2, value ->> 4, value ->> 5) FROM json_each(?1)`,
      // A NUL at the end: of an empty BLOB the parts would be NULL.
      [JSON.stringify(places), Buffer.concat([...parts, NUL], bytes + 1), first],
    );
    first += places.length;
    [parts, places, bytes] = [[], [], 0];
  };
  for (const { envelope, structure, header } of messages) {
    // SQL counts from 1.
    const at = bytes + 1;
    const [ofStructure, ofHeader] = [at + envelope.length, at + envelope.length + structure.length];
    places.push([at, envelope.length, ofStructure, structure.length, ofHeader, header.length]);
    parts.push(envelope, structure, header);
    bytes += envelope.length + structure.length + header.length;
    if (bytes >= PACK_BYTES) await flush();
  }
  if (places.length > 0) await flush();
}

const NUL = Buffer.alloc(1);

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
    `SELECT ${columns.join(', ')} FROM message JOIN metadata USING (id) WHERE id IN (SELECT value FROM json_each(?))`,
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
  const json = jsonIds(ids);
  await tx.run(
    `DELETE FROM message WHERE id IN (SELECT value FROM json_each(?))
     AND NOT EXISTS (SELECT 1 FROM copy WHERE copy.message_id = message.id)
     AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.message_id = message.id)`,
    [json],
  );
  await tx.run(
    `DELETE FROM metadata WHERE id IN (SELECT value FROM json_each(?))
     AND NOT EXISTS (SELECT 1 FROM message WHERE message.id = metadata.id)`,
    [json],
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
