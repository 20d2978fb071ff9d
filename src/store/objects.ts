import { randomInt } from 'node:crypto';
import { threadReferences } from '../mail/message-ids.js';
import { groupBy } from '../util/group.js';
import { jsonIds, type NewMessage } from './rows.js';
import type { ReadTx, Store, WriteTx } from './store.js';

/** Messages that get their thread at a time when they are older than threads. */
const PAGE = 500;

/**
 * The THREADIDs of mails that arrive (RFC 8474 §5.2): that of the first relative that is known, else one made from the
 * root they name. It never changes afterwards, and does not depend on the account, so threads cross accounts.
 */
export async function threadsOf(tx: WriteTx, headers: readonly Buffer[]): Promise<number[]> {
  const references = headers.map(threadReferences);
  const rows = await tx.all<{ reference: number; thread_id: number }>(
    'SELECT reference, thread_id FROM thread WHERE reference IN (SELECT value FROM json_each(?))',
    [jsonIds(new Set(references.flat()))],
  );
  const known = new Map(rows.map((row) => [row.reference, row.thread_id]));
  const fresh: [number, number][] = [];
  const threads = references.map((own) => {
    const found = own.find((reference) => known.has(reference));
    const thread = found === undefined ? (own[0] ?? randomInt(2 ** 47)) : known.get(found)!;
    for (const reference of own) {
      if (known.has(reference)) continue;
      known.set(reference, thread);
      fresh.push([reference, thread]);
    }
    return thread;
  });
  if (fresh.length > 0) {
    await tx.run(
      `INSERT INTO thread (reference, thread_id)
       SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)`,
      [JSON.stringify(fresh)],
    );
  }
  return threads;
}

/**
 * The messages that these are the same as to the octet, as far as header, parts and size show: mail that another client
 * moved keeps its EMAILID (RFC 8474 §5.1). Null where there is none. The messages are about to be inserted with ids from
 * `firstId` on, and may be the same as one before them.
 */
export async function sameContents(
  tx: ReadTx,
  messages: readonly NewMessage[],
  firstId: number,
): Promise<(number | null)[]> {
  const like = await tx.all<Content>(
    `SELECT id, COALESCE(email_id, id) AS email, match_key AS "matchKey", size FROM message
     WHERE match_key IN (SELECT value FROM json_each(?)) ORDER BY id`,
    [JSON.stringify(messages.map((each) => each.matchKey))],
  );
  const sizes = new Set(messages.map(({ matchKey, size }) => `${matchKey} ${size}`));
  const alike = like.filter(({ matchKey, size }) => sizes.has(`${matchKey} ${size}`));
  const known = groupBy(alike, (each) => each.matchKey);
  for (const group of known.values()) group.splice(MAX_ALIKE);
  const headers = await headersOf(tx, [...known.values()].flat());
  return messages.map(({ matchKey, size, header }, index) => {
    const group = known.get(matchKey);
    const same = group?.find((each) => each.size === size && headers.get(each.id)?.equals(header));
    if (same !== undefined) return same.email;
    const id = firstId + index;
    const own = { id, email: id, matchKey, size };
    headers.set(id, header);
    if (group === undefined) known.set(matchKey, [own]);
    else if (group.length < MAX_ALIKE) group.push(own);
    return null;
  });
}

/** Different mails with one key that are compared to the octet: a device that sends the same every minute has thousands. */
const MAX_ALIKE = 100;

interface Content {
  readonly id: number;
  readonly email: number;
  readonly matchKey: string;
  readonly size: number;
}

async function headersOf(tx: ReadTx, contents: readonly Content[]): Promise<Map<number, Buffer>> {
  if (contents.length === 0) return new Map();
  const rows = await tx.all<{ id: number; header: Buffer }>(
    'SELECT id, header FROM metadata WHERE id IN (SELECT value FROM json_each(?))',
    [jsonIds(contents.map((each) => each.id))],
  );
  return new Map(rows.map((row) => [row.id, row.header]));
}

/** Mail that joins an entry is known under the EMAILID of what the entry shows. */
export async function shareEmailIds(
  tx: WriteTx,
  joined: readonly { readonly messageId: number; readonly entryId: number }[],
): Promise<void> {
  if (joined.length === 0) return;
  await tx.run(
    `UPDATE message SET email_id = (
       SELECT COALESCE(shown.email_id, shown.id) FROM entry JOIN message AS shown ON shown.id = entry.message_id
       WHERE entry.id = json_extract(pair.value, '$[1]'))
     FROM json_each(?) AS pair WHERE message.id = json_extract(pair.value, '$[0]') AND message.email_id IS NULL
     AND message.id <> (SELECT message_id FROM entry WHERE entry.id = json_extract(pair.value, '$[1]'))`,
    [JSON.stringify(joined.map(({ messageId, entryId }) => [messageId, entryId]))],
  );
}

/** Gives messages of older databases their thread, a page at a time so that other writes do not wait. */
export async function assignThreads(store: Store): Promise<void> {
  for (let more = true; more; ) {
    more = await store.write(async (tx) => {
      const rows = await tx.all<{ id: number; header: Buffer }>(
        `SELECT message.id, metadata.header FROM message JOIN metadata ON metadata.id = message.id
         WHERE message.thread_id IS NULL ORDER BY message.id LIMIT ${PAGE}`,
      );
      if (rows.length === 0) return false;
      const threads = await threadsOf(
        tx,
        rows.map((row) => row.header),
      );
      await tx.run(
        `UPDATE message SET thread_id = json_extract(pair.value, '$[1]') FROM json_each(?) AS pair
         WHERE message.id = json_extract(pair.value, '$[0]')`,
        [JSON.stringify(rows.map((row, index) => [row.id, threads[index]]))],
      );
      return rows.length === PAGE;
    });
  }
}

/** Ids of the messages with this EMAILID or THREADID. */
export async function messagesWithId(tx: ReadTx, kind: 'email' | 'thread', id: number): Promise<Set<number>> {
  const where = kind === 'email' ? '(email_id = ? OR (id = ? AND email_id IS NULL))' : 'thread_id = ?';
  const rows = await tx.all<{ id: number }>(
    `SELECT id FROM message WHERE ${where}`,
    kind === 'email' ? [id, id] : [id],
  );
  return new Set(rows.map((row) => row.id));
}

/** Save dates (RFC 8514) of the rows behind a listing, by row id; null where none is known. */
export async function savedDates(
  tx: ReadTx,
  table: 'entry' | 'copy',
  ids: readonly number[],
): Promise<Map<number, number | null>> {
  const rows = await tx.all<{ id: number; saved: number | null }>(
    `SELECT id, saved FROM ${table} WHERE id IN (SELECT value FROM json_each(?))`,
    [jsonIds(ids)],
  );
  return new Map(rows.map((row) => [row.id, row.saved]));
}

/** Seconds since the Unix epoch, for `saved`. */
export function savedNow(): number {
  return Math.floor(Date.now() / 1000);
}
