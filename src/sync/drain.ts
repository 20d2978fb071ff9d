import { type ActionRow, pendingActions, recordFailure } from '../store/actions.js';
import type { ReadTx } from '../store/store.js';
import { backoffDelay } from '../util/backoff.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { type LoadedAction, loadActions, nextBatch } from './batch.js';
import type { SyncContext } from './context.js';
import { append } from './execute-append.js';
import { expunge } from './execute-expunge.js';
import { pushFlags } from './execute-flags.js';
import { changeFolder } from './execute-folder.js';
import { type PullNow, transfer } from './execute-transfer.js';

/** Actions looked at together: batches are made of these. */
const WINDOW = 2_000;
/** After this many refusals an action waits for a person. */
const MAX_REFUSALS = 5;
/** Refusals that no retry changes (RFC 5530). */
const PERMANENT = /\[(NOPERM|CANNOT|OVERQUOTA|TOOBIG|ALREADYEXISTS)/i;

/**
 * Runs the next batch of actions that an account owes. Returns how many it ran, 0 when none may run now. A refusal is
 * recorded with the actions; a lost connection or a server out of reach is thrown, and nothing is lost by it.
 */
export async function drainOnce(context: SyncContext, pull: PullNow): Promise<number> {
  const now = Math.floor(Date.now() / 1000);
  const batch = await nextActions(context, now);
  if (batch.length === 0) return 0;
  await runBatch(context, batch, pull);
  return batch.length;
}

/** Unix seconds of the next retry; null when nothing waits for one. */
export async function nextRetry(context: SyncContext): Promise<number | null> {
  const row = await context.store.read((tx) =>
    tx.get<{ next: number | null }>(
      "SELECT MIN(next_try) AS next FROM action WHERE account_id = ? AND state = 'pending' AND next_try > 0",
      [context.account.id],
    ),
  );
  return row?.next ?? null;
}

async function nextActions(context: SyncContext, now: number): Promise<LoadedAction[]> {
  return context.store.snapshot(async (tx) =>
    nextBatch(await loadActions(tx, await pendingActions(tx, context.account.id, WINDOW)), now),
  );
}

async function runBatch(context: SyncContext, batch: readonly LoadedAction[], pull: PullNow): Promise<void> {
  try {
    await execute(context, batch, pull);
  } catch (error) {
    if (!isMergeboxError(error, 'refused', 'nonexistent', 'cannot', 'unavailable', 'uidvalidity')) throw error;
    if (batch.length > 1) {
      // One bad member must not stop the others. What the failed try has done counts: the rows are read again.
      for (const { row } of batch) {
        const again = await context.store.snapshot((tx) => reload(tx, row.id));
        if (again.length > 0) await runBatch(context, again, pull);
      }
      return;
    }
    await fail(context, batch[0]!, error);
    if (isMergeboxError(error, 'uidvalidity') && batch[0]!.folder) await pull(batch[0]!.folder.id);
  }
}

async function reload(tx: ReadTx, id: number): Promise<LoadedAction[]> {
  return loadActions(tx, await tx.all<ActionRow>('SELECT * FROM action WHERE id = ?', [id]));
}

async function execute(context: SyncContext, batch: readonly LoadedAction[], pull: PullNow): Promise<void> {
  const first = batch[0]!;
  switch (first.row.kind) {
    case 'flags':
      return exclusively(context, batch, (current) => pushFlags(context, current));
    case 'expunge':
      return exclusively(context, batch, (current) => expunge(context, current));
    case 'copy':
    case 'move':
      return transfer(context, batch, pull);
    case 'append':
      return append(context, first, pull);
    default:
      return changeFolder(context, first);
  }
}

/** With the folder locked and the rows read again, so that no pull changes what they say meanwhile. */
async function exclusively(
  context: SyncContext,
  batch: readonly LoadedAction[],
  run: (current: LoadedAction[]) => Promise<void>,
): Promise<void> {
  await context.folderLock.run(batch[0]!.folder?.id ?? 0, async () => {
    await run(
      await context.store.snapshot((tx) =>
        loadActions(
          tx,
          batch.map(({ row }) => row),
        ),
      ),
    );
  });
}

async function fail(context: SyncContext, { row }: LoadedAction, error: Error): Promise<void> {
  const refusals = row.attempts + 1;
  const permanent =
    isMergeboxError(error, 'cannot') ||
    (isMergeboxError(error, 'refused') && PERMANENT.test(error.message)) ||
    (isMergeboxError(error, 'refused', 'nonexistent') && refusals >= MAX_REFUSALS);
  const delayMs = backoffDelay(refusals, { baseMs: 2_000, maxMs: 600_000 });
  context.log.warn({ action: row.id, kind: row.kind, err: errorText(error), permanent }, 'action failed');
  await context.store.write(async (tx) => {
    if (row.kind === 'flags' || row.kind === 'expunge' || row.copy_id === null) {
      await tx.run('UPDATE action SET attempts = attempts + 1 WHERE id = ?', [row.id]);
    }
    await recordFailure(tx, [row.id], {
      error: errorText(error),
      nextTry: Math.floor((Date.now() + delayMs) / 1000) + 1,
      parked: permanent,
    });
  });
  faultPoint('action.refused');
}
