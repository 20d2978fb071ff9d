import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { memoryBody, type StoredBody } from './stored-body.js';

/**
 * Bytes of which this may be the only copy: files named by their SHA-256, fsynced with their directory before `put`
 * resolves, verified when read, removed only by `sweep`. A crash can leave a file that nobody refers to, never a
 * reference without its file.
 */
export class PinnedFiles {
  readonly #dir: string;
  /** Files whose database row may not be committed yet: a sweep must not take them. */
  readonly #fresh = new Map<string, number>();
  /** Files that were put while a sweep ran: what it read from the database may be older than their rows. */
  readonly #touched = new Set<string>();
  /** Ends of the removals that are under way. */
  readonly #removing = new Map<string, Promise<void>>();
  #sweeps = 0;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async open(dir: string): Promise<PinnedFiles> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await syncDir(path.dirname(dir));
    for (const name of await readdir(dir)) if (name.endsWith('.part')) await rm(path.join(dir, name), { force: true });
    return new PinnedFiles(dir);
  }

  /**
   * Makes bytes durable and keeps them from `sweep` until `use` (which commits the reference) has settled.
   * Throws `overquota` when the disk is full, `unavailable` when it cannot be written.
   */
  async put<T>(bytes: Buffer, use: (sha256: string) => Promise<T>): Promise<T> {
    const name = createHash('sha256').update(bytes).digest('hex');
    this.#fresh.set(name, (this.#fresh.get(name) ?? 0) + 1);
    if (this.#sweeps > 0) this.#touched.add(name);
    try {
      await this.#removing.get(name);
      await this.#write(name, bytes);
      return await use(name);
    } finally {
      const users = this.#fresh.get(name)! - 1;
      if (users === 0) this.#fresh.delete(name);
      else this.#fresh.set(name, users);
    }
  }

  /** Throws `unavailable` when the file is missing or damaged. */
  async get(sha256: string): Promise<StoredBody> {
    const bytes = await readFile(this.#file(sha256)).catch((error) => {
      throw new MergeboxError('unavailable', `read pinned message ${sha256.slice(0, 12)}: ${error.message}`, {
        cause: error,
      });
    });
    if (createHash('sha256').update(bytes).digest('hex') !== sha256) {
      throw new MergeboxError('unavailable', `read pinned message ${sha256.slice(0, 12)}: the file is damaged`);
    }
    return memoryBody(bytes);
  }

  /** Removes every file that is not in `needed`, as read from the database by `needed` itself. */
  async sweep(needed: () => Promise<ReadonlySet<string>>): Promise<void> {
    this.#sweeps += 1;
    for (const name of this.#fresh.keys()) this.#touched.add(name);
    try {
      const present = await readdir(this.#dir);
      const keep = await needed();
      for (const name of present) {
        if (name.endsWith('.part') || keep.has(name) || this.#touched.has(name)) continue;
        const removal = rm(this.#file(name), { force: true }).finally(() => this.#removing.delete(name));
        this.#removing.set(name, removal);
        await removal;
        faultPoint('pin.removed');
      }
    } finally {
      this.#sweeps -= 1;
      if (this.#sweeps === 0) this.#touched.clear();
    }
  }

  async #write(name: string, bytes: Buffer): Promise<void> {
    const temporary = path.join(this.#dir, `${name}.${process.pid}.${Math.random().toString(36).slice(2)}.part`);
    try {
      const handle = await open(temporary, 'wx', 0o600);
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      faultPoint('pin.written');
      await rename(temporary, this.#file(name));
      await syncDir(this.#dir);
      faultPoint('pin.linked');
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      const full =
        (error as NodeJS.ErrnoException).code === 'ENOSPC' || (error as NodeJS.ErrnoException).code === 'EDQUOT';
      throw new MergeboxError(full ? 'overquota' : 'unavailable', `store message: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  #file(name: string): string {
    return path.join(this.#dir, name);
  }
}

/** Makes the names in a directory durable. */
async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
