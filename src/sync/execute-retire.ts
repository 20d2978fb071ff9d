import { owe, removeActions } from '../store/actions.js';
import { copiesByUids } from '../store/copies.js';
import { foldersOf } from '../store/folders.js';
import { authorise } from './authorise.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';
import { recordInLedger } from './ledger.js';

const REASON = 'policy: leaveOnServer';

/** Mail that was left at its server long enough is to be given up there: as actions, so that each has its record. */
export async function oweRetirements({ upstream, store, account, book }: SyncContext): Promise<void> {
  const uids = (await upstream.retirable?.()) ?? [];
  if (uids.length === 0 || !book.pushes(account.id)) return;
  await store.write(async (tx) => {
    const inbox = (await foldersOf(tx, account.id)).find(({ role }) => role === 'inbox');
    const copies = inbox ? await copiesByUids(tx, inbox.id, uids) : [];
    const owed = await tx.all<{ copy_id: number }>(
      "SELECT copy_id FROM action WHERE account_id = ? AND kind = 'retire' AND copy_id IS NOT NULL",
      [account.id],
    );
    const asked = new Set(owed.map((row) => row.copy_id));
    const due = copies.filter((copy) => copy.state === 'live' && !asked.has(copy.id));
    await owe(
      tx,
      due.map((copy) => ({ accountId: account.id, kind: 'retire', copyId: copy.id })),
      REASON,
    );
  });
}

/** Removes mail at its server that stays here. */
export async function retire(context: SyncContext, batch: readonly LoadedAction[]): Promise<void> {
  const folder = batch[0]!.folder;
  const present = batch.filter(({ copy }) => copy && copy.state === 'live' && copy.uid !== null);
  if (folder && folder.uid_validity !== null && present.length > 0) {
    await context.upstream.retire?.(
      { path: folder.path, uidValidity: folder.uid_validity },
      present.map(({ copy }) => copy!.uid!),
      authorise(context, present),
    );
  }
  await context.store.write(async (tx) => {
    await recordInLedger(tx, context, present, 'retire');
    await removeActions(
      tx,
      batch.map(({ row }) => row.id),
    );
  });
}
