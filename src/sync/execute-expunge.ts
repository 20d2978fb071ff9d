import { removeActions } from '../store/actions.js';
import { dropCopies } from '../store/remove.js';
import { faultPoint } from '../util/fault.js';
import { authorise } from './authorise.js';
import { isLookedFor, type LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';
import { recordInLedger } from './ledger.js';

/** Removes doomed copies of one folder, exactly these, and writes them into the ledger. */
export async function expunge(context: SyncContext, loaded: readonly LoadedAction[]): Promise<void> {
  const batch = loaded.filter((action) => !isLookedFor(action));
  if (batch.length === 0) return;
  const folder = batch[0]!.folder;
  const present = batch.filter(({ copy }) => copy && copy.state === 'doomed' && copy.uid !== null);
  if (folder && folder.uid_validity !== null && present.length > 0) {
    const ref = { path: folder.path, uidValidity: folder.uid_validity };
    await context.upstream.expunge(
      ref,
      present.map(({ copy }) => copy!.uid!),
      authorise(context, present),
    );
    faultPoint('expunge.sent');
  }
  await context.store.write(async (tx) => {
    await recordInLedger(tx, context, present, 'expunge');
    await dropCopies(
      tx,
      context.book,
      batch.flatMap(({ copy }) => (copy?.state === 'doomed' ? copy : [])),
    );
    await removeActions(
      tx,
      batch.map(({ row }) => row.id),
    );
  });
  faultPoint('expunge.acknowledged');
}
