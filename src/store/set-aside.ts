import { access, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { faultPoint } from '../util/fault.js';

/** Where a new database is made beside a damaged one, and the file that says that it is complete. */
const FOLDER = 'rebuild';
const COMPLETE = 'complete';

/** An empty folder for a new database in the user's directory. */
export async function beginRebuild(dir: string): Promise<string> {
  const folder = path.join(dir, FOLDER);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** The new database is whole and closed: from now on it will take the place of the old one, whatever happens. */
export async function completeRebuild(dir: string): Promise<void> {
  const folder = path.join(dir, FOLDER);
  const handle = await open(path.join(folder, COMPLETE), 'w', 0o600);
  await handle.sync();
  await handle.close();
  await syncFolder(folder);
  faultPoint('rebuild.complete');
}

/**
 * Takes a new database that is complete into use; the old one, never deleted, goes to `broken-<time>`, whose path is
 * returned. What a crash left of an unfinished one is removed. To be called before the database is opened.
 */
export async function finishRebuild(dir: string): Promise<string | null> {
  const folder = path.join(dir, FOLDER);
  const made = path.join(folder, 'mergebox.db');
  let aside: string | null = null;
  if ((await exists(path.join(folder, COMPLETE))) && (await exists(made))) {
    aside = await setAside(dir);
    faultPoint('rebuild.aside');
    await rename(made, path.join(dir, 'mergebox.db'));
    await syncFolder(dir);
    faultPoint('rebuild.renamed');
  }
  await rm(folder, { recursive: true, force: true });
  return aside;
}

async function setAside(dir: string): Promise<string> {
  const aside = path.join(dir, `broken-${new Date().toISOString().replaceAll(':', '')}`);
  await mkdir(aside, { mode: 0o700 });
  for (const name of await readdir(dir)) {
    if (/^mergebox\.(db(-wal|-shm)?|state)$/.test(name)) await rename(path.join(dir, name), path.join(aside, name));
  }
  await syncFolder(aside);
  await syncFolder(dir);
  return aside;
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
