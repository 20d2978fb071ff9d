import type { Role } from '../mail/ids.js';
import type { AccountPolicy } from '../store/account-book.js';
import { type FolderDeletion, owe } from '../store/actions.js';
import {
  folderById,
  foldersOf,
  insertFolder,
  MIRROR_ROOT,
  mirrorName,
  namespacePrefix,
  removeFolders,
  upstreamLevel,
} from '../store/folders.js';
import { groupsOf } from '../store/groups.js';
import { mailboxNamed, mergedMailbox, mirrorsOf, setSubscribed, subscriptions } from '../store/mailboxes.js';
import { COPIED_SECONDS } from '../store/remove.js';
import type { FolderRow, MailboxRow } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';
import { transferGroups } from '../store/transfer.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { byWhom, type MailContext } from './context.js';
import { MAX_MAILBOXES, MAX_SUBSCRIPTIONS } from './limits.js';
import { objectId } from './object-id.js';

/**
 * CREATE (RFC 9051 §6.3.4): below `Accounts/<id>/` a folder is made there; any other name becomes a folder of the default
 * account (below an existing mailbox: of its account) that clients see under the name they gave it. Returns its row.
 */
export async function createMailbox(context: MailContext, name: string, role: Role | undefined): Promise<number> {
  const row = await context.store.write(async (tx) => {
    await requireFree(tx, name);
    await requireRoom(tx, 'mailbox', MAX_MAILBOXES);
    const { account, path, delimiter } = await parseName(tx, context, name);
    const own = await foldersOf(tx, account.id);
    // RFC 6154 §3: a special use that cannot be had is refused, not left out.
    if (role !== undefined && own.some((folder) => folder.role === role)) {
      throw new MergeboxError('cannot', `create "${name}": account "${account.name}" has its ${role} folder already`);
    }
    const listed = { path, delimiter, role: role ?? null, virtual: false, selectable: true };
    const folder = await insertFolder(tx, account, listed, 'creating', name);
    const detail = role === undefined ? {} : { detail: role };
    await owe(
      tx,
      [{ accountId: account.id, kind: 'create-folder', folderId: folder.id, ...detail }],
      reason(context, 'CREATE', name),
    );
    return (await mirrorsOf(tx, [folder.id])).get(folder.id)!.id;
  });
  faultPoint('folder.committed');
  return row;
}

/** DELETE (RFC 9051 §6.3.5) of a mirror deletes the folder upstream with all that is in it. */
export async function deleteMailbox(context: MailContext, name: string): Promise<void> {
  await context.store.write(async (tx) => {
    const { folder, account } = await ownFolder(tx, context, name);
    await requireSettled(tx, folder, name);
    const known = await tx.get<{ next: number | null }>('SELECT MAX(uid) + 1 AS next FROM copy WHERE folder_id = ?', [
      folder.id,
    ]);
    const deletion: FolderDeletion = {
      folder: folder.path,
      uidValidity: folder.uid_validity,
      // Our own uploads may be newer than the last look.
      uidNext: folder.uid_next === null ? null : Math.max(folder.uid_next, known?.next ?? 0),
    };
    await removeFolders(tx, context.book, [folder]);
    await owe(
      tx,
      [{ accountId: account.id, kind: 'delete-folder', detail: JSON.stringify(deletion) }],
      reason(context, 'DELETE', name),
    );
  });
  faultPoint('folder.committed');
}

