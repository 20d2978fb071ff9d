import type { Role } from '../mail/ids.js';
import type { AccountPolicy } from '../store/account-book.js';
import { owe } from '../store/actions.js';
import {
  folderById,
  foldersOf,
  insertFolder,
  MIRROR_ROOT,
  mirrorName,
  namespacePrefix,
  removeFolders,
} from '../store/folders.js';
import { groupsOf } from '../store/groups.js';
import { mailboxNamed, mergedMailbox, setSubscribed, subscriptions } from '../store/mailboxes.js';
import type { FolderRow, MailboxRow } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';
import { transferGroups } from '../store/transfer.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import type { MailContext } from './context.js';

/** CREATE (RFC 9051 §6.3.4): below `Accounts/<id>/` a folder is made there; nothing can stand beside the merged mailboxes. */
export async function createMailbox(context: MailContext, name: string, role: Role | undefined): Promise<void> {
  await context.store.write(async (tx) => {
    await requireFree(tx, name);
    const { account, path, delimiter } = await parseMirrorName(tx, context, name);
    const own = await foldersOf(tx, account.id);
    const used = role !== undefined && own.some((folder) => folder.role === role);
    const listed = { path, delimiter, role: used ? null : (role ?? null), virtual: false, selectable: true };
    const folder = await insertFolder(tx, account, listed, 'creating');
    const detail = role === undefined ? {} : { detail: role };
    await owe(
      tx,
      [{ accountId: account.id, kind: 'create-folder', folderId: folder.id, ...detail }],
      reason(context, 'CREATE', name),
    );
  });
}

/** DELETE (RFC 9051 §6.3.5) of a mirror deletes the folder upstream with all that is in it. */
export async function deleteMailbox(context: MailContext, name: string): Promise<void> {
  await context.store.write(async (tx) => {
    const { folder, account } = await ownFolder(tx, context, name);
    await requireSettled(tx, folder, name);
    await removeFolders(tx, context.book, [folder]);
    await owe(
      tx,
      [{ accountId: account.id, kind: 'delete-folder', detail: folder.path }],
      reason(context, 'DELETE', name),
    );
  });
}

/** RENAME (RFC 9051 §6.3.6): a mirror with all below it stays in its account; renaming INBOX moves its mail. */
export async function renameMailbox(context: MailContext, from: string, to: string): Promise<void> {
  if (from === 'INBOX') return renameInbox(context, to);
  await context.store.write(async (tx) => {
    await requireFree(tx, to);
    const { folder, account } = await ownFolder(tx, context, from);
    const target = await parseMirrorName(tx, context, to);
    if (target.account.id !== account.id) {
      throw new MergeboxError('cannot', `rename "${from}": "${to}" is in another account; move the mail instead`);
    }
    const below = folder.path + (folder.delimiter ?? '/');
    for (const each of await foldersOf(tx, account.id)) {
      if (each.id !== folder.id && !each.path.startsWith(below)) continue;
      if (each.role !== null)
        throw new MergeboxError('cannot', `rename "${from}": it holds the account's ${each.role} folder`);
      const path = target.path + each.path.slice(folder.path.length);
      const name = mirrorName(account.name, path, each.delimiter);
      await tx.run('UPDATE folder SET path = ? WHERE id = ?', [path, each.id]);
      await tx.run('UPDATE mailbox SET name = ? WHERE folder_id = ?', [name, each.id]);
    }
    const detail = JSON.stringify({ from: folder.path, to: target.path });
    await owe(
      tx,
      [{ accountId: account.id, kind: 'rename-folder', folderId: folder.id, detail }],
      reason(context, 'RENAME', from),
    );
  });
}

async function renameInbox(context: MailContext, to: string): Promise<void> {
  await createMailbox(context, to, undefined);
  await context.store.write(async (tx) => {
    const inbox = await mergedMailbox(tx, 'inbox');
    const target = await mailboxNamed(tx, to);
    const uids = await tx.all<{ uid: number }>('SELECT uid FROM entry WHERE mailbox_id = ? ORDER BY uid', [inbox.id]);
    const groups = await groupsOf(
      tx,
      inbox,
      uids.map((row) => row.uid),
    );
    await transferGroups(tx, context.book, [...groups.values()], target, 'move', reason(context, 'RENAME', 'INBOX'));
  });
}

export async function subscribeMailbox(context: MailContext, name: string, subscribed: boolean): Promise<void> {
  await context.store.write((tx) => setSubscribed(tx, name, subscribed));
}

export interface MailboxInfo {
  readonly name: string;
  readonly role: Role | null;
  readonly selectable: boolean;
  readonly subscribed: boolean;
}

