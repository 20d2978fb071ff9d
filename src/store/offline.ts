import { jsonIds } from './rows.js';
import type { ReadTx } from './store.js';

/** What of an account is to be readable without its server. */
export interface OfflineWish {
  /** Earliest INTERNALDATE, Unix seconds; null: all. */
  readonly since: number | null;
  /** Octets of the largest. */
  readonly maxBytes: number;
}

/** One mail at its server, as far as it matters for fetching it. */
export interface OfflineMail {
  readonly copyId: number;
  readonly messageId: number;
  readonly internalDate: number;
}

/** Copies with ids above `after` that are wished for, in the order of their ids; `last` is where the next page begins. */
export async function wishedPage(
  tx: ReadTx,
  accountId: number,
  { since, maxBytes }: OfflineWish,
  after: number,
  count: number,
): Promise<{ mails: readonly OfflineMail[]; last: number | null }> {
  const end = await tx.get<{ id: number | null }>(
    'SELECT MAX(id) AS id FROM (SELECT id FROM copy WHERE id > ? ORDER BY id LIMIT ?)',
    [after, count],
  );
  if (end === undefined || end.id === null) return { mails: [], last: null };
  const row = await tx.get<{ mails: string }>(
    `SELECT json_group_array(json_array(copy.id, copy.message_id, copy.internal_date)) AS mails
     FROM copy JOIN folder ON folder.id = copy.folder_id JOIN message ON message.id = copy.message_id
     WHERE copy.id > ? AND copy.id <= ? AND folder.account_id = ? AND copy.state = 'live' AND copy.uid IS NOT NULL
     AND copy.size <= ? AND copy.internal_date >= ? AND message.pinned IS NULL`,
    [after, end.id, accountId, maxBytes, since ?? 0],
  );
  const mails = (JSON.parse(row!.mails) as [number, number, number][]).map(([copyId, messageId, internalDate]) => ({
    copyId,
    messageId,
    internalDate,
  }));
  return { mails, last: end.id };
}

export interface OfflinePlace {
  readonly messageId: number;
  readonly size: number;
  readonly path: string;
  readonly uidValidity: number;
  readonly uid: number;
}

/** Where a copy is now; undefined when it has gone or moved on. */
export async function offlinePlace(tx: ReadTx, copyId: number): Promise<OfflinePlace | undefined> {
  return tx.get<OfflinePlace>(
    `SELECT copy.message_id AS "messageId", copy.size AS size, folder.path AS path,
       folder.uid_validity AS "uidValidity", copy.uid AS uid
     FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE copy.id = ? AND copy.state = 'live' AND copy.uid IS NOT NULL AND folder.uid_validity IS NOT NULL`,
    [copyId],
  );
}

/** A body that is kept, and who has a copy of its mail. */
export interface KeptMail {
  readonly messageId: number;
  readonly accountId: number;
  /** Of its newest copy there. */
  readonly internalDate: number;
  readonly size: number;
}

/** The accounts' copies of these messages; a message without any is not among the rows. */
export async function keptMails(tx: ReadTx, messageIds: readonly number[]): Promise<readonly KeptMail[]> {
  return tx.all<KeptMail>(
    `SELECT copy.message_id AS "messageId", folder.account_id AS "accountId", MAX(copy.internal_date) AS "internalDate",
       MAX(copy.size) AS size
     FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE copy.message_id IN (SELECT value FROM json_each(?)) AND copy.state <> 'doomed'
     GROUP BY copy.message_id, folder.account_id`,
    [jsonIds(messageIds)],
  );
}
