import type { AccountBook } from './account-book.js';
import type { Arrival } from './bind.js';
import { copiesByIds } from './copies.js';

import { insertMessages } from './messages.js';
import { hideInMirrors, settleContents } from './remove.js';
import { jsonIds } from './rows.js';
import type { WriteTx } from './store.js';

/**
 * Copies under whose upstream UID other bytes are found than clients were shown: the bytes under a UID of ours never
 * change (RFC 9051 §2.3.1.1), so clients see the old mail expunged, and the new one when it is placed.
 */
export async function renewCopies(
  tx: WriteTx,
  book: AccountBook,
  renewals: readonly { readonly id: number; readonly arrival: Pick<Arrival, 'message' | 'internalDate'> }[],
): Promise<void> {
  if (renewals.length === 0) return;
  const copies = await copiesByIds(
    tx,
    renewals.map(({ id }) => id),
  );
  await hideInMirrors(tx, [...copies.values()]);
  const messages = await insertMessages(
    tx,
    renewals.map(({ arrival }) => arrival.message),
  );
  for (const [index, { id, arrival }] of renewals.entries()) {
    await tx.run(
      'UPDATE copy SET message_id = ?, size = ?, internal_date = ?, entry_id = NULL, mirror_uid = NULL WHERE id = ?',
      [messages[index]!, arrival.message.size, arrival.internalDate, id],
    );
  }
  // Nor may an upload that waits for the old bytes get the new ones.
  await tx.run("DELETE FROM action WHERE kind = 'pin' AND copy_id IN (SELECT value FROM json_each(?))", [
    jsonIds(copies.keys()),
  ]);
  await settleContents(tx, book, [...copies.values()]);
}
