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

/** What a daemon that does not come to rest still owed, and the folders that matter to it. */
export async function owedLines(box: Mergebox): Promise<string[]> {
  const store = await Store.open(join(box.dir, 'data', 'users', 'alice'));
  try {
    return await store.read(async (tx) => {
      const actions = await tx.all(
        `SELECT action.*, source.state AS source, source.uid AS source_uid, target.state AS target, target.uid AS target_uid,
         target_folder.path, target_folder.state AS folder_state, target_folder.uid_validity FROM action
         LEFT JOIN copy AS source ON source.id = action.copy_id LEFT JOIN copy AS target ON target.id = action.target_id
         LEFT JOIN folder AS target_folder ON target_folder.id = target.folder_id`,
      );
      const copies = await tx.all("SELECT * FROM copy WHERE state <> 'live' OR uid IS NULL");
      const folders = await tx.all("SELECT * FROM folder WHERE state <> 'live' OR held IS NOT NULL");
      return [...actions, ...copies, ...folders].map((row) => JSON.stringify(row));
    });
  } finally {
    await store.close();
  }
}

/** Every command that removed mail names what the ledger holds, or at least what the log says was authorised. */
async function ledgerFaults(store: Store, box: Mergebox, upstreams: readonly Upstream[]): Promise<string[]> {
  const rows = await store.read((tx) =>
    tx.all<{ account: string; folder: string; uid: number }>(
      "SELECT account, folder, uid FROM ledger WHERE kind <> 'mark'",
    ),
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
