import { quotas, saveQuotas } from '../store/quotas.js';
import { errorText } from '../util/errors.js';
import type { SyncContext } from './context.js';

/** Brings what is known of the account's quota up to date; a server that does not tell it now is asked again later. */
export async function refreshQuota({ upstream, store, account, log }: SyncContext): Promise<void> {
  if (upstream.quota === undefined) return;
  try {
    const rows = (await upstream.quota()).map(({ root, resource, used, limit }) => ({
      root,
      resource,
      used,
      cap: limit,
    }));
    const order = (a: { root: string; resource: string }, b: { root: string; resource: string }): number =>
      `${a.root}\0${a.resource}` < `${b.root}\0${b.resource}` ? -1 : 1;
    const known = (await store.read((tx) => quotas(tx, account.id))).map(({ account_id: _, ...row }) => row);
    // Nothing is written when nothing changed: a sync that finds nothing new leaves the database alone.
    if (JSON.stringify(known.sort(order)) === JSON.stringify(rows.sort(order))) return;
    await store.write((tx) => saveQuotas(tx, account.id, rows));
  } catch (error) {
    log.debug({ err: errorText(error) }, 'the quota could not be asked for');
  }
}
