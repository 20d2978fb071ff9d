import type { ListingRow } from '../mail/listing.js';
import type { MailboxRow } from './rows.js';
import type { ReadTx } from './store.js';

type Tuple = [uid: number, row: number, message: number, flags: string, modSeq: number, size: number, date: number];

/** Entries a page: parsed in one go, so small enough not to hold up the event loop. */
const PAGE = 5_000;

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
      select(tx, mailbox, keyword, `AND ${uidColumn} > ? ORDER BY ${uidColumn} LIMIT ${PAGE}`, after),
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

/** What happened in a mailbox since a MODSEQ (RFC 7162), read in one snapshot: one consistent step of its change feed; null when it was deleted. */
export async function changesSince(
  tx: ReadTx,
  mailbox: MailboxRow,
  keyword: string,
  modSeq: number,
): Promise<Changes | null> {
  const now = await tx.get<{ mod_seq: number; uid_next: number }>(
    'SELECT mod_seq, uid_next FROM mailbox WHERE id = ?',
    [mailbox.id],
  );
  if (!now) return null;
  if (now.mod_seq === modSeq) return { entries: [], expunged: [], modSeq, uidNext: now.uid_next };
  const uidColumn = mailbox.folder_id === null ? 'uid' : 'mirror_uid';
  const entries = await select(tx, mailbox, keyword, `AND mod_seq > ? ORDER BY ${uidColumn}`, modSeq);
  const gone = await tx.all<{ uid: number }>('SELECT uid FROM expunged WHERE mailbox_id = ? AND mod_seq > ?', [
    mailbox.id,
    modSeq,
  ]);
  return { entries, expunged: gone.map((row) => row.uid), modSeq: now.mod_seq, uidNext: now.uid_next };
}

async function select(
  tx: ReadTx,
  mailbox: MailboxRow,
  keyword: string,
  tail: string,
  bound: number,
): Promise<ListingRow[]> {
  const merged = mailbox.folder_id === null;
  const sql = `SELECT json_group_array(json_array(uid, id, message_id, shown, mod_seq, size, internal_date)) AS rows FROM (${merged ? MERGED : MIRROR} ${tail})`;
  const params = merged ? [mailbox.id, bound] : [keyword, keyword, mailbox.folder_id, bound];
  const row = await tx.get<{ rows: string }>(sql, params);
  return (JSON.parse(row!.rows) as Tuple[]).map(([uid, id, message, flags, modSeq, size, date]) => ({
    uid,
    row: id,
    message,
    flags,
    modSeq,
    size,
    internalDate: date,
  }));
}
