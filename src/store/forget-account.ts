import type { Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import type { AccountBook, AccountPolicy } from './account-book.js';
import { owe } from './actions.js';
import { insertPendingCopy } from './copies.js';
import { removeFolders, roleFolder } from './folders.js';
import { refreshAccounts } from './groups.js';
import { mergedMailbox } from './mailboxes.js';
import { placeCopies } from './place.js';
import { type CopyRow, type FolderRow, jsonIds } from './rows.js';
import type { WriteTx } from './store.js';
import { createEntry } from './transfer.js';

/**
 * Forgets an account that is configured no more; its mail upstream is not touched. Mail that was to go there and of
 * which Mergebox has the only copy goes to another account instead; mail that would have left another account once it
 * had arrived there stays. Throws `config` when there is nowhere for the former.
 */
export async function forgetAccount(
  tx: WriteTx,
  book: AccountBook,
  gone: { readonly id: number; readonly name: string },
): Promise<void> {
  const folders = await tx.all<FolderRow>('SELECT * FROM folder WHERE account_id = ?', [gone.id]);
  await keepSources(tx, book, gone.id);
  await rehome(tx, book, gone.name, folders);
  await removeFolders(tx, book, folders);
  await tx.run('DELETE FROM action WHERE account_id = ?', [gone.id]);
  await tx.run('DELETE FROM quota WHERE account_id = ?', [gone.id]);
  await tx.run('DELETE FROM account WHERE id = ?', [gone.id]);
}

/** Copies at other accounts that were to be removed after an upload to this one are shown again, as new arrivals. */
async function keepSources(tx: WriteTx, book: AccountBook, accountId: number): Promise<void> {
  const waiting = await tx.all<{ id: number; copy_id: number }>(
    `SELECT action.id, action.copy_id FROM action JOIN copy ON copy.id = action.copy_id
     WHERE action.kind = 'expunge' AND action.account_id <> ? AND EXISTS (
       SELECT 1 FROM action AS upload JOIN copy AS made ON made.id = upload.target_id
       WHERE upload.account_id = ? AND upload.kind = 'append'
       AND (upload.id = action.after_id OR made.message_id = copy.message_id))`,
    [accountId, accountId],
  );
  const sources = waiting.map((row) => row.copy_id);
  // One whose own upload is owed has no UID yet: that is no sign of a mail that its server has lost.
  await tx.run(
    `UPDATE copy SET mirror_uid = NULL,
       state = CASE WHEN EXISTS (SELECT 1 FROM action WHERE action.target_id = copy.id) THEN 'pending' ELSE 'live' END
     WHERE id IN (SELECT value FROM json_each(?))`,
    [jsonIds(sources)],
  );
  await placeCopies(tx, book, sources);
  await tx.run('DELETE FROM action WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(waiting.map((row) => row.id)),
  ]);
}

/** Owes mail that is only here to another account: to its folder of the same role, else to its INBOX. */
async function rehome(tx: WriteTx, book: AccountBook, name: string, folders: readonly FolderRow[]): Promise<void> {
  const copies = await tx.all<CopyRow & { merge_key: string | null }>(
    `SELECT copy.*, message.merge_key FROM copy JOIN message ON message.id = copy.message_id
     WHERE copy.folder_id IN (SELECT value FROM json_each(?1)) AND copy.state = 'pending' AND message.pinned IS NOT NULL
     -- not what was to be copied there from an account that still has it, or will have
     AND NOT EXISTS (SELECT 1 FROM message AS same JOIN copy AS other ON other.message_id = same.id
       WHERE same.match_key = message.match_key AND same.size = message.size
       AND COALESCE(same.email_id, same.id) = COALESCE(message.email_id, message.id)
       AND (other.state = 'pending' AND same.pinned IS NOT NULL OR other.state = 'live' AND other.uid IS NOT NULL)
       AND other.folder_id NOT IN (SELECT value FROM json_each(?1)))
     ORDER BY copy.id`,
    [jsonIds(folders.map((folder) => folder.id))],
  );
  if (copies.length === 0) return;
  const account = heir(book);
  if (!account) {
    throw new MergeboxError(
      'config',
      `account "${name}" is configured no more, but ${copies.length} mails were not uploaded to it yet and no other ` +
        'account can take them: configure it again until they are',
    );
  }
  for (const copy of copies) {
    const role = folders.find((folder) => folder.id === copy.folder_id)!.role ?? 'inbox';
    await rehomeCopy(tx, book, account, copy, role);
  }
}

async function rehomeCopy(
  tx: WriteTx,
  book: AccountBook,
  account: AccountPolicy,
  copy: CopyRow & { merge_key: string | null },
  role: Role,
): Promise<void> {
  const reason = 'reconciliation: its account is configured no more';
  const folder = await roleFolder(tx, account, role, reason);
  const content = {
    messageId: copy.message_id,
    flags: copy.flags,
    size: copy.size,
    internalDate: copy.internal_date,
  };
  const mailbox = await mergedMailbox(tx, role);
  const entryId =
    copy.entry_id ?? (await createEntry(tx, mailbox.id, { ...content, mergeKey: copy.merge_key, accounts: '' })).id;
  const made = await insertPendingCopy(tx, folder, { ...content, entryId });
  await owe(tx, [{ accountId: account.id, kind: 'append', targetId: made.id }], reason);
  await refreshAccounts(tx, book, [entryId]);
}

function heir(book: AccountBook): AccountPolicy | undefined {
  const able = book.all().filter((account) => book.pushes(account.id));
  return able.find((account) => account.isDefault) ?? able[0];
}
