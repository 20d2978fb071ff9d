import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { openAccounts } from '../../src/store/accounts.js';
import { Store } from '../../src/store/store.js';
import { invariantFaults } from '../harness/invariants.js';
import type { Mergebox } from '../harness/mergebox.js';
import type { Upstream } from './upstreams.js';

/** What is wrong with the database of a daemon that does not run: its invariants, and what the ledger does not hold. */
export async function storeFaults(box: Mergebox, upstreams: readonly Upstream[]): Promise<string[]> {
  const dir = join(box.dir, 'data', 'users', 'alice');
  const store = await Store.open(dir);
  try {
    const book = await openAccounts(
      store,
      upstreams.map(({ id }, index) => ({
        name: id,
        authority: 'both',
        onUpstreamDelete: 'trash',
        addresses: [],
        folders: {},
        isDefault: index === 0,
      })),
    );
    const pinned = new Set(await readdir(join(dir, 'pinned')));
    const faults = await invariantFaults(store, { book, pinned });
    return [...faults.map((fault) => `store: ${fault}`), ...(await ledgerFaults(store, box, upstreams))];
  } finally {
    await store.close();
  }
}

/** Every command that removed mail names what the ledger holds, or at least what the log says was authorised. */
async function ledgerFaults(store: Store, box: Mergebox, upstreams: readonly Upstream[]): Promise<string[]> {
  const rows = await store.read((tx) =>
    tx.all<{ account: string; folder: string; uid: number }>('SELECT account, folder, uid FROM ledger'),
  );
  const ledger = new Set(rows.map(({ account, folder, uid }) => `${account} ${folder} ${uid}`));
  const authorised = authorisedChanges(box.log());
  const faults: string[] = [];
  for (const { id, destructions } of upstreams) {
    for (const { kind, folder, uids } of destructions) {
      const logged = authorised.has(`${id} ${LOGGED[kind]} ${folder}`) || authorised.has(`${id} move ${folder}`);
      if (!logged) faults.push(`${id}: ${kind} in "${folder}" was authorised by nobody`);
      if (kind !== 'move' && kind !== 'expunge') continue;
      const unknown = uids.filter((uid) => !ledger.has(`${id} ${folder} ${uid}`));
      if (unknown.length > 0) faults.push(`${id}: ${kind} of ${unknown.join(' ')} in "${folder}" is not in the ledger`);
    }
    destructions.length = 0;
  }
  return faults;
}

const LOGGED = {
  move: 'move',
  expunge: 'expunge',
  'bare-expunge': 'expunge',
  'delete-folder': 'delete folder',
  'mark-deleted': 'expunge',
} as const;

function authorisedChanges(log: string): Set<string> {
  const found = new Set<string>();
  for (const line of log.split('\n')) {
    if (!line.includes('authorised change upstream')) continue;
    const { account, what, path } = JSON.parse(line) as { account: string; what: string; path: string };
    found.add(`${account} ${what === 'store flags' ? 'expunge' : what} ${path}`);
  }
  return found;
}
