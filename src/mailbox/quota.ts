import { folderById } from '../store/folders.js';
import { mailboxOrParent } from '../store/mailboxes.js';
import { quotas } from '../store/quotas.js';
import type { MailContext } from './context.js';

/** As imap's `QuotaRoot`. */
interface QuotaRoot {
  readonly name: string;
  readonly resources: readonly { readonly name: string; readonly used: number; readonly limit: number }[];
}

/**
 * The quota roots (RFC 9208 §3.2) of a mailbox, or of the user for null: those of the account for a mirror, of every
 * account for a merged mailbox. They are called by the account, with the server's own name behind it.
 */
export async function quotaRoots({ store, book }: MailContext, mailbox: string | null): Promise<QuotaRoot[]> {
  const rows = await store.read(async (tx) => {
    const row = mailbox === null ? null : await mailboxOrParent(tx, mailbox);
    if (mailbox !== null && row === null) return [];
    const folder = typeof row?.folder_id === 'number' ? await folderById(tx, row.folder_id) : undefined;
    return quotas(tx, folder?.account_id ?? null);
  });
  const roots = new Map<string, QuotaRoot['resources'][number][]>();
  for (const { account_id, root, resource, used, cap } of rows) {
    if (!book.has(account_id)) continue;
    const account = book.get(account_id).name;
    const name = root === '' ? account : `${account}/${root}`;
    roots.set(name, [...(roots.get(name) ?? []), { name: resource, used, limit: cap }]);
  }
  return [...roots].map(([name, resources]) => ({ name, resources }));
}
