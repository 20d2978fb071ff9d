import type { BodyFetch } from './body-cache.js';
import { DiskCache, type DiskWriter } from './disk-cache.js';
import type { StoredBody } from './stored-body.js';

/**
 * Bodies that were fetched before anybody asked, to be readable while their servers are not. They are files as in the
 * cache, checked when they are read, but none goes because another came: whoever fetches decides what is worth its room.
 */
export class OfflineBodies {
  /** Octets that they may take. */
  readonly budget: number;
  readonly #disk: DiskCache;

  private constructor(disk: DiskCache, budget: number) {
    this.#disk = disk;
    this.budget = budget;
  }

  /** Half-written files of an earlier run are removed; whole ones are there again. */
  static async open(dir: string, budget: number): Promise<OfflineBodies> {
    return new OfflineBodies(await DiskCache.open(dir, Number.POSITIVE_INFINITY), budget);
  }

  get octets(): number {
    return this.#disk.octets;
  }

  has(key: string): boolean {
    return this.#disk.has(key);
  }

  keys(): string[] {
    return [...this.#disk.keys()];
  }

  /** Null when it is not there, or was damaged. */
  get(key: string): Promise<StoredBody | null> {
    return this.#disk.get(key);
  }

  /** Streams what `fetch` delivers to the disk. Rejects as it does, or when it delivers other than announced. */
  async save(key: string, fetch: BodyFetch): Promise<void> {
    const writer: DiskWriter = await this.#disk.writer(key);
    let expected = -1;
    let received = 0;
    try {
      await fetch({
        start: (size) => {
          expected = size;
        },
        chunk: (bytes) => {
          received += bytes.length;
          return writer.write(bytes);
        },
      });
      if (received !== expected) throw new Error(`fetch message: got ${received} of ${expected} octets`);
      await writer.commit();
    } catch (error) {
      await writer.abort();
      throw error;
    }
  }

  delete(key: string): Promise<void> {
    return this.#disk.delete(key);
  }
}
