import type { ListingRow } from '../mail/listing.js';
import type { MailboxRow } from './rows.js';
import type { ReadTx, Store, WriteTx } from './store.js';

type Tuple = [uid: number, row: number, message: number, flags: string, modSeq: number, size: number, date: number];

const TUPLE = 'json_array(uid, id, message_id, shown, mod_seq, size, internal_date)';

/** Entries a page: parsed in one go, so small enough not to hold up the event loop. */
const PAGE = 2_000;

const MERGED = `SELECT uid, id, message_id, CASE WHEN flags = '' THEN accounts WHEN accounts = '' THEN flags ELSE flags || ' ' || accounts END AS shown,
  mod_seq, size, internal_date FROM entry WHERE mailbox_id = ?`;
const MIRROR = `SELECT mirror_uid AS uid, copy.id AS id, message_id, CASE WHEN flags = '' THEN ? ELSE flags || ' ' || ? END AS shown,
  mod_seq, size, internal_date FROM copy WHERE folder_id = ? AND mirror_uid IS NOT NULL AND state <> 'doomed'`;

/** All entries of a mailbox in UID order, in pages. `keyword` is the account keyword of a mirror. */
export async function* entriesOf(
  read: <T>(task: (tx: ReadTx) => Promise<T>) => Promise<T>,
  mailbox: MailboxRow,
  keyword: string,
): AsyncGenerator<ListingRow[]> {
  let after = 0;
  for (;;) {
    const uidColumn = mailbox.folder_id === null ? 'uid' : 'mirror_uid';
    const page = await read((tx) =>
      select(tx, mailbox, keyword, `AND ${uidColumn} > ? ORDER BY ${uidColumn} LIMIT ${PAGE}`, [after]),
    );
    if (page.length === 0) return;
    after = page[page.length - 1]!.uid;
    yield page;
    if (page.length < PAGE) return;
  }
}

export interface Changes {
  /** New and changed entries in UID order. */
  readonly entries: readonly ListingRow[];
  readonly expunged: readonly number[];
  readonly modSeq: number;
  readonly uidNext: number;
}

/**
 * What happened in a mailbox since a MODSEQ (RFC 7162), as of one commit; null when the mailbox was deleted. One
 * statement reads it; only more than a page of changes needs several, and a snapshot for them.
 */
export async function changesSince(
  store: Pick<Store, 'read' | 'snapshot'>,
  mailbox: MailboxRow,
  keyword: string,
  modSeq: number,
): Promise<Changes | null> {
  const few = await store.read((tx) => firstChanges(tx, mailbox, keyword, modSeq));
  if (few === null || few.entries.length < PAGE) return few;
  return store.snapshot(async (tx) => {
    const first = await firstChanges(tx, mailbox, keyword, modSeq);
    if (first === null) return null;
    const entries = [...first.entries];
    const uidColumn = mailbox.folder_id === null ? 'uid' : 'mirror_uid';
    for (let length = entries.length; length === PAGE; ) {
      const tail = `AND mod_seq > ? AND ${uidColumn} > ? ORDER BY ${uidColumn} LIMIT ${PAGE}`;
      const page = await select(tx, mailbox, keyword, tail, [modSeq, entries.at(-1)!.uid]);
      for (const each of page) entries.push(each);
      length = page.length;
    }
    return { ...first, entries };
  });
}

/** As `changesSince`, with the first page of entries at most. */
async function firstChanges(tx: ReadTx, mailbox: MailboxRow, keyword: string, modSeq: number): Promise<Changes | null> {
  const merged = mailbox.folder_id === null;
  const row = await tx.get<{ mod_seq: number; uid_next: number; entries: string; gone: string }>(
    `SELECT mod_seq, uid_next,
       (SELECT json_group_array(${TUPLE}) FROM (${merged ? MERGED : MIRROR} AND mod_seq > ? ORDER BY uid LIMIT ${PAGE})) AS entries,
       (SELECT json_group_array(uid) FROM expunged WHERE mailbox_id = mailbox.id AND expunged.mod_seq > ?) AS gone
     FROM mailbox WHERE id = ?`,
    [...(merged ? [mailbox.id] : [keyword, keyword, mailbox.folder_id]), modSeq, modSeq, mailbox.id],
  );
  if (!row) return null;
  return {
    entries: parseRows(row.entries),
    expunged: JSON.parse(row.gone) as number[],
    modSeq: row.mod_seq,
    uidNext: row.uid_next,
  };
}

