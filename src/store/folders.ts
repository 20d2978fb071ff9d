import { ROLE_NAMES, type Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import type { AccountBook, AccountPolicy } from './account-book.js';
import { folderDeletion, owe } from './actions.js';
import { insertMailbox, mirrorsOf, setSubscribed } from './mailboxes.js';
import { putBackFolder } from './put-back.js';
import { dropCopies } from './remove.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

export const MIRROR_ROOT = 'Accounts';

/** The name of a mirror: `Accounts/<id>/<path>`, '/' between levels. */
export function mirrorName(account: string, path: string, delimiter: string | null): string {
  const levels = delimiter === null ? [path] : path.split(delimiter);
  return [MIRROR_ROOT, account, ...levels.map(mirrorLevel)].join('/');
}

/** A '/' inside a level's name becomes `%2F`, and a `%` that would read as such an escape `%25`. */
function mirrorLevel(level: string): string {
  return level.replace(/%(?=2F|25)/g, '%25').replaceAll('/', '%2F');
}

/** The upstream name of a level that a client wrote. */
export function upstreamLevel(level: string): string {
  return level.replace(/%(2F|25)/g, (_, code) => (code === '2F' ? '/' : '%'));
}

export async function foldersOf(tx: ReadTx, accountId: number): Promise<FolderRow[]> {
  return tx.all<FolderRow>('SELECT * FROM folder WHERE account_id = ? ORDER BY id', [accountId]);
}

export async function folderById(tx: ReadTx, id: number): Promise<FolderRow | undefined> {
  return tx.get<FolderRow>('SELECT * FROM folder WHERE id = ?', [id]);
}

export interface ListedFolder {
  readonly path: string;
  readonly delimiter: string | null;
  readonly role: Role | null;
  readonly virtual: boolean;
  readonly selectable: boolean;
}

/**
 * Brings the folders of an account in line with what its server listed; new ones get a mirror. Returns the paths that
 * were not listed: they are forgotten only when `confirmedGone` names them, since one bad listing proves nothing.
 */
export async function syncFolderList(
  tx: WriteTx,
  book: AccountBook,
  account: AccountPolicy,
  listed: readonly ListedFolder[],
  confirmedGone: ReadonlySet<string>,
): Promise<string[]> {
  const known = new Map((await foldersOf(tx, account.id)).map((folder) => [folder.path, folder]));
  const deleting = await tx.all<{ detail: string }>(
    "SELECT detail FROM action WHERE account_id = ? AND kind = 'delete-folder' AND state = 'pending'",
    [account.id],
  );
  const owed = await tx.all<{ folder_id: number; detail: string }>(
    "SELECT folder_id, detail FROM action WHERE account_id = ? AND kind = 'rename-folder' AND state = 'pending'",
    [account.id],
  );
  const hidden = new Set(deleting.map((row) => folderDeletion(row.detail).folder));
  const renamed = owed.map((row) => (JSON.parse(row.detail) as { from: string }).from);
  // What is to be renamed still has its old name there, and so has what is below it.
  const isHidden = ({ path, delimiter }: ListedFolder): boolean =>
    hidden.has(path) || renamed.some((from) => path === from || path.startsWith(from + (delimiter ?? '/')));
  for (const folder of listed.filter((each) => !isHidden(each))) {
    const row = known.get(folder.path);
    if (!row) await insertFolder(tx, account, folder, 'live');
    else await updateFolder(tx, row, folder);
    known.delete(folder.path);
  }
  await clearParkedCreations(tx, account.id, listed);
  const targets = owed.map((row) => (JSON.parse(row.detail) as { to: string }).to);
  const isRenamed = ({ path, delimiter }: FolderRow): boolean =>
    targets.some((to) => path === to || path.startsWith(to + (delimiter ?? '/')));
  // A folder whose creation or renaming is owed is not listed yet.
  const missing = [...known.values()].filter((folder) => folder.state === 'live' && !isRenamed(folder));
  await forgetFolders(
    tx,
    book,
    account,
    missing.filter((folder) => confirmedGone.has(folder.path)),
  );
  return missing.map((folder) => folder.path);
}

/** A refused creation is settled when the folder is there all the same. */
async function clearParkedCreations(tx: WriteTx, accountId: number, listed: readonly ListedFolder[]): Promise<void> {
  await tx.run(
    `DELETE FROM action WHERE account_id = ? AND kind = 'create-folder' AND state = 'parked' AND (
       CASE WHEN folder_id IS NULL THEN json_extract(detail, '$.folder')
       ELSE (SELECT path FROM folder WHERE folder.id = action.folder_id) END) IN (SELECT value FROM json_each(?))`,
    [accountId, JSON.stringify(listed.map((folder) => folder.path))],
  );
}

/** Folders that are gone upstream go; one that mail is on its way into is made again, so that nothing is lost. */
async function forgetFolders(
  tx: WriteTx,
  book: AccountBook,
  account: AccountPolicy,
  gone: readonly FolderRow[],
): Promise<void> {
  for (const folder of gone) {
    if (account.authority === 'mergebox') await putBackFolder(tx, folder);
    if (await tx.get("SELECT 1 FROM copy WHERE folder_id = ? AND state = 'pending' LIMIT 1", [folder.id])) {
      const stale = await tx.all<CopyRow>("SELECT * FROM copy WHERE folder_id = ? AND state <> 'pending'", [folder.id]);
      await dropCopies(tx, book, stale);
      await tx.run(
        `UPDATE folder SET state = 'creating', uid_validity = NULL, uid_next = NULL, mod_seq = NULL, exists_count = NULL,
         held = NULL WHERE id = ?`,
        [folder.id],
      );
      const detail = folder.role === null ? {} : { detail: folder.role };
      await owe(
        tx,
        [{ accountId: account.id, kind: 'create-folder', folderId: folder.id, ...detail }],
        'reconciliation: mail is on its way into a folder that is gone',
      );
    } else await removeFolders(tx, book, [folder]);
  }
}

/** A new folder with its mirror, under `name`. Mirrors of roles are left unsubscribed: the merged mailbox shows their mail. */
export async function insertFolder(
  tx: WriteTx,
  account: AccountPolicy,
  folder: ListedFolder,
  state: 'live' | 'creating',
  name = mirrorName(account.name, folder.path, folder.delimiter),
): Promise<FolderRow> {
  const row = (await tx.get<FolderRow>(
    `INSERT INTO folder (account_id, path, delimiter, role, virtual, selectable, state) VALUES (?,?,?,?,?,?,?) RETURNING *`,
    [account.id, folder.path, folder.delimiter, folder.role, folder.virtual ? 1 : 0, folder.selectable ? 1 : 0, state],
  ))!;
  const free = await freeName(tx, name);
  const mailbox = await insertMailbox(tx, free, { folderId: row.id });
  tx.touch(mailbox);
  if (folder.role === null && folder.selectable) await setSubscribed(tx, free, true);
  return row;
}

/** Namespaces with different separators can show two folders under one name: the later one gets a number. */
async function freeName(tx: ReadTx, name: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const candidate = number === 1 ? name : `${name} (${number})`;
    if (!(await tx.get('SELECT 1 FROM mailbox WHERE name = ?', [candidate]))) return candidate;
  }
}

