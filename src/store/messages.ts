import { chunks } from '../util/group.js';
import { insertMetadata } from './metadata.js';
import { sameContents, threadsOf } from './objects.js';
import { jsonIds, type NewMessage, nextId } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/** Rows that one statement inserts. */
const PAGE_ROWS = 500;

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
    ...[first + index, matchKey, mergeKey, messageId, size],
    ...[pinned, same[index], threads[index]],
  ]);
  for (const page of chunks(rows, PAGE_ROWS)) {
    await tx.run(
      `INSERT INTO message (id, match_key, merge_key, message_id, size, pinned, email_id, thread_id)
       SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7
       FROM json_each(?)`,
      [JSON.stringify(page)],
    );
  }
  await insertMetadata(tx, first, messages);
  return messages.map((_, index) => first + index);
}

/**
 * A content of its own with the same octets, for a copy at another account; clients see one object (RFC 8474). `kept`
 * has the SHA-256 of contents that are pinned without their row saying so.
 */
export async function cloneMessage(tx: WriteTx, id: number, kept: ReadonlyMap<number, string>): Promise<number> {
  const row = (await tx.get<NewMessage & { email: number }>(
    `SELECT match_key AS "matchKey", merge_key AS "mergeKey", message_id AS "messageId", size, pinned, envelope, structure,
       header, COALESCE(email_id, message.id) AS email
     FROM message JOIN metadata ON metadata.id = message.id WHERE message.id = ?`,
    [id],
  ))!;
  const [clone] = await insertMessages(tx, [{ ...row, pinned: row.pinned ?? kept.get(id) ?? null }]);
  await tx.run('UPDATE message SET email_id = ? WHERE id = ?', [row.email, clone!]);
  return clone!;
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
     WHERE copy.uid IS NOT NULL AND folder.uid_validity IS NOT NULL AND (copy.message_id = ?1 OR copy.id IN (
       -- bytes that are still to be fetched from another account
       SELECT pin.copy_id FROM copy AS made JOIN action AS upload ON upload.target_id = made.id
       JOIN action AS pin ON pin.id = upload.after_id WHERE made.message_id = ?1 AND pin.kind = 'pin'))
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
