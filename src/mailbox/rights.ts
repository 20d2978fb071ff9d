import { folderById } from '../store/folders.js';
import { mailboxOrParent } from '../store/mailboxes.js';
import type { MailContext } from './context.js';

/**
 * What its owner may do with a mailbox, as letters of RFC 4314 §2.1. Merged mailboxes and folders with a role cannot be
 * deleted (`x`); an account with authority "upstream" takes nothing but flags, which stay here.
 */
export async function rightsOf({ store, book }: MailContext, name: string): Promise<string> {
  return store.read(async (tx) => {
    const mailbox = await mailboxOrParent(tx, name);
    if (mailbox === null) return 'lka';
    const folder = mailbox.folder_id === null ? undefined : await folderById(tx, mailbox.folder_id);
    if (folder === undefined) return 'lrswiktea';
    if (!book.has(folder.account_id) || book.get(folder.account_id).authority === 'upstream') return 'lrswa';
    if (folder.selectable === 0) return 'lkxa';
    return folder.role === null ? 'lrswikxtea' : 'lrswiktea';
  });
}
