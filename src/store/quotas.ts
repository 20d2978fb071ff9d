import type { ReadTx, WriteTx } from './store.js';

/** One limit of an account's server (RFC 9208); STORAGE counts units of 1,024 octets. */
export interface QuotaRow {
  readonly root: string;
  readonly resource: string;
  readonly used: number;
  readonly cap: number;
}

/** Replaces what is known of an account. */
export async function saveQuotas(tx: WriteTx, accountId: number, rows: readonly QuotaRow[]): Promise<void> {
  await tx.run('DELETE FROM quota WHERE account_id = ?', [accountId]);
  for (const { root, resource, used, cap } of rows) {
    await tx.run('INSERT INTO quota (account_id, root, resource, used, cap) VALUES (?,?,?,?,?)', [
      accountId,
      root,
      resource,
      used,
      cap,
    ]);
  }
}

/** Of one account, or of all. */
export async function quotas(
  tx: ReadTx,
  accountId: number | null,
): Promise<(QuotaRow & { readonly account_id: number })[]> {
  const where = accountId === null ? '' : 'WHERE account_id = ?';
  return tx.all(
    `SELECT account_id, root, resource, used, cap FROM quota ${where} ORDER BY account_id, root, resource`,
    accountId === null ? [] : [accountId],
  );
}
