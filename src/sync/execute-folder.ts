import type { Role } from '../mail/ids.js';
import { recordDestroyed, removeActions } from '../store/actions.js';
import { isMergeboxError } from '../util/errors.js';
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
    case 'delete-folder':
      await deleteFolder(context, row.detail!, action);
      faultPoint('folder.sent');
      await context.store.write(async (tx) => {
        const what = { account: context.account.name, folder: row.detail!, uidValidity: 0, uid: 0 };
        await recordDestroyed(tx, [{ ...what, kind: 'delete-folder', reason: row.reason }]);
        await removeActions(tx, [row.id]);
      });
      return faultPoint('folder.acknowledged');
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