async function updateFolder(tx: WriteTx, row: FolderRow, listed: ListedFolder): Promise<void> {
  const state = row.state === 'creating' ? 'live' : row.state;
  // The role stays with the folder that has it while mail is merged under it; the first listing decides.
  await tx.run('UPDATE folder SET delimiter = ?, virtual = ?, selectable = ?, state = ? WHERE id = ?', [
    listed.delimiter,
    listed.virtual ? 1 : 0,
    listed.selectable ? 1 : 0,
    state,
    row.id,
  ]);
}

/** Forgets folders that are gone upstream (or no longer configured) with their copies and mirrors. */
export async function removeFolders(tx: WriteTx, book: AccountBook, folders: readonly FolderRow[]): Promise<void> {
  for (const folder of folders) {
    const copies = await tx.all<CopyRow>('SELECT * FROM copy WHERE folder_id = ?', [folder.id]);
    await dropCopies(tx, book, copies);
    const mirror = (await mirrorsOf(tx, [folder.id])).get(folder.id);
    if (mirror) {
      await tx.run('DELETE FROM expunged WHERE mailbox_id = ?', [mirror.id]);
      await tx.run('DELETE FROM mailbox WHERE id = ?', [mirror.id]);
      await tx.run('DELETE FROM annotation WHERE mailbox_id = ?', [mirror.id]);
      tx.touchNames();
    }
    await tx.run('DELETE FROM action WHERE folder_id = ?', [folder.id]);
    await tx.run('DELETE FROM folder_window WHERE folder_id = ?', [folder.id]);
    await tx.run('DELETE FROM folder WHERE id = ?', [folder.id]);
  }
}

/** Roles whose folder the account has, but does not sync. */
async function excludedRoles(tx: ReadTx, accountId: number): Promise<ReadonlySet<string>> {
  const row = await tx.get<{ value: string }>('SELECT value FROM meta WHERE key = ?', [`excluded.${accountId}`]);
  return new Set(row === undefined ? [] : (JSON.parse(row.value) as string[]));
}

export async function saveExcludedRoles(tx: WriteTx, accountId: number, roles: readonly Role[]): Promise<void> {
  await tx.run('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', [
    `excluded.${accountId}`,
    JSON.stringify(roles),
  ]);
}

/** Throws `cannot` when a client wants mail in a role's folder that the account does not sync: it could not be shown. */
export async function refuseExcluded(tx: ReadTx, account: AccountPolicy, role: Role): Promise<void> {
  if (!(await excludedRoles(tx, account.id)).has(role)) return;
  const text = `the account ${account.name} keeps its folder for ${ROLE_NAMES[role]} out of Mergebox ("exclude")`;
  throw new MergeboxError('cannot', text);
}

