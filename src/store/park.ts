import { addFlags, type FlagText, flagText, hasFlag, removeFlags } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import { owedChange } from '../mail/reconcile.js';
import type { AccountBook } from './account-book.js';
import { type ActionRow, oweFlags } from './actions.js';
import { copiesByIds } from './copies.js';
import { folderById, foldersOf, mirrorName, removeFolders } from './folders.js';
import { type Group, groupFlags, groupsOfEntries, setGroupFlags } from './groups.js';
import { mirrorsOf } from './mailboxes.js';
import { placeCopies } from './place.js';
import { dropCopies } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { WriteTx } from './store.js';

/**
 * What a parked action keeps beside its row, to be tried again: for `flags` the refused change; for a transfer where it
 * was to go; for a folder what it was to be. As JSON in `detail`.
 */
export interface ParkedDetail {
  readonly add?: readonly string[];
  readonly remove?: readonly string[];
  readonly folder?: string;
  readonly role?: Role | null;
  /** An upload that was the last step of a move, rather than of a copy. */
  readonly moves?: boolean;
}

/** `detail` of `rename-folder`: paths upstream, and the names that clients know. */
export interface RenameDetail {
  readonly from: string;
  readonly to: string;
  /** Absent in rows of an earlier version. */
  readonly name?: string | undefined;
  readonly toName?: string | undefined;
}

/** An action that its server refused for good, with the rows it is about. */
export interface RefusedAction {
  readonly row: ActionRow;
  readonly copy: CopyRow | undefined;
  readonly folder: FolderRow | undefined;
  readonly target: CopyRow | undefined;
  readonly targetFolder: FolderRow | undefined;
}

type Kept = Partial<Pick<ActionRow, 'copy_id' | 'target_id' | 'folder_id' | 'detail'>>;

/**
 * Parks a refused action: clients see again what the server has, and the row waits for a person. Bytes of which this
 * is the only copy stay where they are, visible.
 */
export async function parkAction(tx: WriteTx, book: AccountBook, action: RefusedAction, error: string): Promise<void> {
  const kept = await goBack(tx, book, action, error);
  if (kept === null) {
    await tx.run('DELETE FROM action WHERE id = ?', [action.row.id]);
    return;
  }
  const row = { ...action.row, ...kept };
  await tx.run(
    `UPDATE action SET state = 'parked', last_error = ?, next_try = 0, copy_id = ?, target_id = ?, folder_id = ?, detail = ?
     WHERE id = ?`,
    [error, row.copy_id, row.target_id, row.folder_id, row.detail, row.id],
  );
}

/** What the row keeps; null when there is nothing to be tried again. */
async function goBack(tx: WriteTx, book: AccountBook, action: RefusedAction, error: string): Promise<Kept | null> {
  switch (action.row.kind) {
    case 'flags':
      return flagsBack(tx, book, action);
    case 'copy':
    case 'move':
      return transferBack(tx, book, action);
    case 'append':
      return appendBack(tx, book, action);
    case 'expunge':
      if (!action.copy) return null;
      await showAgain(tx, book, [action.copy]);
      return {};
    case 'pin':
      return pinBack(tx, book, action, error);
    case 'create-folder':
      return createBack(tx, book, action, error);
    case 'rename-folder':
      return renameBack(tx, book, action);
    default:
      // Nothing here changed with it, or the next listing shows it.
      return {};
  }
}

/**
 * The entry shows the refused flags no longer, unless another of its copies took them: then only this copy differs, and
 * the same change is not sent to it again.
 */
async function flagsBack(tx: WriteTx, book: AccountBook, { row, copy, folder }: RefusedAction): Promise<Kept | null> {
  if (!copy || !folder) return null;
  const { add, remove } = owedChange({ ...copy, offered: folder.flags_offered });
  if (add.length + remove.length === 0) return null;
  const refused = [...add, ...remove];
  const group = await groupOf(tx, copy);
  const others = group.copies.filter((each) => each.id !== copy.id && each.state !== 'vanished');
  const accounts = await accountsOf(tx, others);
  const taken = others.some(
    (each) => book.pushes(accounts.get(each.folder_id)!) && !refused.every((flag) => hasFlag(each.refused, flag)),
  );
  if (taken) {
    await setRefused(tx, [copy], addFlags(copy.refused, refused));
  } else {
    for (const each of group.copies) await setRefused(tx, [each], removeFlags(each.refused, refused));
    const flags = addFlags(removeFlags(groupFlags(group), add), remove);
    await setGroupFlags(tx, book, [{ group, flags }], row.reason);
  }
  // One row tells of all that this copy was refused.
  const earlier = await tx.all<{ id: number; detail: string }>(
    "SELECT id, detail FROM action WHERE copy_id = ? AND kind = 'flags' AND state = 'parked'",
    [copy.id],
  );
  const details = earlier.map(({ detail }) => JSON.parse(detail) as ParkedDetail);
  await tx.run('DELETE FROM action WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(earlier.map(({ id }) => id)),
  ]);
  const merged = (key: 'add' | 'remove', now: readonly string[], undone: readonly string[]): string[] => {
    const before = details.flatMap((detail) => detail[key] ?? []);
    return [...removeFlags(flagText([...before, ...now]), undone).split(' ')].filter((flag) => flag !== '');
  };
  const detail: ParkedDetail = { add: merged('add', add, remove), remove: merged('remove', remove, add) };
  return { detail: JSON.stringify(detail) };
}

