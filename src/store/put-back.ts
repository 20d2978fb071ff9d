import { owe } from './actions.js';
import { type CopyRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

/** Copies that their server lost and that are to return keep all that clients know of them. */
export async function makePending(tx: WriteTx, copyIds: readonly number[]): Promise<void> {
  await tx.run(
    "UPDATE copy SET state = 'pending', uid = NULL, base = '' WHERE id IN (SELECT value FROM json_each(?))",
    [jsonIds(copyIds)],
  );
}

/** Owes the upload of those of a lost folder's mails whose bytes are kept here. */
export async function putBackFolder(tx: WriteTx, folder: { id: number; account_id: number }): Promise<void> {
  const kept = await tx.all<Pick<CopyRow, 'id'>>(
    `SELECT copy.id FROM copy JOIN message ON message.id = copy.message_id
     WHERE copy.folder_id = ? AND copy.state IN ('live', 'vanished') AND message.pinned IS NOT NULL ORDER BY copy.id`,
    [folder.id],
  );
  const ids = kept.map((copy) => copy.id);
  await makePending(tx, ids);
  await owe(
    tx,
    ids.map((targetId) => ({ accountId: folder.account_id, kind: 'append' as const, targetId })),
    'reconciliation: Mergebox decides for the account, and its server lost the folder',
  );
}

/** Contents of an account's mail whose bytes are not kept here, above an id, ascending. */
export async function unkeptMessages(
  tx: ReadTx,
  accountId: number,
  above: number,
  limit: number,
): Promise<{ id: number }[]> {
  return tx.all<{ id: number }>(
    `SELECT DISTINCT message.id FROM message JOIN copy ON copy.message_id = message.id
     JOIN folder ON folder.id = copy.folder_id
     WHERE message.id > ? AND message.pinned IS NULL AND folder.account_id = ? AND folder.virtual = 0
     AND copy.state = 'live' AND copy.uid IS NOT NULL ORDER BY message.id LIMIT ?`,
    [above, accountId, limit],
  );
}