/** Every mailbox, the names above mirrors, and subscribed names without a mailbox. */
export async function listMailboxes(context: MailContext): Promise<MailboxInfo[]> {
  return context.store.read(async (tx) => {
    const rows = await tx.all<{ name: string; role: Role | null; selectable: number | null }>(
      'SELECT mailbox.name, mailbox.role, folder.selectable FROM mailbox LEFT JOIN folder ON folder.id = mailbox.folder_id',
    );
    const subscribed = await subscriptions(tx);
    const infos = new Map<string, MailboxInfo>();
    for (const row of rows) {
      infos.set(row.name, {
        name: row.name,
        role: row.role,
        selectable: row.selectable !== 0,
        subscribed: subscribed.has(row.name),
      });
    }
    for (const name of [...infos.keys()]) addParents(infos, name, subscribed);
    return [...infos.values()];
  });
}

function addParents(infos: Map<string, MailboxInfo>, name: string, subscribed: ReadonlySet<string>): void {
  for (let end = name.lastIndexOf('/'); end > 0; end = name.lastIndexOf('/', end - 1)) {
    const parent = name.slice(0, end);
    if (infos.has(parent)) return;
    infos.set(parent, { name: parent, role: null, selectable: false, subscribed: subscribed.has(parent) });
  }
}

async function requireFree(tx: ReadTx, name: string): Promise<void> {
  try {
    await mailboxNamed(tx, name);
  } catch (error) {
    if (isMergeboxError(error, 'nonexistent')) return;
    throw error;
  }
  throw new MergeboxError('alreadyexists', `"${name}" exists already`);
}

/** The account and upstream path that a name below `Accounts/` stands for. */
async function parseMirrorName(
  tx: ReadTx,
  context: MailContext,
  name: string,
): Promise<{ account: AccountPolicy; path: string; delimiter: string | null }> {
  const [root, id, ...levels] = name.replace(/\/$/, '').split('/');
  const account = root === MIRROR_ROOT && id !== undefined ? context.book.named(id) : undefined;
  if (!account || levels.length === 0 || levels.includes('')) {
    throw new MergeboxError('cannot', `"${name}": mailboxes can be made below ${MIRROR_ROOT}/<account>/ only`);
  }
  if (account.authority === 'upstream') {
    throw new MergeboxError(
      'cannot',
      `account "${account.name}" has authority "upstream": Mergebox changes nothing there`,
    );
  }
  const folders = await foldersOf(tx, account.id);
  const delimiter = folders.find((folder) => folder.delimiter !== null)?.delimiter ?? '/';
  const names = levels.map((level) => level.replaceAll('%2F', '/'));
  const bad = names.find((level) => level.includes(delimiter));
  if (bad !== undefined) {
    throw new MergeboxError(
      'cannot',
      `"${bad}": the server of account "${account.name}" allows no "${delimiter}" in a name`,
    );
  }
  const path = names.join(delimiter);
  const prefix = await namespacePrefix(tx, account.id);
  return { account, path: path.startsWith(prefix) ? path : prefix + path, delimiter };
}

/** The folder behind a mirror that may be changed: not one with a role. */
async function ownFolder(
  tx: ReadTx,
  context: MailContext,
  name: string,
): Promise<{ folder: FolderRow; account: AccountPolicy }> {
  const mailbox: MailboxRow = await mailboxNamed(tx, name);
  const folder = mailbox.folder_id === null ? undefined : await folderById(tx, mailbox.folder_id);
  if (!folder) throw new MergeboxError('cannot', `"${name}" is a merged mailbox: it always exists`);
  if (folder.role !== null) throw new MergeboxError('cannot', `"${name}" is the account's ${folder.role} folder`);
  const account = context.book.get(folder.account_id);
  if (account.authority === 'upstream') {
    throw new MergeboxError(
      'cannot',
      `account "${account.name}" has authority "upstream": Mergebox changes nothing there`,
    );
  }
  return { folder, account };
}

/** Mail that is still on its way into a folder must not be destroyed with it. */
async function requireSettled(tx: ReadTx, folder: FolderRow, name: string): Promise<void> {
  const busy = await tx.get(
    `SELECT 1 FROM copy WHERE folder_id = ? AND (state = 'pending' OR EXISTS (
       SELECT 1 FROM action WHERE action.copy_id = copy.id OR action.target_id = copy.id)) LIMIT 1`,
    [folder.id],
  );
  if (busy)
    throw new MergeboxError(
      'unavailable',
      `delete "${name}": changes to its mail are still on their way to the server`,
    );
}

function reason(context: MailContext, command: string, name: string): string {
  return `client: ${command} of ${name} by ${context.user}`;
}