/** Paths of folders where something is still owed or not settled: they are synced until it is. */
export async function unsettledFolders(tx: ReadTx, accountId: number): Promise<ReadonlySet<string>> {
  const rows = await tx.all<{ path: string }>(
    `SELECT folder.path FROM folder WHERE folder.account_id = ? AND (
       folder.state <> 'live' OR EXISTS (SELECT 1 FROM action WHERE action.folder_id = folder.id)
       OR EXISTS (SELECT 1 FROM copy WHERE copy.folder_id = folder.id AND copy.state <> 'live')
       OR EXISTS (SELECT 1 FROM action JOIN copy ON copy.id IN (action.copy_id, action.target_id)
                  WHERE action.account_id = folder.account_id AND copy.folder_id = folder.id))`,
    [accountId],
  );
  return new Set(rows.map((row) => row.path));
}

/** The account's folder of a role; its creation is owed when there is none. Instead of one that is not synced: INBOX. */
export async function roleFolder(tx: WriteTx, account: AccountPolicy, role: Role, reason: string): Promise<FolderRow> {
  const rows = await foldersOf(tx, account.id);
  const known = rows.find((folder) => folder.role === role && folder.state !== 'deleting');
  if (known) return known;
  if ((await excludedRoles(tx, account.id)).has(role)) return roleFolder(tx, account, 'inbox', reason);
  const inbox = rows.find((folder) => folder.role === 'inbox');
  const sample = rows.find((folder) => folder.role !== null && folder.role !== 'inbox');
  const delimiter = inbox?.delimiter ?? sample?.delimiter ?? '/';
  // INBOX is the same everywhere (RFC 9051 §5.1).
  const prefix = role === 'inbox' ? '' : await namespacePrefix(tx, account.id);
  const path = account.folders[role] ?? prefix + ROLE_NAMES[role];
  const existing = rows.find((folder) => folder.path === path);
  if (existing) {
    await tx.run('UPDATE folder SET role = ? WHERE id = ?', [role, existing.id]);
    return { ...existing, role };
  }
  const folder = await insertFolder(
    tx,
    account,
    { path, delimiter, role, virtual: false, selectable: true },
    'creating',
  );
  await owe(tx, [{ accountId: account.id, kind: 'create-folder', folderId: folder.id, detail: role }], reason);
  return folder;
}

/**
 * What stands before new top-level names at this account (RFC 2342), as its server told. Throws `unavailable` until it
 * was reached for the first time: neither its names nor which of its folders have a role are known before.
 */
export async function namespacePrefix(tx: ReadTx, accountId: number): Promise<string> {
  const row = await tx.get<{ value: string }>('SELECT value FROM meta WHERE key = ?', [`prefix.${accountId}`]);
  if (!row) throw new MergeboxError('unavailable', 'name a folder: the account was not reached yet');
  return row.value;
}

export async function saveNamespacePrefix(tx: WriteTx, accountId: number, prefix: string): Promise<void> {
  await tx.run('INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value', [
    `prefix.${accountId}`,
    prefix,
  ]);
}

export interface PullEnd {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly modSeq: string | null;
  readonly exists: number;
}

/**
 * Records where a complete pull ended. While a disappearance waits for its explanation, `pulled` stays: what arrived in
 * other folders since the last look that showed everything in place may be the mail that left this one.
 */
export async function saveCursor(tx: WriteTx, folderId: number, end: PullEnd): Promise<void> {
  await tx.run(
    `UPDATE folder SET uid_validity = ?, uid_next = ?, mod_seq = ?, exists_count = ?, held = NULL, pulled = CASE
       WHEN EXISTS (SELECT 1 FROM copy WHERE copy.folder_id = folder.id AND copy.state = 'vanished') THEN pulled ELSE ? END
     WHERE id = ?`,
    [end.uidValidity, end.uidNext, end.modSeq, end.exists, tx.modSeq, folderId],
  );
}

/**
 * Binds a folder to a UIDVALIDITY. The UIDs of another one say nothing any more: its copies keep everything else and
 * wait to be recognised by their content (RFC 9051 §2.3.1.1).
 */
export async function setUidValidity(tx: WriteTx, folderId: number, uidValidity: number): Promise<void> {
  await tx.run(
    'UPDATE folder SET uid_validity = ?, uid_next = NULL, mod_seq = NULL, exists_count = NULL WHERE id = ?',
    [uidValidity, folderId],
  );
  // A folder that lives here has its mail under these UIDs and nowhere else.
  await tx.run(
    `UPDATE copy SET uid = NULL WHERE folder_id = ?1 AND 0 =
       (SELECT local FROM account JOIN folder ON folder.account_id = account.id WHERE folder.id = ?1)`,
    [folderId],
  );
}

export async function setHeld(tx: WriteTx, folderId: number, held: string | null): Promise<void> {
  await tx.run('UPDATE folder SET held = ? WHERE id = ?', [held, folderId]);
}

export async function setFlagsOffered(tx: WriteTx, folderId: number, flags: string | null): Promise<void> {
  await tx.run('UPDATE folder SET flags_offered = ? WHERE id = ?', [flags, folderId]);
}

export async function foldersByIds(tx: ReadTx, ids: Iterable<number>): Promise<Map<number, FolderRow>> {
  const rows = await tx.all<FolderRow>('SELECT * FROM folder WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(ids),
  ]);
  return new Map(rows.map((row) => [row.id, row]));
}
