import { recordDestroyed } from '../store/actions.js';
import type { WriteTx } from '../store/store.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';

/** Writes what actions did, or are about to do, to mail at its server into the ledger; those without a UID did nothing. */
export async function recordInLedger(
  tx: WriteTx,
  context: SyncContext,
  actions: readonly LoadedAction[],
  kind: 'expunge' | 'mark' | 'move' | 'retire',
): Promise<void> {
  await recordDestroyed(
    tx,
    actions.flatMap(({ row, copy, folder }) =>
      copy?.uid == null || !folder
        ? []
        : {
            account: context.account.name,
            folder: folder.path,
            uidValidity: folder.uid_validity ?? 0,
            uid: copy.uid,
            kind,
            reason: row.reason,
          },
    ),
  );
}