/**
 * UIDs removed since a MODSEQ, ascending (RFC 7162 §3.2.10.1). Of what was removed long ago nothing is kept: all UIDs that
 * are not there are told then, as §3.2.5.2 allows.
 */
export async function vanishedSince(tx: ReadTx, mailboxId: number, modSeq: number): Promise<number[]> {
  const floor = await tx.get<{ value: string }>('SELECT value FROM meta WHERE key = ?', [floorKey(mailboxId)]);
  if (floor !== undefined && modSeq < Number(floor.value)) return absentUids(tx, mailboxId);
  const row = await tx.get<{ uids: string }>(
    `SELECT json_group_array(uid) AS uids
     FROM (SELECT DISTINCT uid FROM expunged WHERE mailbox_id = ? AND mod_seq > ? ORDER BY uid)`,
    [mailboxId, modSeq],
  );
  return JSON.parse(row!.uids) as number[];
}

async function absentUids(tx: ReadTx, mailboxId: number): Promise<number[]> {
  const row = await tx.get<{ uid_next: number; uids: string }>(
    `SELECT uid_next, COALESCE(
       (SELECT json_group_array(uid) FROM entry WHERE entry.mailbox_id = mailbox.id), '[]') AS uids
     FROM mailbox WHERE id = ?1 AND folder_id IS NULL
     UNION ALL SELECT uid_next, COALESCE((SELECT json_group_array(mirror_uid) FROM copy
       WHERE copy.folder_id = mailbox.folder_id AND mirror_uid IS NOT NULL AND state <> 'doomed'), '[]')
     FROM mailbox WHERE id = ?1 AND folder_id IS NOT NULL`,
    [mailboxId],
  );
  if (!row) return [];
  const present = new Set(JSON.parse(row.uids) as number[]);
  const absent: number[] = [];
  for (let uid = 1; uid < row.uid_next; uid += 1) if (!present.has(uid)) absent.push(uid);
  return absent;
}

/** How many removals of a mailbox are kept for clients that come back. */
const KEPT_REMOVALS = 10_000;
/** Listings of open mailboxes are never this many commits behind. */
const LAG = 1_000;

/** Forgets removals that lie further back than clients of today are likely to ask for. */
export async function pruneExpunged(tx: WriteTx, kept = KEPT_REMOVALS, lag = LAG): Promise<void> {
  const rows = await tx.all<{ id: number; floor: number | null }>(
    `SELECT id, (SELECT expunged.mod_seq FROM expunged WHERE mailbox_id = mailbox.id ORDER BY expunged.mod_seq DESC
       LIMIT 1 OFFSET ?) AS floor FROM mailbox`,
    [kept],
  );
  for (const { id, floor } of rows) {
    if (floor === null) continue;
    const last = Math.min(floor, tx.modSeq - lag);
    const gone = await tx.run('DELETE FROM expunged WHERE mailbox_id = ? AND mod_seq <= ?', [id, last]);
    if (gone === 0) continue;
    await tx.run('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', [
      floorKey(id),
      String(last),
    ]);
  }
}

function floorKey(mailboxId: number): string {
  return `expunged.${mailboxId}`;
}

async function select(
  tx: ReadTx,
  mailbox: MailboxRow,
  keyword: string,
  tail: string,
  bounds: readonly number[],
): Promise<ListingRow[]> {
  const merged = mailbox.folder_id === null;
  const sql = `SELECT json_group_array(${TUPLE}) AS rows FROM (${merged ? MERGED : MIRROR} ${tail})`;
  const params = merged ? [mailbox.id, ...bounds] : [keyword, keyword, mailbox.folder_id, ...bounds];
  const row = await tx.get<{ rows: string }>(sql, params);
  return parseRows(row!.rows);
}

function parseRows(json: string): ListingRow[] {
  return (JSON.parse(json) as Tuple[]).map(([uid, row, message, flags, modSeq, size, internalDate]) => ({
    uid,
    row,
    message,
    flags,
    modSeq,
    size,
    internalDate,
  }));
}
