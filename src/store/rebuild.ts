import { rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { errorText, isMergeboxError } from '../util/errors.js';
import { Handle } from './driver.js';
import { type Mending, mend, uidsAreKept } from './mend.js';
import { type Salvage, salvage } from './salvage.js';
import { beginRebuild, completeRebuild, finishRebuild } from './set-aside.js';
import { StateFile } from './state-file.js';
import { Store } from './store.js';

export interface Rebuild {
  /** Where the old database is now; null when there was none. */
  readonly aside: string | null;
  /** What the new one has of it; null when it begins with nothing, under new UIDVALIDITYs. */
  readonly mending: Mending | null;
  /** Why it begins with nothing, or what could not be read. */
  readonly losses: readonly string[];
}

/** How far above the clock UIDVALIDITYs begin of which it is not known how many were given out. */
const UNKNOWN_UIDVALIDITIES = 100_000;

/**
 * Makes a new database in a user's directory out of what a damaged one still tells, and sets that aside. Nobody may
 * have it open. Servers are not asked: their mail is read again when the new database is used. `pinned` are the names of
 * the pinned files.
 */
export async function rebuildDatabase(dir: string, pinned: ReadonlySet<string>): Promise<Rebuild> {
  await finishRebuild(dir);
  const folder = await beginRebuild(dir);
  const { mending, losses } = await makeFrom(dir, folder, pinned);
  if (mending === null) await makeEmpty(folder);
  await rm(path.join(folder, 'mergebox.state'), { force: true });
  await completeRebuild(dir);
  return { aside: await finishRebuild(dir), mending, losses };
}

async function makeFrom(
  dir: string,
  folder: string,
  pinned: ReadonlySet<string>,
): Promise<Pick<Rebuild, 'mending' | 'losses'>> {
  const file = path.join(dir, 'mergebox.db');
  const info = await stat(file).catch(() => null);
  if (info === null || info.size === 0) return { mending: null, losses: ['there is nothing in the file'] };
  if (await new StateFile(file).logIsGone()) {
    return { mending: null, losses: ['what was written last is gone with its write-ahead log'] };
  }
  let salvaged: Salvage;
  try {
    salvaged = await salvage(file, path.join(folder, 'mergebox.db'));
  } catch (error) {
    if (!isMergeboxError(error, 'corrupt')) throw error;
    return { mending: null, losses: [errorText(error)] };
  }
  const losses = salvaged.tables
    .filter(({ damage }) => damage !== null)
    .map(({ table, rows, damage }) => `table ${table}: ${rows} rows could be read (${damage})`);
  if (salvaged.tables.length === 0) return { mending: null, losses: salvaged.faults };
  const store = await Store.open(folder);
  try {
    if (!(await uidsAreKept(store, salvaged))) return { mending: null, losses };
    return { mending: await mend(store, salvaged, pinned), losses };
  } finally {
    await store.close();
  }
}

async function makeEmpty(folder: string): Promise<void> {
  for (const name of ['mergebox.db', 'mergebox.db-wal', 'mergebox.db-shm', 'mergebox.state']) {
    await rm(path.join(folder, name), { force: true });
  }
  await (await Store.open(folder)).close();
  const handle = await Handle.open(path.join(folder, 'mergebox.db'), 'write');
  try {
    await handle.run(
      "INSERT INTO meta (key, value) VALUES ('uidValidity', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
      [String(Math.floor(Date.now() / 1000) + UNKNOWN_UIDVALIDITIES)],
    );
  } finally {
    await handle.close();
  }
}