/** RENAME (RFC 9051 §6.3.6): a mirror with all below it stays in its account; renaming INBOX moves its mail. */
export async function renameMailbox(context: MailContext, from: string, to: string): Promise<void> {
  if (from === 'INBOX') return renameInbox(context, to);
  await context.store.write(async (tx) => {
    await requireFree(tx, to);
    const { folder, account } = await ownFolder(tx, context, from);
    const target = await parseName(tx, context, to);
    if (target.account.id !== account.id) {
      throw new MergeboxError('cannot', `rename "${from}": "${to}" is in another account; move the mail instead`);
    }
    const below = folder.path + (folder.delimiter ?? '/');
    if (target.path.startsWith(below)) throw new MergeboxError('cannot', `rename "${from}": "${to}" is below it`);
    const own = await foldersOf(tx, account.id);
    const targetBelow = target.path + (folder.delimiter ?? '/');
    const others = own.filter((each) => each.id !== folder.id);
    if (others.some((each) => each.path === target.path || each.path.startsWith(targetBelow))) {
      throw new MergeboxError('alreadyexists', `rename "${from}": there is mail at "${to}" or below it already`);
    }
    for (const each of own) {
      if (each.id !== folder.id && !each.path.startsWith(below)) continue;
      if (each.role !== null)
        throw new MergeboxError('cannot', `rename "${from}": it holds the account's ${each.role} folder`);
      const path = target.path + each.path.slice(folder.path.length);
      const suffix = mirrorName('', path, each.delimiter).slice(mirrorName('', target.path, each.delimiter).length);
      await tx.run('UPDATE folder SET path = ? WHERE id = ?', [path, each.id]);
      await tx.run('UPDATE mailbox SET name = ? WHERE folder_id = ?', [to + suffix, each.id]);
      tx.touchNames();
    }
    const detail = JSON.stringify({ from: folder.path, to: target.path, name: from, toName: to });
    await owe(
      tx,
      [{ accountId: account.id, kind: 'rename-folder', folderId: folder.id, detail }],
      reason(context, 'RENAME', from),
    );
  });
  faultPoint('folder.committed');
}

/** Messages that RENAME of INBOX moves in one transaction: others that write wait for it. */
const RENAME_PAGE = 500;

/** RFC 9051 §6.3.6: the mail moves, INBOX stays; what arrives meanwhile stays in it. */
async function renameInbox(context: MailContext, to: string): Promise<void> {
  await createMailbox(context, to, undefined);
  const last = (await context.store.read((tx) => mergedMailbox(tx, 'inbox'))).uid_next - 1;
  for (let more = true; more; ) {
    more = await context.store.write(async (tx) => {
      const inbox = await mergedMailbox(tx, 'inbox');
      const target = await mailboxNamed(tx, to);
      const rows = await tx.all<{ uid: number }>(
        `SELECT uid FROM entry WHERE mailbox_id = ? AND uid <= ? ORDER BY uid LIMIT ${RENAME_PAGE}`,
        [inbox.id, last],
      );
      const uids = rows.map((row) => row.uid);
      const groups = [...(await groupsOf(tx, inbox, uids)).values()];
      await transferGroups(tx, context.book, groups, target, 'move', reason(context, 'RENAME', 'INBOX'));
      return rows.length === RENAME_PAGE;
    });
  }
}

export async function subscribeMailbox(context: MailContext, name: string, subscribed: boolean): Promise<void> {
  await context.store.write(async (tx) => {
    const known = await tx.get('SELECT 1 FROM subscription WHERE name = ?', [name]);
    if (subscribed && !known) await requireRoom(tx, 'subscription', MAX_SUBSCRIPTIONS);
    await setSubscribed(tx, name, subscribed);
  });
}

export interface MailboxInfo {
  readonly name: string;
  readonly mailboxId?: string;
  readonly role: Role | null;
  readonly selectable: boolean;
  readonly subscribed: boolean;
}

