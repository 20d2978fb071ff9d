import { addFlags, hasFlag, removeFlags } from '../mail/flags.js';
import { MergeboxError } from '../util/errors.js';
import type { AccountBook } from './account-book.js';
import { type ActionKind, type ActionRow, folderDeletion, owe, oweFlags } from './actions.js';
import { copiesByIds } from './copies.js';
import { folderById, foldersOf, insertFolder, roleFolder } from './folders.js';
import { groupFlags, setGroupFlags } from './groups.js';
import { mirrorsOf } from './mailboxes.js';
import { groupOf, type ParkedDetail, type RenameDetail, relocateFolders, setRefused } from './park.js';
import { doomCopies, dropCopies, settleEntries } from './remove.js';
import type { CopyRow, FolderRow } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';
import { transferGroups } from './transfer.js';

/** A parked action as a person sees it. */
export interface ParkedAction {
  readonly id: number;
  readonly kind: ActionKind;
  /** Of the copy: null for what is about a folder, or for an upload. */
  readonly folder: string | null;
  readonly uidValidity: number | null;
  readonly uid: number | null;
  /** Where it was to go, or the folder that it is about. */
  readonly target: string | null;
  /** Flags that were to be set and cleared. */
  readonly flags: string | null;
  /** Who decided it, and when (Unix seconds). */
  readonly reason: string;
  readonly created: number;
  readonly attempts: number;
  readonly error: string | null;
  /** Mergebox has the only copy of the mail. */
  readonly onlyCopy: boolean;
}

/** The parked actions of an account, oldest first. */
export async function parkedActions(tx: ReadTx, accountId: number, limit: number): Promise<ParkedAction[]> {
  const rows = await tx.all<
    ActionRow & { path: string | null; uid_validity: number | null; uid: number | null; target_path: string | null }
  >(
    `SELECT action.*, folder.path, folder.uid_validity, copy.uid, COALESCE(made.path, own.path) AS target_path
     FROM action LEFT JOIN copy ON copy.id = action.copy_id LEFT JOIN folder ON folder.id = copy.folder_id
     LEFT JOIN copy AS target ON target.id = action.target_id LEFT JOIN folder AS made ON made.id = target.folder_id
     LEFT JOIN folder AS own ON own.id = action.folder_id
     WHERE action.account_id = ? AND action.state = 'parked' ORDER BY action.id LIMIT ?`,
    [accountId, limit],
  );
  return rows.map((row) => {
    const detail = detailOf(row);
    const change = [
      ...(detail.add ?? []).map((flag) => `+${flag}`),
      ...(detail.remove ?? []).map((flag) => `-${flag}`),
    ];
    return {
      id: row.id,
      kind: row.kind,
      folder: row.path,
      uidValidity: row.uid === null ? null : row.uid_validity,
      uid: row.uid,
      target: detail.folder ?? row.target_path,
      flags: change.length === 0 ? null : change.join(' '),
      reason: row.reason,
      created: row.created,
      attempts: row.attempts,
      error: row.last_error,
      onlyCopy: row.kind === 'append' && row.target_id !== null,
    };
  });
}

function detailOf(row: ActionRow): ParkedDetail {
  if (row.kind === 'delete-folder') return { folder: folderDeletion(row.detail ?? '').folder };
  if (row.detail === null || !row.detail.startsWith('{')) return {};
  const detail = JSON.parse(row.detail) as ParkedDetail & { to?: string };
  return detail.to === undefined ? detail : { folder: detail.to };
}

/** One parked action; throws `nonexistent`. */
export async function parkedAction(tx: ReadTx, accountId: number, id: number): Promise<ActionRow> {
  const row = await tx.get<ActionRow>("SELECT * FROM action WHERE account_id = ? AND id = ? AND state = 'parked'", [
    accountId,
    id,
  ]);
  if (!row) throw new MergeboxError('nonexistent', `no refused action ${id}; see mergebox status`);
  return row;
}

/** Lets a refused action of an account be tried again, or all of them: clients see again what they asked for. */
export async function retryParked(tx: WriteTx, book: AccountBook, accountId: number, id: number | null): Promise<void> {
  const rows =
    id === null
      ? await tx.all<ActionRow>("SELECT * FROM action WHERE account_id = ? AND state = 'parked' ORDER BY id", [
          accountId,
        ])
      : [await parkedAction(tx, accountId, id)];
  for (const row of rows) await retryOne(tx, book, row);
  tx.owe(accountId);
}

