import { AccountBook, type AccountPolicy } from './account-book.js';
import { forgetAccount } from './forget-account.js';
import { MIRROR_ROOT } from './folders.js';
import { refreshAccounts } from './groups.js';
import type { Store, WriteTx } from './store.js';

interface AccountRow {
  readonly id: number;
  readonly name: string;
  readonly local: 0 | 1;
}

/**
 * Gives every configured account its row, and forgets what the database knew of accounts that are configured no more
 * (their mail upstream is not touched). One that has mail of which nobody else has the bytes, a local or a POP3 account,
 * stays as a local account as long as it has any.
 */
export async function openAccounts(store: Store, policies: readonly Omit<AccountPolicy, 'id'>[]): Promise<AccountBook> {
  return store.write(async (tx) => {
    const known = await tx.all<AccountRow>('SELECT id, name, local FROM account');
    const ofPolicy = ({ name, local }: Omit<AccountPolicy, 'id'>): AccountRow | undefined =>
      known.find((row) => row.name === name && (row.local === 1) === (local === true));
    const gone = known.filter((row) => !policies.some((policy) => ofPolicy(policy) === row));
    // A name goes to the account that is configured under it.
    const left = await Promise.all(gone.map((row) => renamed(tx, row, policies)));
    const accounts: AccountPolicy[] = [];
    for (const policy of policies) {
      const row = ofPolicy(policy) ?? (await insertAccount(tx, policy));
      accounts.push({ ...policy, id: row.id });
    }
    for (const row of left) if (row.local === 1 && (await hasMail(tx, row.id))) accounts.push(keptPolicy(row));
    const book = new AccountBook(accounts);
    for (const row of left) {
      if (!book.has(row.id)) await forgetAccount(tx, book, row);
      else if (!gone.includes(row)) await refreshNames(tx, book, row.id);
    }
    return book;
  });
}

async function insertAccount(tx: WriteTx, { name, local }: Omit<AccountPolicy, 'id'>): Promise<{ id: number }> {
  return (await tx.get<{ id: number }>('INSERT INTO account (name, local) VALUES (?, ?) RETURNING id', [
    name,
    local === true ? 1 : 0,
  ]))!;
}

/** What an account is that only its mail is left of. */
function keptPolicy({ id, name }: AccountRow): AccountPolicy {
  const usual = { authority: 'both', onUpstreamDelete: 'trash', addresses: [], folders: {} } as const;
  return { id, name, ...usual, isDefault: false, local: true };
}

async function hasMail(tx: WriteTx, accountId: number): Promise<boolean> {
  const row = await tx.get(
    `SELECT 1 FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE folder.account_id = ? AND copy.state <> 'doomed' LIMIT 1`,
    [accountId],
  );
  return row !== undefined;
}

/** Makes room for the configured account of another kind that has the name now. */
async function renamed(
  tx: WriteTx,
  row: AccountRow,
  policies: readonly Omit<AccountPolicy, 'id'>[],
): Promise<AccountRow> {
  if (!policies.some(({ name }) => name === row.name)) return row;
  for (let number = 1; ; number += 1) {
    const name = `${row.name.slice(0, 24)}-kept${number === 1 ? '' : number}`;
    const taken = await tx.get('SELECT 1 FROM account WHERE name = ?', [name]);
    if (taken || policies.some((policy) => policy.name === name)) continue;
    await tx.run('UPDATE account SET name = ? WHERE id = ?', [name, row.id]);
    const before = `${MIRROR_ROOT}/${row.name}/`;
    await tx.run(
      `UPDATE mailbox SET name = ? || substr(name, ?)
       WHERE substr(name, 1, ?) = ? AND folder_id IN (SELECT id FROM folder WHERE account_id = ?)`,
      [`${MIRROR_ROOT}/${name}/`, before.length + 1, before.length, before, row.id],
    );
    return { ...row, name };
  }
}

/** The keywords of entries say what the account is called now. */
async function refreshNames(tx: WriteTx, book: AccountBook, accountId: number): Promise<void> {
  const entries = await tx.all<{ id: number }>(
    `SELECT DISTINCT copy.entry_id AS id FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE folder.account_id = ? AND copy.entry_id IS NOT NULL`,
    [accountId],
  );
  await refreshAccounts(
    tx,
    book,
    entries.map((row) => row.id),
  );
}
