import { removeActions } from '../store/actions.js';
import { isMergeboxError } from '../util/errors.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';
import type { PullNow } from './execute-transfer.js';

/**
 * Keeps the bytes of mails that are to be uploaded to another account: from then on the upload depends on nobody. A
 * mail that another client destroyed before takes its row with it when that is known, and the upload finds nothing.
 */
export async function pin(context: SyncContext, batch: readonly LoadedAction[], pull: PullNow): Promise<void> {
  for (const { row, folder } of batch) {
    try {
      await keepBytes(context, row.id);
    } catch (error) {
      if (isMergeboxError(error, 'unavailable') && folder) await pull(folder.id);
      throw error;
    }
  }
}

async function keepBytes(context: SyncContext, pinId: number): Promise<void> {
  const done = (): Promise<void> => context.store.write((tx) => removeActions(tx, [pinId]));
  const upload = await context.store.read((tx) =>
    tx.get<{ id: number }>(
      `SELECT message.id FROM action JOIN copy ON copy.id = action.target_id JOIN message ON message.id = copy.message_id
       WHERE action.after_id = ? AND message.pinned IS NULL`,
      [pinId],
    ),
  );
  if (!upload) return done();
  const bytes = await context.loadBytes(upload.id);
  await context.keep(bytes, async (sha256) => {
    await context.store.write(async (tx) => {
      await tx.run('UPDATE message SET pinned = ? WHERE id = ? AND pinned IS NULL', [sha256, upload.id]);
      await removeActions(tx, [pinId]);
    });
  });
}