/** Every mailbox, the names above mirrors, and subscribed names without a mailbox. */
export async function listMailboxes(context: MailContext): Promise<MailboxInfo[]> {
  return context.store.read(async (tx) => {
    const rows = await tx.all<{ id: number; name: string; role: Role | null; selectable: number | null }>(
      'SELECT mailbox.id, mailbox.name, mailbox.role, folder.selectable FROM mailbox LEFT JOIN folder ON folder.id = mailbox.folder_id',
    );
    const subscribed = await subscriptions(tx);
    const infos = new Map<string, MailboxInfo>();
    for (const row of rows) {
      infos.set(row.name, {
        name: row.name,
        mailboxId: objectId('F', context.store.id, row.id),
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

async function requireRoom(tx: ReadTx, table: 'mailbox' | 'subscription', most: number): Promise<void> {
  const count = await tx.get<{ n: number }>(`SELECT COUNT(*) AS n FROM ${table}`);
  if (count!.n >= most) throw new MergeboxError('limit', `there may be no more than ${most}: remove some first`);
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

interface NewPlace {
  readonly account: AccountPolicy;
  readonly path: string;
  readonly delimiter: string | null;
}

/** The account and upstream path that a new name stands for. */
async function parseName(tx: ReadTx, context: MailContext, name: string): Promise<NewPlace> {
  const levels = name.replace(/\/$/, '').split('/');
  if (levels.includes('')) throw new MergeboxError('cannot', `"${name}": a level of the name is empty`);
  // RFC 9051 §5.1: servers refuse them, and what is owed to one must be possible.
  if (/\p{Cc}/u.test(name)) throw new MergeboxError('cannot', 'a name with control characters: choose another');
  if (levels[0] !== MIRROR_ROOT) return parseOwnName(tx, context, levels);
  const account = context.book.named(levels[1] ?? '');
  if (!account || levels.length < 3) {
    throw new MergeboxError('cannot', `"${name}": below ${MIRROR_ROOT} there are only the mailboxes of accounts`);
  }
  const prefix = await namespacePrefix(tx, account.id);
  const place = await join(tx, account, null, levels.slice(2));
  return place.path.startsWith(prefix) ? place : { ...place, path: prefix + place.path };
}

/** A name of the user's own: below an existing mailbox it belongs to that folder's account, else to the default one. */
async function parseOwnName(tx: ReadTx, context: MailContext, levels: readonly string[]): Promise<NewPlace> {
  const fallback = context.book.default();
  for (let depth = levels.length - 1; depth > 0; depth -= 1) {
    const above = await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE name = ?', [levels.slice(0, depth).join('/')]);
    if (!above) continue;
    const own = fallback ? await foldersOf(tx, fallback.id) : [];
    const parent =
      above.folder_id === null ? own.find((each) => each.role === above.role) : await folderById(tx, above.folder_id);
    if (parent) return join(tx, context.book.get(parent.account_id), parent.path, levels.slice(depth));
  }
  if (!fallback) throw new MergeboxError('cannot', 'there is no account that could hold a mailbox');
  const prefix = await namespacePrefix(tx, fallback.id);
  const place = await join(tx, fallback, null, levels);
  return { ...place, path: prefix + place.path };
}

async function join(
  tx: ReadTx,
  account: AccountPolicy,
  parent: string | null,
  levels: readonly string[],
): Promise<NewPlace> {
  if (account.authority === 'upstream') {
    throw new MergeboxError(
      'cannot',
      `account "${account.name}" has authority "upstream": Mergebox changes nothing there`,
    );
  }
  const folders = await foldersOf(tx, account.id);
  const delimiter = folders.find((folder) => folder.delimiter !== null)?.delimiter ?? '/';
  const names = levels.map(upstreamLevel);
  const bad = names.find((level) => level.includes(delimiter));
  if (bad !== undefined) {
    throw new MergeboxError(
      'cannot',
      `"${bad}": the server of account "${account.name}" allows no "${delimiter}" in a name`,
    );
  }
  return { account, path: [...(parent === null ? [] : [parent]), ...names].join(delimiter), delimiter };
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
       SELECT 1 FROM action WHERE action.copy_id = copy.id AND (action.state = 'pending'
         -- its client cannot know yet that the mail has stayed here
         OR action.kind IN ('copy', 'move', 'append') AND action.created > ?)
       UNION ALL SELECT 1 FROM action WHERE action.target_id = copy.id AND action.state = 'pending')) LIMIT 1`,
    [folder.id, Math.floor(Date.now() / 1000) - COPIED_SECONDS],
  );
  // An upload to another folder whose bytes only this one has.
  const source = await tx.get(
    `SELECT 1 FROM copy JOIN message ON message.id = copy.message_id AND message.pinned IS NULL
     JOIN copy AS made ON made.message_id = message.id AND made.id <> copy.id
     JOIN action AS upload ON upload.target_id = made.id AND upload.kind = 'append' WHERE copy.folder_id = ? LIMIT 1`,
    [folder.id],
  );
  if (busy || source)
    throw new MergeboxError(
      'unavailable',
      `delete "${name}": changes to its mail are still on their way to the server`,
    );
}

function reason(context: MailContext, command: string, name: string): string {
  return `client: ${command} of ${name} by ${byWhom(context)}`;
}
