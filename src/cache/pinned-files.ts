import { createHash, hash, randomInt } from 'node:crypto';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { chunks, groupBy } from '../util/group.js';
import { BLOCK, gzipBlocks } from './gzip-blocks.js';
import { PinnedWriter, syncDir, writePinned } from './pinned-writer.js';
import { memoryBody, type StoredBody } from './stored-body.js';

/** Files that a sweep asks about at once. */
const SWEPT = 2_000;
/** A body up to this size is checked and handed out whole; larger ones are checked once and then read in parts. */
const WHOLE = 1 << 20;

/** Keeps what was made durable through it from `sweep`, until the work it was given to has settled. */
export interface PinnedLease {
  /** Makes bytes durable but for the directory; resolves to their SHA-256 (hex). */
  add(bytes: Buffer): Promise<string>;
  /** The same in pieces, for what is too large for memory. */
  writer(): Promise<PinnedWriter>;
  /** For a file that is there already, if it is. */
  keep(sha256: string): Promise<void>;
  /** Keeps a text beside the file of that name: what is to become of it, for the day when no database says so. */
  note(sha256: string, text: string): Promise<void>;
  /** After this, all that was added before outlives a power cut, and its name may be committed. */
  settle(): Promise<void>;
}

/**
 * Bytes of which this may be the only copy: compressed files named by the SHA-256 of what they hold, fsynced with their
 * directory before anything refers to them, verified when read, removed only by `sweep`. A crash can leave a file that
 * nobody refers to, never a reference without its file. Notes (`<name>.<number>.json`) go with their file.
 */
export class PinnedFiles {
  readonly #dir: string;
  /** Files whose database row may not be committed yet: a sweep must not take them. */
  readonly #fresh = new Map<string, number>();
  /** Files that were put while a sweep ran: what it read from the database may be older than their rows. */
  readonly #touched = new Set<string>();
  /** Ends of the removals that are under way. */
  readonly #removing = new Map<string, Promise<void>>();
  /** Large files that were found whole since the start. */
  readonly #verified = new Set<string>();
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
  put<T>(bytes: Buffer, use: (sha256: string) => Promise<T>): Promise<T> {
    return this.lease(async (lease) => {
      const name = await lease.add(bytes);
      await lease.settle();
      return use(name);
    });
  }

  /** As `put`, for many bodies and as long as `use` takes. */
  async lease<T>(use: (lease: PinnedLease) => Promise<T>): Promise<T> {
    const names: string[] = [];
    const notes: string[] = [];
    const keep = async (name: string): Promise<void> => {
      names.push(name);
      this.#fresh.set(name, (this.#fresh.get(name) ?? 0) + 1);
      if (this.#sweeps > 0) this.#touched.add(name);
      await this.#removing.get(name);
    };
    try {
      return await use({
        add: async (bytes) => {
          const name = hash('sha256', bytes, 'hex');
          await keep(name);
          if (bytes.length <= BLOCK) {
            await writePinned(this.#dir, name, bytes);
            return name;
          }
          const writer = await PinnedWriter.open(this.#dir);
          await writer.write(bytes).catch(async (error: unknown) => {
            await writer.abort();
            throw error;
          });
          return writer.commit();
        },
        writer: () => PinnedWriter.open(this.#dir, keep),
        keep,
        note: async (sha256, text) => {
          const file = this.#file(`${sha256}.${randomInt(1e12)}.json`);
          notes.push(file);
          await writeFile(file, text, { flag: 'wx', mode: 0o600, flush: true });
        },
        settle: async () => {
          await syncDir(this.#dir);
          faultPoint('pin.linked');
        },
      });
    } catch (error) {
      // The file itself may be somebody else's as well; the sweep knows.
      for (const file of notes) await rm(file, { force: true }).catch(() => undefined);
      throw storageError(error);
    } finally {
      for (const name of names) this.#letGo(name);
    }
  }

  /** Throws `unavailable` when the file is missing or damaged. */
  async get(sha256: string): Promise<StoredBody> {
    try {
      const body = (await gzipBlocks(this.#file(sha256))) ?? memoryBody(await readFile(this.#file(sha256)));
      if (body.size > WHOLE && this.#verified.has(sha256)) return body;
      if ((await hashOf(body)) !== sha256) throw new Error('the file is damaged');
      if (body.size <= WHOLE) return memoryBody(await body.read(0, body.size));
      this.#verified.add(sha256);
      return body;
    } catch (error) {
      throw new MergeboxError(
        'unavailable',
        `read pinned message ${sha256.slice(0, 12)}: ${damage(error as NodeJS.ErrnoException)}`,
        { cause: error },
      );
    }
  }

  /**
   * Removes every file that is not among those of `names` that `needed` finds in the database, and its notes; with
   * `only`, none but these are looked at.
   */
  async sweep(
    needed: (names: readonly string[]) => Promise<ReadonlySet<string>>,
    only?: ReadonlySet<string>,
  ): Promise<void> {
    this.#sweeps += 1;
    for (const name of this.#fresh.keys()) this.#touched.add(name);
    try {
      const files = (await readdir(this.#dir)).filter((file) => !file.endsWith('.part'));
      const present = groupBy(files, pinnedName);
      for (const names of chunks(
        [...present.keys()].filter((name) => only?.has(name) ?? true),
        SWEPT,
      )) {
        const keep = await needed(names);
        for (const name of names) {
          if (!keep.has(name) && !this.#touched.has(name)) await this.#remove(name, present.get(name)!);
        }
      }
    } finally {
      this.#sweeps -= 1;
      if (this.#sweeps === 0) this.#touched.clear();
    }
  }

  async #remove(name: string, files: readonly string[]): Promise<void> {
    this.#verified.delete(name);
    const removal = Promise.all(files.map((file) => rm(this.#file(file), { force: true })))
      .then(() => undefined)
      .finally(() => this.#removing.delete(name));
    this.#removing.set(name, removal);
    await removal;
    faultPoint('pin.removed');
  }

  #letGo(name: string): void {
    const users = this.#fresh.get(name)! - 1;
    if (users === 0) this.#fresh.delete(name);
    else this.#fresh.set(name, users);
  }

  #file(name: string): string {
    return path.join(this.#dir, name);
  }
}

/** The name of the body that a file holds or is a note of. */
export function pinnedName(file: string): string {
  return file.split('.', 1)[0]!;
}

async function hashOf(body: StoredBody): Promise<string> {
  const whole = createHash('sha256');
  for (let at = 0; at < body.size; at += WHOLE) whole.update(await body.read(at, at + WHOLE));
  return whole.digest('hex');
}

/** What zlib says of a torn file is not what a person needs to know. */
function damage(error: NodeJS.ErrnoException): string {
  if (error.code?.startsWith('Z_') || error.code === 'ERR_BUFFER_TOO_LARGE' || /^block /.test(error.message)) {
    return 'the file is damaged';
  }
  return error.message;
}

/** Errors of the disk in Mergebox's words; those of whoever used the lease pass through. */
function storageError(error: unknown): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined || typeof code !== 'string') return error;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new MergeboxError(full ? 'overquota' : 'unavailable', `store message: ${message}`, { cause: error });
}
