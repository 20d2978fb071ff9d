import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { MergeboxError } from '../util/errors.js';

/** Octets that a start needs room for: a page or two, and what SQLite shares among its handles. */
const ROOM = 65_536;

/** What keeps a directory from being written to, in words that say what to do; null when nothing does. */
export async function whyUnwritable(dir: string): Promise<MergeboxError | null> {
  const probe = path.join(dir, `probe.${process.pid}`);
  try {
    await writeFile(probe, Buffer.alloc(ROOM), { mode: 0o600 });
    return null;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const full = code === 'ENOSPC' || code === 'EDQUOT';
    const what = full ? 'its disk is full; make room and start again' : (TEXTS.get(code ?? '') ?? message);
    return new MergeboxError(full ? 'overquota' : 'unavailable', `write to ${dir}: ${what}`, { cause: error });
  } finally {
    await rm(probe, { force: true }).catch(() => undefined);
  }
}

const TEXTS: ReadonlyMap<string, string> = new Map([
  ['EROFS', 'it is on a read-only file system; make it writable and start again'],
  ['EACCES', 'permission denied; give it to the user that Mergebox runs as'],
  ['EPERM', 'permission denied; give it to the user that Mergebox runs as'],
]);
