import { createHash } from 'node:crypto';
import { flagList, flagText } from '../mail/flags.js';
import { canHold } from '../mail/reconcile.js';
import { type ActionRow, APPEND_ALWAYS, recordAttempt, removeActions } from '../store/actions.js';
import { bindCopy, markOwn } from '../store/bind.js';
import { copiesByIds } from '../store/copies.js';
import { folderById } from '../store/folders.js';
import { parkAction } from '../store/park.js';
import { dropCopies } from '../store/remove.js';
import { type CopyRow, type FolderRow, jsonIds } from '../store/rows.js';
import type { WriteTx } from '../store/store.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { type LoadedAction, loadActions } from './batch.js';
import type { SyncContext } from './context.js';
import { isFiledElsewhere } from './elsewhere.js';
import type { PullNow } from './execute-transfer.js';

/**
 * Uploads one message. A try that may have succeeded before is looked for first. What the server stored is read back
 * and compared before our own bytes are given up or a source elsewhere is removed.
 */
export async function append(context: SyncContext, action: LoadedAction, pull: PullNow): Promise<void> {
  const { row, target, targetFolder } = action;
  if (!target || !targetFolder) return context.store.write((tx) => removeActions(tx, [row.id]));
  // Some servers file what they send: a mail in Sent that is ours is recognised like one of an earlier try.
  const mayBeThere = row.attempts > 0 || (targetFolder.role === 'sent' && row.detail !== APPEND_ALWAYS);
  if (mayBeThere) {
    await context.store.write((tx) => recordAttempt(tx, [row.id]));
    await pull(targetFolder.id);
  }
  const before = (await context.store.read((tx) => copiesByIds(tx, [target.id]))).get(target.id);
  if (!before) return context.store.write((tx) => removeActions(tx, [row.id]));
  const bytes = await context.loadBytes(target.message_id).catch(async (error: unknown) => {
    if (await isObtainable(context, target)) throw error;
    return null;
  });
  if (bytes === null) {
    await keepSources(context, row, `append to "${targetFolder.path}": the bytes are nowhere`);
    return giveUp(context, action);
  }
  if (before.uid === null) {
    if (!mayBeThere) await context.store.write((tx) => recordAttempt(tx, [row.id]));
    faultPoint('append.attempted');
    await context.folderLock.run(targetFolder.id, () => upload(context, before, targetFolder, bytes, row.reason));
    // A server without UIDPLUS, or a folder never looked at: found by content.
    if ((await uidOf(context, target.id)) === null) await pull(targetFolder.id);
  }
  const uid = await uidOf(context, target.id);
  if (uid === null && (await isFiledElsewhere(context, target, target.arrived, pull))) return giveUp(context, action);
  if (uid === null) {
    // Another try would be another upload: a person decides.
    throw new MergeboxError(
      'cannot',
      `append to "${targetFolder.path}": the server accepted the mail but shows none like it; our bytes are kept`,
    );
  }
  await verify(context, action, uid, bytes, pull);
}

/** Appends whose bytes got their note when they came (mailbox/append.ts). */
const NOTED = /^(client: APPEND|submission|rescued)/;

async function upload(
  context: SyncContext,
  copy: CopyRow,
  folder: FolderRow,
  bytes: Buffer,
  reason: string,
): Promise<void> {
  if (context.account.local !== true) return uploadAndBind(context, copy, folder, bytes, null);
  const bind = (sha256: string): Promise<void> => uploadAndBind(context, copy, folder, bytes, sha256);
  if (NOTED.test(reason)) return context.keep(bytes, bind);
  const mailbox = await context.store.read((tx) =>
    tx.get<{ name: string }>('SELECT name FROM mailbox WHERE folder_id = ?', [folder.id]),
  );
  const place = { mailbox: mailbox?.name ?? 'INBOX', account: context.account.name };
  const note = { ...place, flags: copy.flags, internalDate: copy.internal_date, reason };
  return context.keep(bytes, bind, JSON.stringify(note));
}

/** `kept` is the file that holds the bytes for good, where the folder lives here. */
async function uploadAndBind(
  context: SyncContext,
  copy: CopyRow,
  folder: FolderRow,
  bytes: Buffer,
  kept: string | null,
): Promise<void> {
  const flags = flagText(flagList(copy.flags).filter((flag) => canHold(folder.flags_offered, flag)));
  const told = await context.upstream.append(folder.path, { bytes, flags, internalDate: copy.internal_date });
  faultPoint('append.uploaded');
  if (!told) return;
  await context.store.write(async (tx) => {
    // Of a folder never looked at, this is the first that is known; UIDs go on from here.
    await tx.run('UPDATE folder SET uid_validity = ?, uid_next = ? WHERE id = ? AND uid_validity IS NULL', [
      told.uidValidity,
      told.uid,
      folder.id,
    ]);
    if ((await folderById(tx, folder.id))?.uid_validity !== told.uidValidity) return;
    // All of the copy's flags count as agreed on: those the server cannot hold are never read as cleared.
    await bindCopy(tx, context.book, copy.id, told.uid, copy.flags);
    if (kept !== null) await tx.run('UPDATE message SET pinned = ? WHERE id = ?', [kept, copy.message_id]);
    await markOwn(tx, [copy.id]);
  });
  faultPoint('append.bound');
}

