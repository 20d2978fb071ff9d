import { oweSetAside } from '../store/ingest.js';
import type { Authorisation } from '../upstream/port.js';
import type { LoadedAction } from './batch.js';
import type { SyncContext } from './context.js';

/**
 * The choke point of destruction: the only place that makes an `Authorisation`, and only from rows of the action list,
 * which are written in the transaction of the client's command or of the reconciliation that decided them.
 */
export function authorise({ store, book, account }: SyncContext, actions: readonly LoadedAction[]): Authorisation {
  return {
    actions: actions.map(({ row }) => row.id),
    reason: [...new Set(actions.map(({ row }) => row.reason))].join('; '),
    setAside: (folder, uids) => store.write((tx) => oweSetAside(tx, book, account.id, folder, uids)),
  };
}