async function retryOne(tx: WriteTx, book: AccountBook, row: ActionRow): Promise<void> {
  switch (row.kind) {
    case 'flags':
      return retryFlags(tx, book, row);
    case 'copy':
    case 'move':
    case 'append':
      return row.target_id === null ? retryTransfer(tx, book, row) : makePending(tx, row);
    case 'expunge': {
      const copy = await copyOf(tx, row);
      if (!copy) return remove(tx, row);
      await doomCopies(tx, [copy]);
      await settleEntries(tx, book, copy.entry_id === null ? [] : [copy.entry_id]);
      return makePending(tx, row);
    }
    case 'create-folder': {
      if (row.folder_id !== null) return makePending(tx, row);
      await remove(tx, row);
      await folderAt(tx, book, row, detailOf(row));
      return;
    }
    case 'rename-folder': {
      const { from, to, toName } = JSON.parse(row.detail!) as RenameDetail;
      await relocateFolders(tx, book, row.account_id, from, { path: to, name: toName });
      return makePending(tx, row);
    }
    default:
      return makePending(tx, row);
  }
}

async function makePending(tx: WriteTx, row: ActionRow): Promise<void> {
  await tx.run("UPDATE action SET state = 'pending', next_try = 0 WHERE id = ?", [row.id]);
}

async function remove(tx: WriteTx, row: ActionRow): Promise<void> {
  await tx.run('DELETE FROM action WHERE id = ?', [row.id]);
}

async function copyOf(tx: WriteTx, row: ActionRow): Promise<CopyRow | undefined> {
  return row.copy_id === null ? undefined : (await copiesByIds(tx, [row.copy_id])).get(row.copy_id);
}

async function retryFlags(tx: WriteTx, book: AccountBook, row: ActionRow): Promise<void> {
  await remove(tx, row);
  const copy = await copyOf(tx, row);
  if (!copy || copy.state === 'doomed') return;
  const { add = [], remove: cleared = [] } = detailOf(row);
  await setRefused(tx, [copy], removeFlags(copy.refused, [...add, ...cleared]));
  const group = await groupOf(tx, copy);
  const before = groupFlags(group);
  const clearing = cleared.filter((flag) => hasFlag(before, flag));
  const setting = add.filter((flag) => !hasFlag(before, flag));
  if (clearing.length + setting.length === 0) return oweFlags(tx, book, [copy.id], row.reason);
  await setGroupFlags(tx, book, [{ group, flags: addFlags(removeFlags(before, clearing), setting) }], row.reason);
}

/** The COPY or MOVE once more, from where the mail is now. */
async function retryTransfer(tx: WriteTx, book: AccountBook, row: ActionRow): Promise<void> {
  await remove(tx, row);
  const copy = await copyOf(tx, row);
  if (!copy || copy.state === 'doomed') return;
  const detail = detailOf(row);
  const folder = await folderAt(tx, book, row, detail);
  const mirror = (await mirrorsOf(tx, [folder.id])).get(folder.id)!;
  const { entry } = await groupOf(tx, copy);
  const mode = row.kind === 'move' || detail.moves === true ? 'move' : 'copy';
  await transferGroups(tx, book, [{ entry, copies: [copy] }], mirror, mode, row.reason);
}

/** The folder that a refused action was about; its creation is owed when there is none. */
async function folderAt(tx: WriteTx, book: AccountBook, row: ActionRow, detail: ParkedDetail): Promise<FolderRow> {
  const account = book.get(row.account_id);
  const own = await foldersOf(tx, account.id);
  const known = own.find((folder) => folder.path === detail.folder);
  if (known) return known;
  const role = detail.role ?? null;
  if (role !== null) return roleFolder(tx, account, role, row.reason);
  const delimiter = own.find((folder) => folder.delimiter !== null)?.delimiter ?? '/';
  const listed = { path: detail.folder!, delimiter, role, virtual: false, selectable: true };
  const folder = await insertFolder(tx, account, listed, 'creating');
  await owe(tx, [{ accountId: account.id, kind: 'create-folder', folderId: folder.id }], row.reason);
  return folder;
}

/** The message of which a parked upload holds the only copy; null when there is none. */
export async function onlyCopy(tx: ReadTx, row: ActionRow): Promise<number | null> {
  if (row.kind !== 'append' || row.target_id === null) return null;
  return (await copiesByIds(tx, [row.target_id])).get(row.target_id)?.message_id ?? null;
}

/**
 * Gives a refused action up. Mail that is only here goes with its upload: the caller has saved the bytes. Throws
 * `cannot` for a folder that mail waits for.
 */
export async function dropParked(tx: WriteTx, book: AccountBook, row: ActionRow): Promise<void> {
  if (row.kind === 'create-folder' && row.folder_id !== null) {
    const folder = await folderById(tx, row.folder_id);
    throw new MergeboxError(
      'cannot',
      `drop action ${row.id}: mail that is nowhere else waits for "${folder?.path}": drop its uploads or move it first`,
    );
  }
  await remove(tx, row);
  if (row.target_id === null) return;
  await dropCopies(tx, book, [...(await copiesByIds(tx, [row.target_id])).values()]);
}
