import { foldersOf } from '../store/folders.js';
import type { CopyRow } from '../store/rows.js';
import { isMergeboxError } from '../util/errors.js';
import type { SyncContext } from './context.js';
import type { PullNow } from './execute-transfer.js';

/**
 * Whether the mail of a copy that should be in its folder and is not has come to another folder of the account after the
 * MODSEQ `since`: another client took it there. Looks at all folders first.
 */
export async function isFiledElsewhere(
  context: SyncContext,
  copy: CopyRow,
  since: number,
  pull: PullNow,
): Promise<boolean> {
  const { store, account, log } = context;
  const folders = await store.read((tx) => foldersOf(tx, account.id));
  for (const { id, path } of folders) {
    if (id === copy.folder_id) continue;
    await pull(id).catch((error: unknown) => {
      // Gone since it was listed: then the mail is not there either.
      if (!isMergeboxError(error, 'nonexistent', 'unavailable')) throw error;
      log.debug({ folder: path }, 'a folder could not be looked at');
    });
  }
  const found = await store.read((tx) =>
    tx.get(
      `SELECT 1 FROM message AS own JOIN message ON message.match_key = own.match_key
       JOIN copy ON copy.message_id = message.id JOIN folder ON folder.id = copy.folder_id
       WHERE own.id = ? AND folder.account_id = ? AND copy.folder_id <> ? AND copy.state = 'live' AND copy.uid IS NOT NULL
       AND copy.arrived > ?`,
      [copy.message_id, account.id, copy.folder_id, since],
    ),
  );
  return found !== undefined;
}
