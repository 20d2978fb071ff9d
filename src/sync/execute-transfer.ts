import { createHash } from 'node:crypto';
import { owe, recordAttempt, removeActions } from '../store/actions.js';
import { copiesByIds } from '../store/copies.js';
import { bindCopy, markOwn } from '../store/bind.js';
import { sweepMessages } from '../store/messages.js';
import { dropCopies } from '../store/remove.js';
import { type CopyRow, jsonIds } from '../store/rows.js';
import type { ReadTx, WriteTx } from '../store/store.js';
import type { CopyUids, FolderRef } from '../upstream/port.js';
import { isMergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { chunks } from '../util/group.js';
import { authorise } from './authorise.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';
import { isFiledElsewhere } from './elsewhere.js';
import { recordInLedger } from './ledger.js';

/** Pulls a folder, so that what an earlier try delivered is recognised. */
export type PullNow = (folderId: number) => Promise<void>;

/** Mails that are compared before their sources are removed together. */
const REPAIRED = 50;

/** COPY or MOVE of copies from one folder to another of the same account. */
export async function transfer(context: SyncContext, batch: readonly LoadedAction[], pull: PullNow): Promise<void> {
  const { row, folder, targetFolder } = batch[0]!;
  if (!folder || !targetFolder) return finish(context, batch);
  if (row.attempts > 0) {
    await pull(targetFolder.id);
    if (row.kind === 'move') await removeLeftBehind(context, batch);
  }
  const delivered = await unbound(context, batch);
  let uids: CopyUids | null = null;
  if (delivered.length > 0 && folder.uid_validity !== null) {
    await context.store.write((tx) =>
      recordAttempt(
        tx,
        delivered.map((action) => action.row.id),
      ),
    );
    faultPoint('transfer.attempted');
    uids = await context.folderLock.run(folder.id, () => send(context, delivered));
    faultPoint('transfer.sent');
  }
  await settle(context, batch, uids);
  faultPoint('transfer.bound');
  // A server that does not tell new UIDs, or a folder never looked at: they are found by content.
  if ((await unbound(context, batch)).length > 0) await pull(targetFolder.id);
  await finish(context, batch, await takenElsewhere(context, batch, pull));
}

/** Moves that another client was first with: its choice stands, or the mail would be in both places. */
async function takenElsewhere(
  context: SyncContext,
  batch: readonly LoadedAction[],
  pull: PullNow,
): Promise<LoadedAction[]> {
  const { row, folder } = batch[0]!;
  const taken: LoadedAction[] = [];
  if (row.kind !== 'move') return taken;
  const targets = await context.store.read((tx) =>
    copiesByIds(
      tx,
      batch.flatMap(({ target }) => target?.id ?? []),
    ),
  );
  for (const action of batch.filter(({ target }) => target && targets.get(target.id)?.uid === null)) {
    // Since the last look that showed the source in place.
    const since = Math.min(action.target!.arrived, folder!.pulled);
    if (await isFiledElsewhere(context, action.target!, since, pull)) taken.push(action);
  }
  return taken;
}

/** Those whose target was not found upstream yet. */
async function unbound(context: SyncContext, batch: readonly LoadedAction[]): Promise<LoadedAction[]> {
  const targets = await context.store.read((tx) =>
    copiesByIds(
      tx,
      batch.flatMap(({ target }) => target?.id ?? []),
    ),
  );
  return batch.filter(
    ({ target, copy }) => target && targets.get(target.id)?.uid === null && copy?.uid !== null && copy,
  );
}

/**
 * An earlier MOVE may have ended half way, where the server has only COPY and EXPUNGE for it: the mail arrived and its
 * source is still there. UIDs that are gone are no error, so a whole MOVE is none either.
 */
async function removeLeftBehind(context: SyncContext, batch: readonly LoadedAction[]): Promise<void> {
  const folder = batch[0]!.folder!;
  const waiting = await unbound(context, batch);
  if (folder.uid_validity === null) return;
  const ref = { path: folder.path, uidValidity: folder.uid_validity };
  const settled = batch.filter((each) => !waiting.includes(each) && each.target && each.copy?.uid != null);
  // In steps, so that a connection that breaks again has not done all of it in vain.
  for (const page of chunks(settled, REPAIRED)) {
    const arrived: LoadedAction[] = [];
    for (const action of page) if (await isSameMail(context, action, ref)) arrived.push(action);
    if (arrived.length === 0) continue;
    const uids = arrived.map(({ copy }) => copy!.uid!);
    await context.folderLock.run(folder.id, () => context.upstream.expunge(ref, uids, authorise(context, arrived)));
    faultPoint('transfer.repaired');
  }
}

/**
 * Whether source and target are there, octet for octet: the target was recognised by its identity, which another mail
 * that came meanwhile may have as well, and then the source is the only one of its kind.
 */
async function isSameMail(context: SyncContext, { copy, target }: LoadedAction, source: FolderRef): Promise<boolean> {
  const found = await context.store.read((tx) =>
    tx.get<{ uid: number | null; uid_validity: number | null; path: string }>(
      `SELECT copy.uid, folder.uid_validity, folder.path FROM copy JOIN folder ON folder.id = copy.folder_id
       WHERE copy.id = ?`,
      [target!.id],
    ),
  );
  if (found?.uid == null || found.uid_validity === null) return false;
  try {
    // First: a source that is gone is what a whole MOVE leaves.
    const here = await hashOf(context, source, copy!.uid!);
    return here === (await hashOf(context, { path: found.path, uidValidity: found.uid_validity }, found.uid));
  } catch (error) {
    if (isMergeboxError(error, 'nonexistent')) return false;
    throw error;
  }
}

async function hashOf(context: SyncContext, ref: FolderRef, uid: number): Promise<string> {
  const hash = createHash('sha256');
  await context.upstream.fetchBody(ref, uid, { start: () => undefined, chunk: (chunk) => void hash.update(chunk) });
  return hash.digest('hex');
}

async function send(context: SyncContext, batch: readonly LoadedAction[]): Promise<CopyUids | null> {
  const { row, folder, targetFolder } = batch[0]!;
  const ref = { path: folder!.path, uidValidity: folder!.uid_validity! };
  const uids = batch.map(({ copy }) => copy!.uid!);
  return row.kind === 'move'
    ? context.upstream.move(ref, uids, targetFolder!.path, authorise(context, batch))
    : context.upstream.copy(ref, uids, targetFolder!.path);
}

/** Gives targets the UIDs that the server told. */
async function settle(context: SyncContext, batch: readonly LoadedAction[], uids: CopyUids | null): Promise<void> {
  const targetFolder = batch[0]!.targetFolder;
  await context.store.write(async (tx) => {
    if (uids && targetFolder && targetFolder.uid_validity === uids.uidValidity) {
      const known = new Set(
        (
          await tx.all<{ uid: number }>(
            'SELECT uid FROM copy WHERE folder_id = ? AND uid IN (SELECT value FROM json_each(?))',
            [targetFolder.id, jsonIds(uids.uids.values())],
          )
        ).map((row) => row.uid),
      );
      for (const { copy, target } of batch) {
        const uid = copy?.uid == null ? undefined : uids.uids.get(copy.uid);
        if (uid === undefined || !target || known.has(uid)) continue;
        await bindCopy(tx, context.book, target.id, uid, copy!.base);
        await markOwn(tx, [target.id]);
      }
    }
  });
}

/** Removes what is done: actions whose target is bound, sources that were moved; what was lost is said. */
async function finish(
  context: SyncContext,
  batch: readonly LoadedAction[],
  taken: readonly LoadedAction[] = [],
): Promise<void> {
  await context.store.write(async (tx) => {
    const targets = await copiesByIds(
      tx,
      batch.flatMap(({ target }) => target?.id ?? []),
    );
    const bound = batch.filter(
      ({ target }) => !target || !targets.has(target.id) || targets.get(target.id)!.uid !== null,
    );
    const missing = batch.filter((action) => !bound.includes(action));
    // A complete look at the target shows no such mail: another client removed the source first. What we hold the bytes
    // of can still be delivered; of the rest nothing is left to show.
    const untaken = missing.filter(({ row }) => !taken.some((each) => each.row.id === row.id));
    const pinned = await pinnedTargets(tx, untaken);
    const lost = missing.filter((action) => !pinned.includes(action));
    await owe(
      tx,
      pinned.map(({ row, target }) => ({ accountId: row.account_id, kind: 'append', targetId: target!.id })),
      batch[0]!.row.reason,
    );
    await dropCopies(
      tx,
      context.book,
      lost.flatMap(({ target }) => (target && targets.get(target.id)) ?? []),
    );
    if (lost.length > 0) {
      const actions = lost.map(({ row }) => row.id);
      context.log.warn({ actions }, 'mail was removed upstream before it could be transferred');
    }
    // Found by its content after the server's OK; after a lost answer it may as well be what another client put there.
    if (batch[0]!.row.attempts === 0) await markOwn(tx, targets.keys());
    if (batch[0]!.row.kind === 'move') await removeSources(tx, context, batch);
    await removeActions(
      tx,
      batch.map(({ row }) => row.id),
    );
  });
  faultPoint('transfer.acknowledged');
}

async function pinnedTargets(tx: ReadTx, missing: readonly LoadedAction[]): Promise<LoadedAction[]> {
  const rows = await tx.all<{ id: number }>(
    'SELECT id FROM message WHERE pinned IS NOT NULL AND id IN (SELECT value FROM json_each(?))',
    [jsonIds(missing.map(({ target }) => target!.message_id))],
  );
  const ids = new Set(rows.map((row) => row.id));
  return missing.filter(({ target }) => ids.has(target!.message_id));
}

async function removeSources(tx: WriteTx, context: SyncContext, batch: readonly LoadedAction[]): Promise<void> {
  const sources = batch.flatMap(({ copy }): CopyRow[] => (copy ? [copy] : []));
  await recordInLedger(tx, context, batch, 'move');
  await tx.run("DELETE FROM copy WHERE state = 'doomed' AND id IN (SELECT value FROM json_each(?))", [
    jsonIds(sources.map((copy) => copy.id)),
  ]);
  await sweepMessages(tx, new Set(sources.map((copy) => copy.message_id)));
}
