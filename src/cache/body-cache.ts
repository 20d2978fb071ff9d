import { LRUCache } from 'lru-cache';
import { MergeboxError } from '../util/errors.js';
import { Mutex } from '../util/mutex.js';
import { DiskCache, type DiskWriter } from './disk-cache.js';
import type { OfflineBodies } from './offline-bodies.js';
import { memoryBody, type StoredBody } from './stored-body.js';

/** Bodies up to this size are kept in memory whole; larger ones only pass through to disk. */
const MEMORY_BODY = 1 << 20;

/** A larger body is not read while the disk is full. */
const UNKEPT_BODY = 16 << 20;

/** Small bodies that may wait for the disk at once. */
const KEEPING = 32;

/** Bodies in memory, for all users together; keys carry the user. */
export class MemoryCache {
  readonly #bodies: LRUCache<string, Buffer>;

  constructor(maxBytes: number) {
    this.#bodies = new LRUCache({
      maxSize: Math.max(1, maxBytes),
      sizeCalculation: (bytes) => Math.max(1, bytes.length),
    });
  }

  get(key: string): Buffer | undefined {
    return this.#bodies.get(key);
  }

  set(key: string, bytes: Buffer): void {
    this.#bodies.set(key, bytes);
  }

  delete(key: string): void {
    this.#bodies.delete(key);
  }
}

/** Takes a body in chunks, as an upstream delivers it. */
export type BodyFetch = (sink: { start(size: number): void; chunk(bytes: Buffer): Promise<void> }) => Promise<void>;

/** The bodies of one user: memory over disk over whoever can fetch them; concurrent asks share one fetch. */
export class BodyCache {
  readonly #prefix: string;
  readonly #memory: MemoryCache;
  readonly #disk: DiskCache;
  readonly #offline: OfflineBodies | null;
  readonly #fetching = new Map<string, Promise<StoredBody>>();
  readonly #keeping = new Set<Promise<void>>();
  /** One at a time: each is in memory as a whole. */
  readonly #unkept = new Mutex();

  private constructor(prefix: string, memory: MemoryCache, disk: DiskCache, offline: OfflineBodies | null) {
    this.#offline = offline;
    this.#prefix = prefix;
    this.#memory = memory;
    this.#disk = disk;
  }

  /** `offline` holds what was fetched ahead; it is read here and written elsewhere. */
  static async open(
    user: string,
    dir: string,
    memory: MemoryCache,
    diskBytes: number,
    offline: OfflineBodies | null = null,
  ): Promise<BodyCache> {
    return new BodyCache(`${user}\0`, memory, await DiskCache.open(dir, diskBytes), offline);
  }

  async get(key: string): Promise<StoredBody | null> {
    const bytes = this.#memory.get(this.#prefix + key);
    if (bytes) return memoryBody(bytes);
    const stored = (await this.#disk.get(key)) ?? (await this.#offline?.get(key)) ?? null;
    if (!stored || stored.size > MEMORY_BODY) return stored;
    // It may be evicted between the two, or be unreadable: then it is fetched again.
    const whole = await stored.read(0, stored.size).catch(() => null);
    if (whole === null) return null;
    this.#memory.set(this.#prefix + key, whole);
    return memoryBody(whole);
  }

  /** The cached body, or what `fetch` delivers; rejects as `fetch` does, and when it delivers less than announced. */
  async getOrFetch(key: string, fetch: BodyFetch): Promise<StoredBody> {
    const cached = await this.get(key);
    if (cached) return cached;
    const running = this.#fetching.get(key);
    if (running) return running;
    const started = this.#fetch(key, fetch).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, started);
    return started;
  }

  /** Resolves when everything fetched so far is on disk. */
  async settle(): Promise<void> {
    await Promise.all(this.#keeping);
  }

  async delete(key: string): Promise<void> {
    this.#memory.delete(this.#prefix + key);
    await this.#disk.delete(key);
  }

  /** Through the disk; past it when it takes nothing, so that mail stays readable. */
  async #fetch(key: string, fetch: BodyFetch): Promise<StoredBody> {
    try {
      return await this.#fetchKept(key, fetch);
    } catch (error) {
      if (!isUnwritable(error)) throw error;
      return this.#unkept.run(() => fetchUnkept(fetch));
    }
  }

  async #fetchKept(key: string, fetch: BodyFetch): Promise<StoredBody> {
    const small: Buffer[] = [];
    let writer: DiskWriter | null = null;
    let expected = -1;
    let received = 0;
    try {
      await fetch({
        start: (size) => {
          expected = size;
        },
        chunk: async (bytes) => {
          received += bytes.length;
          if (expected <= MEMORY_BODY) {
            if (received <= expected) small.push(Buffer.from(bytes));
            return;
          }
          writer ??= await this.#disk.writer(key);
          // Awaiting the disk is what holds the upstream back.
          await writer.write(bytes);
        },
      });
      if (received !== expected) throw new Error(`fetch message: got ${received} of ${expected} octets`);
      if (writer !== null) return await (writer as DiskWriter).commit();
    } catch (error) {
      await (writer as DiskWriter | null)?.abort();
      throw error;
    }
    const whole = Buffer.concat(small);
    this.#memory.set(this.#prefix + key, whole);
    await this.#keepLater(key, whole);
    return memoryBody(whole);
  }

  /** Writes a small body to disk behind the caller's back; only when many are waiting does the caller wait as well. */
  async #keepLater(key: string, bytes: Buffer): Promise<void> {
    const kept = this.#keep(key, bytes)
      // A cache that cannot be written costs a fetch more, nothing else.
      .catch(() => undefined)
      .finally(() => this.#keeping.delete(kept));
    this.#keeping.add(kept);
    if (this.#keeping.size > KEEPING) await Promise.race(this.#keeping);
  }

  async #keep(key: string, bytes: Buffer): Promise<void> {
    const writer = await this.#disk.writer(key);
    try {
      await writer.write(bytes);
      await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }
}

async function fetchUnkept(fetch: BodyFetch): Promise<StoredBody> {
  const parts: Buffer[] = [];
  let expected = -1;
  await fetch({
    start: (size) => {
      if (size > UNKEPT_BODY) {
        throw new MergeboxError('unavailable', 'read message: it is too large to be read while the disk is full');
      }
      expected = size;
    },
    chunk: async (bytes) => void parts.push(Buffer.from(bytes)),
  });
  const whole = Buffer.concat(parts);
  if (whole.length !== expected) throw new Error(`fetch message: got ${whole.length} of ${expected} octets`);
  return memoryBody(whole);
}

/** A full, failing or read-only disk. */
function isUnwritable(error: unknown): boolean {
  const { code, syscall } = error as NodeJS.ErrnoException;
  return syscall !== undefined && code !== undefined && UNWRITABLE.has(code);
}

const UNWRITABLE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG', 'EROFS', 'EACCES', 'EPERM', 'EIO']);
