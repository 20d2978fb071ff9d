import type { CopyFacts, Observed } from '../mail/reconcile.js';
import type { AccountBook } from './account-book.js';
import type { CopyRow, FolderRow } from './rows.js';

/** What the reconciliation has to know of a copy in that folder. */
export function copyFacts(book: AccountBook, copy: CopyRow, folder: FolderRow, observed: Observed): CopyFacts {
  const { authority, onUpstreamDelete } = book.get(folder.account_id);
  return {
    base: copy.base,
    observed,
    offered: folder.flags_offered,
    refused: copy.refused,
    role: folder.role,
    authority,
    onDelete: onUpstreamDelete,
  };
}