/** Whether a server, or a file of ours, has the bytes or may have them again (after a UIDVALIDITY reset). */
async function isObtainable(context: SyncContext, target: CopyRow): Promise<boolean> {
  const found = await context.store.read((tx) =>
    tx.get(
      `SELECT 1 FROM message WHERE id = ? AND (pinned IS NOT NULL OR EXISTS (
         SELECT 1 FROM copy WHERE copy.message_id = message.id AND (copy.uid IS NOT NULL
         OR NOT EXISTS (SELECT 1 FROM action WHERE action.target_id = copy.id))))`,
      [target.message_id],
    ),
  );
  return found !== undefined;
}

/** The source of a move must outlive a target that is not the same, or that was never made. */
async function parkAfter(tx: WriteTx, context: SyncContext, row: ActionRow, why: string): Promise<void> {
  const after = await tx.all<ActionRow>("SELECT * FROM action WHERE after_id = ? AND state = 'pending'", [row.id]);
  for (const waiting of await loadActions(tx, after)) await parkAction(tx, context.book, waiting, why);
}

async function keepSources(context: SyncContext, row: ActionRow, why: string): Promise<void> {
  await context.store.write((tx) => parkAfter(tx, context, row, why));
}

/** Another client removed the mail before it could be uploaded, or the upload itself: nothing is left to show. */
async function giveUp(context: SyncContext, { row, target }: LoadedAction): Promise<void> {
  context.log.warn({ actions: [row.id] }, 'mail was removed upstream before its upload was complete');
  await context.store.write(async (tx) => {
    await dropCopies(tx, context.book, [...(await copiesByIds(tx, [target!.id])).values()]);
    await removeActions(tx, [row.id]);
  });
}

async function uidOf(context: SyncContext, copyId: number): Promise<number | null> {
  const row = await context.store.read((tx) =>
    tx.get<{ uid: number | null }>('SELECT uid FROM copy WHERE id = ?', [copyId]),
  );
  return row?.uid ?? null;
}

async function verify(
  context: SyncContext,
  action: LoadedAction,
  uid: number,
  bytes: Buffer,
  pull: PullNow,
): Promise<void> {
  const { row, target, targetFolder } = action;
  const stored = await readBack(context, targetFolder!, uid);
  const same = stored === createHash('sha256').update(bytes).digest('hex');
  const movedOn = stored === null && (await isFiledElsewhere(context, target!, target!.arrived, pull));
  faultPoint('append.verified');
  await context.store.write(async (tx) => {
    // Only now: until it is verified, it tells since when it may have been moved on.
    if (row.attempts === 0) await markOwn(tx, [target!.id]);
    // An account for which Mergebox decides is put back from its bytes.
    if (same && context.account.authority !== 'mergebox') {
      // Other copies of it that are still on their way need the bytes, wherever this one goes meanwhile; and those
      // in folders that live here are nothing else.
      await tx.run(
        `UPDATE message SET pinned = NULL WHERE id = ?
         AND NOT EXISTS (SELECT 1 FROM copy JOIN folder ON folder.id = copy.folder_id WHERE copy.message_id = message.id
           AND (copy.state = 'pending' OR folder.account_id IN (SELECT value FROM json_each(?))))`,
        [target!.message_id, jsonIds(context.book.locals())],
      );
    } else if (!same && !movedOn) {
      const what = stored === null ? 'shows the mail no more' : 'holds other bytes than were uploaded';
      context.log.warn({ folder: targetFolder!.path, uid }, `the folder ${what}: our bytes are kept`);
      await parkAfter(tx, context, row, `"${targetFolder!.path}" ${what}: the original is kept`);
    }
    await removeActions(tx, [row.id]);
  });
  if (same && context.account.authority !== 'mergebox') context.released(stored);
  faultPoint('append.acknowledged');
}

/** SHA-256 (hex) of what the server has under the UID; null when another client took it away. */
async function readBack(context: SyncContext, { id, path }: FolderRow, uid: number): Promise<string | null> {
  const folder = await context.store.read((tx) => folderById(tx, id));
  const hash = createHash('sha256');
  const sink = { start: () => undefined, chunk: (chunk: Buffer) => void hash.update(chunk) };
  try {
    await context.upstream.fetchBody({ path, uidValidity: folder?.uid_validity ?? 0 }, uid, sink);
  } catch (error) {
    if (isMergeboxError(error, 'nonexistent')) return null;
    throw error;
  }
  return hash.digest('hex');
}
