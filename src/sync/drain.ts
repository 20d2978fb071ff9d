import { type ActionKind, type ActionRow, pendingActions, recordAttempt, recordFailure } from '../store/actions.js';
import { parkAction } from '../store/park.js';
import { jsonIds } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';
import { isPassing, isThrottling, responseCode, retryHintMs } from '../upstream/refusals.js';
import { backoffDelay } from '../util/backoff.js';
import { errorText, isMergeboxError, type MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { groupBy } from '../util/group.js';
import { type LoadedAction, loadActions, nextBatch } from './batch.js';
import type { SyncContext } from './context.js';
import { append } from './execute-append.js';
import { expunge } from './execute-expunge.js';
import { changeKey, pushFlags, pushFlagsOneByOne } from './execute-flags.js';
import { changeFolder } from './execute-folder.js';
import { pin } from './execute-pin.js';
import { retire } from './execute-retire.js';
import { type PullNow, transfer } from './execute-transfer.js';

/** Actions looked at together: batches are made of these. */
const WINDOW = 2_000;
/** After this many refusals that tell no reason, an action waits for a person. */
const MAX_REFUSALS = 5;
/** Longest pause before an action is tried again that took the connection down. */
const MAX_POISON_MS = 60_000;

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
    if (isMergeboxError(error, 'connection', 'timeout', 'protocol')) await postpone(context, batch, error);
    if (!isMergeboxError(error, 'refused', 'nonexistent', 'cannot', 'unavailable', 'uidvalidity')) throw error;
    const verdict = judge(error, batch[0]!.row.kind);
    if (verdict === 'wait') {
      await fail(context, batch, error, verdict);
      throw error;
    }
    const parts = verdict === 'forbidden' && batch.length > 1 ? alike(batch) : batch.map((action) => [action]);
    if (parts.length > 1) {
      // One bad member must not stop the others. What the failed try has done counts: the rows are read again.
      for (const part of parts) {
        const again = await context.store.snapshot((tx) => reload(tx, part));
        if (again.length > 0) await runBatch(context, again, pull);
      }
      return;
    }
    await fail(context, batch, await theRefusedFlags(context, batch, error), verdict);
    if (isMergeboxError(error, 'uidvalidity') && batch[0]!.folder) await pull(batch[0]!.folder.id);
  }
}

/** What the server will refuse or take as one: all of a batch, but of flags only those that change alike. */
function alike(batch: readonly LoadedAction[]): LoadedAction[][] {
  return batch[0]!.row.kind === 'flags' ? [...groupBy(batch, changeKey).values()] : [[...batch]];
}

/** Of several flags that were refused together, those that can be set or cleared are: the rest is what was refused. */
async function theRefusedFlags(context: SyncContext, batch: readonly LoadedAction[], error: Error): Promise<Error> {
  const [action] = batch;
  if (batch.length > 1 || action!.row.kind !== 'flags' || !isMergeboxError(error, 'refused')) return error;
  let refusal: Error = error;
  await exclusively(context, batch, async ([current]) => {
    refusal = (await pushFlagsOneByOne(context, current!)) ?? error;
  });
  return refusal;
}

async function reload(tx: ReadTx, batch: readonly LoadedAction[]): Promise<LoadedAction[]> {
  const ids = jsonIds(batch.map(({ row }) => row.id));
  return loadActions(
    tx,
    await tx.all<ActionRow>(
      "SELECT * FROM action WHERE state = 'pending' AND id IN (SELECT value FROM json_each(?)) ORDER BY id",
      [ids],
    ),
  );
}

async function execute(context: SyncContext, batch: readonly LoadedAction[], pull: PullNow): Promise<void> {
  const first = batch[0]!;
  switch (first.row.kind) {
    case 'flags':
      return exclusively(context, batch, (current) => pushFlags(context, current));
    case 'expunge':
      return exclusively(context, batch, (current) => expunge(context, current));
    case 'retire':
      return exclusively(context, batch, (current) => retire(context, current));
    case 'copy':
    case 'move':
      return transfer(context, batch, pull);
    case 'append':
      return append(context, first, pull);
    case 'pin':
      return pin(context, batch, pull);
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

/** Records a refusal: it is tried again later, or parked when no retry will help. */
async function fail(
  context: SyncContext,
  batch: readonly LoadedAction[],
  error: Error,
  verdict: Verdict,
): Promise<void> {
  const { kind, attempts } = batch[0]!.row;
  const refusals = attempts + 1;
  const unclear = verdict === 'unclear' && isMergeboxError(error, 'refused', 'nonexistent');
  const parks = verdict === 'permanent' || verdict === 'forbidden' || (unclear && refusals >= MAX_REFUSALS);
  const delayMs = Math.max(backoffDelay(refusals, { baseMs: 2_000, maxMs: 600_000 }), retryHintMs(error) ?? 0);
  const actions = batch.map(({ row }) => row.id);
  context.log.warn({ actions, kind, err: errorText(error), parked: parks }, 'action failed');
  await context.store.write(async (tx) => {
    if (kind === 'flags' || kind === 'expunge' || batch[0]!.row.copy_id === null) await recordAttempt(tx, actions);
    if (!parks) {
      await recordFailure(tx, actions, {
        error: errorText(error),
        nextTry: Math.floor((Date.now() + delayMs) / 1000) + 1,
      });
      return;
    }
    for (const action of await reload(tx, batch)) await parkAction(tx, context.book, action, errorText(error));
  });
  faultPoint('action.refused');
}

/** A batch that takes the connection down again and again lets others go first. */
async function postpone(context: SyncContext, batch: readonly LoadedAction[], error: Error): Promise<void> {
  const { attempts, kind } = batch[0]!.row;
  const actions = batch.map(({ row }) => row.id);
  const delayMs = attempts < 2 ? 0 : backoffDelay(attempts, { baseMs: 2_000, maxMs: MAX_POISON_MS });
  const nextTry = delayMs === 0 ? 0 : Math.floor((Date.now() + delayMs) / 1000) + 1;
  await context.store.write(async (tx) => {
    if (kind === 'flags' || kind === 'expunge') await recordAttempt(tx, actions);
    await recordFailure(tx, actions, { error: errorText(error), nextTry });
  });
}

/**
 * What a retry can do: nothing at all (`permanent`; `forbidden` speaks of the whole folder), help once the server allows
 * commands again (`wait`: the account pauses), help later (`later`), or it is not clear.
 */
type Verdict = 'permanent' | 'forbidden' | 'wait' | 'later' | 'unclear';

function judge(error: MergeboxError, kind: ActionKind): Verdict {
  if (error.code === 'cannot') return 'permanent';
  if (error.code !== 'refused') return 'unclear';
  const code = responseCode(error);
  if (code === 'NOPERM') return 'forbidden';
  if (code === 'CANNOT' || code === 'OVERQUOTA' || code === 'TOOBIG' || code === 'ALREADYEXISTS') return 'permanent';
  if (isThrottling(error)) return 'wait';
  // RFC 5530 §3: for a STORE it is the number of keywords, which does not change by itself.
  if (code === 'LIMIT') return kind === 'flags' ? 'permanent' : 'later';
  return isPassing(error) ? 'later' : 'unclear';
}
