import type { Role } from '../mail/ids.js';
import { type FolderDeletion, folderDeletion, recordDestroyed, removeActions } from '../store/actions.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { authorise } from './authorise.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';

/** CREATE, DELETE or RENAME of a folder upstream. */
export async function changeFolder(context: SyncContext, action: LoadedAction): Promise<void> {
  const { row, folder } = action;
  const done = async (): Promise<void> => {
    await context.store.write((tx) => removeActions(tx, [row.id]));
    faultPoint('folder.acknowledged');
  };
  switch (row.kind) {
    case 'create-folder':
      if (!folder) return done();
      await createFolder(context, folder.path, row.detail as Role | null);
      faultPoint('folder.sent');
      await context.store.write(async (tx) => {
        await tx.run("UPDATE folder SET state = 'live' WHERE id = ?", [folder.id]);
        await removeActions(tx, [row.id]);
      });
      return faultPoint('folder.acknowledged');
    case 'delete-folder': {
      const deletion = folderDeletion(row.detail!);
      await requireSeen(context, deletion);
      await deleteFolder(context, deletion.folder, action);
      faultPoint('folder.sent');
      await context.store.write(async (tx) => {
        const what = { account: context.account.name, folder: deletion.folder, uidValidity: 0, uid: 0 };
        await recordDestroyed(tx, [{ ...what, kind: 'delete-folder', reason: row.reason }]);
        await removeActions(tx, [row.id]);
      });
      return faultPoint('folder.acknowledged');
    }
    case 'rename-folder': {
      const { from, to } = JSON.parse(row.detail!) as { from: string; to: string };
      await renameFolder(context, from, to);
      faultPoint('folder.sent');
      return done();
    }
    default:
      throw new RangeError(`not a folder action: ${row.kind}`);
  }
}

/** A folder that is there already (made by another client, or by a try whose answer was lost) is as good as made. */
async function createFolder(context: SyncContext, path: string, role: Role | null): Promise<void> {
  try {
    await context.upstream.createFolder(path, role);
  } catch (error) {
    if (!isMergeboxError(error, 'refused', 'alreadyexists')) throw error;
    const listed = await context.upstream.listFolders();
    if (!listed.some((folder) => folder.path === path)) throw error;
  }
}

/**
 * A server that was out of reach may have taken mail into the folder that nobody has seen, or have another folder under its
 * name: then it is kept, and shown again.
 */
async function requireSeen({ upstream }: SyncContext, { folder, uidValidity, uidNext }: FolderDeletion): Promise<void> {
  if (uidNext === null) return;
  const state = (await upstream.status([folder])).get(folder);
  if (!state || state.exists === 0) return;
  if (state.uidValidity === uidValidity) {
    if (state.uidNext <= uidNext) return;
    const unseen = await upstream.read(folder, null, async (reader) =>
      (await reader.uids()).some((uid) => uid >= uidNext),
    );
    if (!unseen) return;
  }
  throw new MergeboxError('cannot', `delete "${folder}": mail has come into it that was not seen: delete it once more`);
}

/** What is gone already needs no deletion: an earlier try or another client did it. */
async function deleteFolder(context: SyncContext, path: string, action: LoadedAction): Promise<void> {
  try {
    await context.upstream.deleteFolder(path, authorise(context, [action]));
  } catch (error) {
    if (!(await isMissing(context, path, error))) throw error;
  }
}

/** A folder whose creation was owed may have been made under its new name at once. */
async function renameFolder(context: SyncContext, from: string, to: string): Promise<void> {
  try {
    await context.upstream.renameFolder(from, to);
  } catch (error) {
    if (!(await isMissing(context, from, error))) throw error;
  }
}

/** Not every server says with its refusal that there is no such folder (RFC 5530 NONEXISTENT). */
async function isMissing(context: SyncContext, path: string, error: unknown): Promise<boolean> {
  if (isMergeboxError(error, 'nonexistent')) return true;
  if (!isMergeboxError(error, 'refused', 'alreadyexists')) return false;
  const listed = await context.upstream.listFolders();
  return !listed.some((folder) => folder.path === path);
}
