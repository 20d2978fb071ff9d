import { AccountBook, type AccountPolicy } from './account-book.js';
import { forgetAccount } from './forget-account.js';
import type { Store } from './store.js';

/**
 * Gives every configured account its row, and forgets what the database knew of accounts that are configured no more
 * (their mail upstream is not touched).
 */
export async function openAccounts(store: Store, policies: readonly Omit<AccountPolicy, 'id'>[]): Promise<AccountBook> {
  return store.write(async (tx) => {
    const known = await tx.all<{ id: number; name: string }>('SELECT id, name FROM account');
    const accounts: AccountPolicy[] = [];
    for (const policy of policies) {
      const row =
        known.find((each) => each.name === policy.name) ??
        (await tx.get<{ id: number }>('INSERT INTO account (name) VALUES (?) RETURNING id', [policy.name]));
      accounts.push({ ...policy, id: row!.id });
    }
    const book = new AccountBook(accounts);
    for (const gone of known.filter((each) => !book.has(each.id))) {
      await forgetAccount(tx, book, gone);
    }
    return book;
  });
}
