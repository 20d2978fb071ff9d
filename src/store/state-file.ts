import { open, readFile, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';

/** What stands beside a database of how it was left. */
type State =
  /** Somebody has it open, or was killed: then what was committed last is in its write-ahead log. */
  | { readonly state: 'open' }
  /** All is in the file itself; it is about to be closed. */
  | { readonly state: 'closing' }
  | { readonly state: 'closed'; readonly size: number; readonly mtimeMs: number }
  /** It was found damaged while it was in use. */
  | { readonly state: 'damaged' };

/** What to look at before a database is used. */
export type Examination = 'nothing' | 'structure' | 'content';

/**
 * A file that says how the database beside it was left: a damage that SQLite cannot see (a file cut to nothing, a
 * write-ahead log that is gone) shows by it, and one that was closed in good order need not be read through.
 */
export class StateFile {
  readonly #file: string;
  readonly #database: string;

  /** Of the database file at that path. */
  constructor(database: string) {
    this.#database = database;
    this.#file = path.join(path.dirname(database), 'mergebox.state');
  }

  /** How far the database can be believed; throws `corrupt` when it cannot be what was left. */
  async examine(): Promise<Examination> {
    const [left, file, log] = await Promise.all([
      this.#read(),
      stat(this.#database).catch(() => null),
      stat(`${this.#database}-wal`).catch(() => null),
    ]);
    // A new one, or one that a person moved away.
    if (file === null || (file.size === 0 && left === null)) return 'nothing';
    if (file.size === 0 && log === null) throw damaged(this.#database, 'the file is empty');
    if (left === null) return 'structure';
    switch (left.state) {
      case 'damaged':
        throw damaged(this.#database, 'a part of it could not be read');
      case 'open':
        if (log === null) throw damaged(this.#database, 'its write-ahead log, mergebox.db-wal, is gone');
        return 'structure';
      case 'closing':
        return 'structure';
      case 'closed': {
        const untouched = file.size === left.size && file.mtimeMs === left.mtimeMs;
        return untouched && (log?.size ?? 0) === 0 ? 'nothing' : 'content';
      }
    }
  }

  /** Whether what was committed last must have stood in a log that is not there. */
  async logIsGone(): Promise<boolean> {
    const left = await this.#read();
    return left?.state === 'open' && (await stat(`${this.#database}-wal`).catch(() => null)) === null;
  }

  opened(): Promise<void> {
    return this.#write({ state: 'open' });
  }

  closing(): Promise<void> {
    return this.#write({ state: 'closing' });
  }

  async closed(): Promise<void> {
    faultPoint('store.closed');
    const { size, mtimeMs } = await stat(this.#database);
    await this.#write({ state: 'closed', size, mtimeMs });
  }

  damaged(): Promise<void> {
    return this.#write({ state: 'damaged' });
  }

  async remove(): Promise<void> {
    await rm(this.#file, { force: true });
  }

  /** Null when there is none; one that a crash tore says as little as one that was never closed. */
  async #read(): Promise<State | null> {
    const text = await readFile(this.#file, 'utf8').catch(() => null);
    if (text === null) return null;
    try {
      return JSON.parse(text) as State;
    } catch {
      return { state: 'closing' };
    }
  }

  async #write(state: State): Promise<void> {
    const handle = await open(this.#file, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify(state));
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
}

export function damaged(file: string, verdict: string): MergeboxError {
  return new MergeboxError(
    'corrupt',
    `open database ${file}: it is damaged (${verdict}). "mergebox rebuild" sets it aside and builds a new one from the ` +
      'servers; mail there is not touched',
  );
}
