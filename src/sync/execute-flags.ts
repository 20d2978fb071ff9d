import { addFlags, type FlagText, removeFlags } from '../mail/flags.js';
import { agreedFlags, owedChange } from '../mail/reconcile.js';
import { oweFlags, removeActions } from '../store/actions.js';
import { jsonIds } from '../store/rows.js';
import type { FlagChange, FolderRef } from '../upstream/port.js';
import { isMergeboxError, type MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { groupBy } from '../util/group.js';
import { authorise } from './authorise.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';
import { recordInLedger } from './ledger.js';

interface Push {
  readonly action: LoadedAction;
  readonly uid: number;
  /** What the copy's server is to show; read before the STORE, so a change made meanwhile stays owed. */
  readonly flags: FlagText;
  readonly change: FlagChange;
}

/** Pushes flags of copies in one folder: one UID STORE for all that change alike. */
export async function pushFlags(context: SyncContext, batch: readonly LoadedAction[]): Promise<void> {
  const folder = batch[0]!.folder;
  const pushes = batch.flatMap((action) => plan(action));
  await recordMarks(context, pushes);
  if (folder && folder.uid_validity !== null) {
    const ref = { path: folder.path, uidValidity: folder.uid_validity };
    for (const [, same] of groupBy(pushes, ({ change }) => JSON.stringify(change))) {
      await send(context, ref, same, same[0]!.change);
      faultPoint('flags.sent');
    }
  }
  await context.store.write(async (tx) => {
    for (const [flags, same] of groupBy(pushes, (push) => push.flags)) {
      await tx.run('UPDATE copy SET base = ? WHERE id IN (SELECT value FROM json_each(?))', [
        flags,
        jsonIds(same.map((push) => push.action.copy!.id)),
      ]);
    }
    await removeActions(
      tx,
      batch.map(({ row }) => row.id),
    );
    await oweFlags(
      tx,
      context.book,
      pushes.map((push) => push.action.copy!.id),
      batch[0]!.row.reason,
    );
  });
  faultPoint('flags.acknowledged');
}

async function send(context: SyncContext, ref: FolderRef, same: readonly Push[], change: FlagChange): Promise<void> {
  if (change.add.length === 0 && change.remove.length === 0) return;
  const destroys = change.add.includes('\\Deleted');
  await context.upstream.storeFlags(
    ref,
    same.map((push) => push.uid),
    change,
    ...(destroys
      ? [
          authorise(
            context,
            same.map((push) => push.action),
          ),
        ]
      : []),
  );
}

/**
 * Pushes the flags of one copy each by itself, so that one its server refuses keeps no other back. What it took counts
 * as agreed on. Returns the last refusal, null when nothing was refused.
 */
export async function pushFlagsOneByOne(context: SyncContext, action: LoadedAction): Promise<MergeboxError | null> {
  const { copy, folder } = action;
  const [push] = plan(action);
  if (!push || !copy || folder?.uid_validity == null) return null;
  const { add, remove } = push.change;
  if (add.length + remove.length < 2) return null;
  const ref = { path: folder.path, uidValidity: folder.uid_validity };
  await recordMarks(context, [push]);
  let base = copy.base;
  let refusal: MergeboxError | null = null;
  const single = [
    ...add.map((flag) => ({ add: [flag], remove: [] })),
    ...remove.map((flag) => ({ add: [], remove: [flag] })),
  ];
  for (const change of single) {
    try {
      await send(context, ref, [push], change);
      base = addFlags(removeFlags(base, change.remove), change.add);
    } catch (error) {
      if (!isMergeboxError(error, 'refused')) throw error;
      refusal = error;
    }
  }
  await context.store.write((tx) => tx.run('UPDATE copy SET base = ? WHERE id = ?', [base, copy.id]));
  return refusal;
}

/**
 * A mark \Deleted lets anybody's EXPUNGE destroy the mail, so it stands in the ledger as well, and before it is sent:
 * one whose answer was lost is found done by the next look. A mark that is tried again stands there again.
 */
async function recordMarks(context: SyncContext, pushes: readonly Push[]): Promise<void> {
  const marks = pushes.filter(({ change }) => change.add.includes('\\Deleted'));
  if (marks.length === 0) return;
  await context.store.write((tx) =>
    recordInLedger(
      tx,
      context,
      marks.map(({ action }) => action),
      'mark',
    ),
  );
}

/** What the server is asked for, the same for all copies that change alike. */
export function changeKey(action: LoadedAction): string {
  return JSON.stringify(plan(action)[0]?.change ?? null);
}

function plan(action: LoadedAction): Push[] {
  const { copy, folder } = action;
  if (!copy || copy.uid === null || !folder) return [];
  const { base, flags, refused } = copy;
  const change = owedChange({ base, flags, refused, offered: folder.flags_offered });
  return [{ action, uid: copy.uid, flags: agreedFlags(base, flags, refused), change }];
}