export async function setRefused(tx: WriteTx, copies: readonly CopyRow[], refused: FlagText): Promise<void> {
  await tx.run('UPDATE copy SET refused = ? WHERE id IN (SELECT value FROM json_each(?)) AND refused <> ?', [
    refused,
    jsonIds(copies.map((copy) => copy.id)),
    refused,
  ]);
}

/** The entry with all its copies, or the copy alone. */
export async function groupOf(tx: WriteTx, copy: CopyRow): Promise<Group> {
  const known = copy.entry_id === null ? undefined : (await groupsOfEntries(tx, [copy.entry_id])).get(copy.entry_id);
  return known ?? { entry: null, copies: [copy] };
}

async function accountsOf(tx: WriteTx, copies: readonly CopyRow[]): Promise<Map<number, number>> {
  const rows = await tx.all<{ id: number; account_id: number }>(
    'SELECT id, account_id FROM folder WHERE id IN (SELECT value FROM json_each(?))',
    [jsonIds(new Set(copies.map((copy) => copy.folder_id)))],
  );
  return new Map(rows.map((row) => [row.id, row.account_id]));
}

/** The mail is where it was: the target goes, what was to be moved is shown in its folder again. */
async function transferBack(tx: WriteTx, book: AccountBook, action: RefusedAction): Promise<Kept | null> {
  const { row, copy, target, targetFolder } = action;
  if (!target || !targetFolder || target.uid !== null) return null;
  // Without its source the target may be all there is.
  if (!copy) return {};
  if (row.kind === 'move') await showAgain(tx, book, [copy]);
  else await spare(tx, book, copy);
  await dropCopies(tx, book, [target]);
  return { target_id: null, detail: JSON.stringify(placeOf(targetFolder)) };
}

/** A client without MOVE copies and expunges: it would not have, had it known that there is no copy. */
async function spare(tx: WriteTx, book: AccountBook, copy: CopyRow): Promise<void> {
  const removals = await tx.run(
    "DELETE FROM action WHERE copy_id = ? AND kind = 'expunge' AND state = 'pending' AND after_id IS NULL",
    [copy.id],
  );
  if (removals > 0) await showAgain(tx, book, [copy]);
}

function placeOf({ path, role }: FolderRow): ParkedDetail {
  return { folder: path, role };
}

/** An upload of what is elsewhere as well leaves it there; one of bytes that only we have stays visible. */
async function appendBack(tx: WriteTx, book: AccountBook, action: RefusedAction): Promise<Kept | null> {
  const { row, target, targetFolder } = action;
  if (!target || !targetFolder) return null;
  const after = await tx.all<{ id: number; copy_id: number }>(
    "SELECT id, copy_id FROM action WHERE after_id = ? AND kind = 'expunge'",
    [row.id],
  );
  const sources = [
    ...(
      await copiesByIds(
        tx,
        after.map((each) => each.copy_id),
      )
    ).values(),
  ];
  await tx.run('DELETE FROM action WHERE id IN (SELECT value FROM json_each(?))', [jsonIds(after.map(({ id }) => id))]);
  await showAgain(tx, book, sources);
  if (target.uid !== null) return null;
  const other = sources[0] ?? (await sourceOf(tx, row, target));
  if (!other) return {};
  await dropCopies(tx, book, [target]);
  const detail: ParkedDetail = { ...placeOf(targetFolder), moves: sources.length > 0 };
  return { copy_id: other.id, target_id: null, detail: JSON.stringify(detail) };
}

/** What an upload to another account was made from, where its server still has that. A client's APPEND has no source. */
async function sourceOf(tx: WriteTx, row: ActionRow, target: CopyRow): Promise<{ id: number } | undefined> {
  return tx.get<{ id: number }>(
    `SELECT copy.id FROM message AS own JOIN message ON COALESCE(message.email_id, message.id) = COALESCE(own.email_id, own.id)
     JOIN copy ON copy.message_id = message.id
     WHERE own.id = ? AND copy.id <> ? AND copy.state = 'live' AND copy.uid IS NOT NULL AND (message.id = own.id OR ? = 1)
     ORDER BY copy.id LIMIT 1`,
    [target.message_id, target.id, row.after_id === null ? 0 : 1],
  );
}

