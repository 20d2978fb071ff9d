import { unkeptMessages } from '../store/put-back.js';
import { isMergeboxError } from '../util/errors.js';
import type { SyncContext } from './context.js';

const PAGE = 200;

/**
 * Keeps the bytes of an account for which Mergebox decides: what its server loses is put back from them. Mail that cannot
 * be fetched now is left for the next time.
 */
export async function keepMail(
  { store, account, loadBytes, keep, log }: SyncContext,
  signal: AbortSignal,
): Promise<void> {
  if (account.authority !== 'mergebox' || account.local === true) return;
  let above = 0;
  let missed = 0;
  for (;;) {
    const page = await store.read((tx) => unkeptMessages(tx, account.id, above, PAGE));
    for (const { id } of page) {
      if (signal.aborted) return;
      above = id;
      try {
        const bytes = await loadBytes(id);
        await keep(bytes, (sha256) =>
          store.write((tx) => tx.run('UPDATE message SET pinned = ? WHERE id = ? AND pinned IS NULL', [sha256, id])),
        );
      } catch (error) {
        if (!isMergeboxError(error, 'nonexistent', 'unavailable', 'uidvalidity')) throw error;
        missed += 1;
      }
    }
    if (page.length < PAGE) break;
  }
  if (missed > 0) log.warn({ missed }, 'mail that could not be kept here yet; it is lost if its server loses it now');
}
