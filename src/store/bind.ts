import type { FlagText } from '../mail/flags.js';
import type { AccountBook } from './account-book.js';
import { oweFlags } from './actions.js';
import { jsonIds, type NewMessage } from './rows.js';
import type { WriteTx } from './store.js';

/** A mail that a pull found under a UID that is not known. */
export interface Arrival {
  readonly uid: number;
  readonly flags: FlagText;
  readonly internalDate: number;
  readonly message: NewMessage;
}

/** A copy that waited for its UID was found or acknowledged upstream under `uid`, with `base` as its flags there. */
export async function bindCopy(
  tx: WriteTx,
  book: AccountBook,
  copyId: number,
  uid: number,
  base: FlagText,
): Promise<void> {
  await tx.run(
    "UPDATE copy SET uid = ?, base = ?, state = CASE state WHEN 'doomed' THEN state ELSE 'live' END WHERE id = ?",
    [uid, base, copyId],
  );
  await oweFlags(tx, book, [copyId], 'reconciliation: flags changed while the copy was on its way');
}

/**
 * Notes that these copies came to be by commands of ours that their server acknowledged: they explain no mail that
 * vanished elsewhere in the account.
 */
export async function markOwn(tx: WriteTx, copyIds: Iterable<number>): Promise<void> {
  await tx.run('UPDATE copy SET arrived = 0 WHERE uid IS NOT NULL AND id IN (SELECT value FROM json_each(?))', [
    jsonIds(copyIds),
  ]);
}