/** Copies whose removal was refused are shown again, as new arrivals with the flags their server has. */
export async function showAgain(tx: WriteTx, book: AccountBook, copies: readonly CopyRow[]): Promise<void> {
  const doomed = copies.filter((copy) => copy.state === 'doomed').map((copy) => copy.id);
  if (doomed.length === 0) return;
  await tx.run(
    `UPDATE copy SET mirror_uid = NULL, mod_seq = ?,
       state = CASE WHEN EXISTS (SELECT 1 FROM action WHERE action.target_id = copy.id) THEN 'pending' ELSE 'live' END,
       flags = CASE WHEN EXISTS (SELECT 1 FROM action WHERE action.target_id = copy.id) THEN flags ELSE base END
     WHERE id IN (SELECT value FROM json_each(?))`,
    [tx.modSeq, jsonIds(doomed)],
  );
  await placeCopies(tx, book, doomed);
  await oweFlags(tx, book, doomed, 'reconciliation: shown again');
}

/** Bytes that cannot be kept cannot be uploaded: the upload is what was refused, and its source stays where it is. */
async function pinBack(tx: WriteTx, book: AccountBook, { row }: RefusedAction, error: string): Promise<null> {
  const rows = await tx.all<ActionRow>("SELECT * FROM action WHERE after_id = ? AND kind = 'append'", [row.id]);
  for (const upload of await withCopies(tx, rows)) await parkAction(tx, book, upload, error);
  return null;
}

/** What was to go into the folder goes back as well; the folder itself goes, unless mail is left that only we have. */
async function createBack(tx: WriteTx, book: AccountBook, action: RefusedAction, error: string): Promise<Kept | null> {
  const { row, folder } = action;
  if (folder?.state !== 'creating') return null;
  for (const waiting of await actionsInto(tx, folder)) {
    await parkAction(tx, book, waiting, `"${folder.path}" could not be made: ${error}`);
  }
  if (await tx.get('SELECT 1 FROM copy WHERE folder_id = ? LIMIT 1', [folder.id])) return {};
  await tx.run('UPDATE action SET folder_id = NULL WHERE id = ?', [row.id]);
  await removeFolders(tx, book, [folder]);
  return { folder_id: null, detail: JSON.stringify(placeOf(folder)) };
}

async function actionsInto(tx: WriteTx, folder: FolderRow): Promise<RefusedAction[]> {
  const rows = await tx.all<ActionRow>(
    `SELECT action.* FROM action JOIN copy ON copy.id = action.target_id
     WHERE copy.folder_id = ? AND action.state = 'pending' ORDER BY action.id DESC`,
    [folder.id],
  );
  return withCopies(tx, rows);
}

async function withCopies(tx: WriteTx, rows: readonly ActionRow[]): Promise<RefusedAction[]> {
  const copies = await copiesByIds(
    tx,
    rows.flatMap((row) => [row.copy_id ?? [], row.target_id ?? []].flat()),
  );
  const found: RefusedAction[] = [];
  for (const row of rows) {
    const copy = row.copy_id === null ? undefined : copies.get(row.copy_id);
    const target = row.target_id === null ? undefined : copies.get(row.target_id);
    found.push({
      row,
      copy,
      folder: copy && (await folderById(tx, copy.folder_id)),
      target,
      targetFolder: target && (await folderById(tx, target.folder_id)),
    });
  }
  return found;
}

/** The folder and all below it have the names again that the server has. */
async function renameBack(tx: WriteTx, book: AccountBook, { row }: RefusedAction): Promise<Kept> {
  const { from, to, name } = JSON.parse(row.detail!) as RenameDetail;
  await relocateFolders(tx, book, row.account_id, to, { path: from, name });
  return {};
}

/** Gives the folder at `path` and all below it other paths, and their mirrors names to match. */
export async function relocateFolders(
  tx: WriteTx,
  book: AccountBook,
  accountId: number,
  path: string,
  to: { readonly path: string; readonly name?: string | undefined },
): Promise<void> {
  const own = await foldersOf(tx, accountId);
  const root = own.find((folder) => folder.path === path);
  if (!root || own.some((folder) => folder.path === to.path)) return;
  const below = path + (root.delimiter ?? '/');
  const base = to.name ?? mirrorName(book.get(accountId).name, to.path, root.delimiter);
  for (const folder of own.filter((each) => each.id === root.id || each.path.startsWith(below))) {
    const renamed = to.path + folder.path.slice(path.length);
    const suffix = mirrorName('', renamed, folder.delimiter).slice(mirrorName('', to.path, folder.delimiter).length);
    const mirror = (await mirrorsOf(tx, [folder.id])).get(folder.id);
    await tx.run('UPDATE folder SET path = ? WHERE id = ?', [renamed, folder.id]);
    tx.touchNames();
    const taken = await tx.get('SELECT 1 FROM mailbox WHERE name = ?', [base + suffix]);
    if (mirror && !taken) await tx.run('UPDATE mailbox SET name = ? WHERE id = ?', [base + suffix, mirror.id]);
  }
}
