import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import path from 'node:path';
import { faultPoint } from '../util/fault.js';
import { fileBody, type StoredBody } from './stored-body.js';

/** SHA-256 of the body stands before it, so that a file torn by a crash is recognised and never served. */
const HEADER = 32;
/** Checking reads in steps of this many octets. */
const STEP = 1 << 20;

/**
 * Bodies as files, least recently used ones evicted beyond a budget. Not durable: everything here can be fetched
 * again, so nothing is fsynced and whatever fails its checksum is thrown away.
 */
export class DiskCache {
  readonly #dir: string;
  readonly #budget: number;
  readonly #sizes = new Map<string, number>();
  readonly #verified = new Set<string>();
  #total = 0;
  #counter = 0;

  private constructor(dir: string, budget: number) {
    this.#dir = dir;
    this.#budget = budget;
  }

  static async open(dir: string, budget: number): Promise<DiskCache> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const cache = new DiskCache(dir, budget);
    const files: { name: string; size: number; used: number }[] = [];
    for (const name of await readdir(dir)) {
      if (!name.endsWith('.body')) {
        await rm(path.join(dir, name), { force: true });
        continue;
      }
      const info = await stat(path.join(dir, name));
      files.push({ name: name.slice(0, -5), size: info.size, used: info.mtimeMs });
    }
    for (const file of files.sort((a, b) => a.used - b.used)) cache.#add(file.name, file.size);
    return cache;
  }

  /** Octets on disk. */
  get octets(): number {
    return this.#total;
  }

  has(key: string): boolean {
    return this.#sizes.has(key);
  }

  keys(): Iterable<string> {
    return this.#sizes.keys();
  }

  async get(key: string): Promise<StoredBody | null> {
    const size = this.#sizes.get(key);
    if (size === undefined) return null;
    const file = this.#file(key);
    if (!this.#verified.has(key) && !(await intact(file, size))) {
      await this.delete(key);
      return null;
    }
    this.#verified.add(key);
    this.#sizes.delete(key);
    this.#sizes.set(key, size);
    // The order of use outlives a restart through the file's time.
    utimes(file, new Date(), new Date()).catch(() => undefined);
    return fileBody(file, HEADER, size - HEADER);
  }

  /** Takes the chunks of one body; visible after `commit`. */
  async writer(key: string): Promise<DiskWriter> {
    this.#counter += 1;
    const temporary = path.join(this.#dir, `${key}.${this.#counter}.part`);
    const handle = await open(temporary, 'w', 0o600);
    return new DiskWriter(handle, temporary, async (size) => {
      faultPoint('body.written');
      await rename(temporary, this.#file(key));
      faultPoint('body.published');
      await this.#forget(key);
      this.#add(key, size);
      this.#verified.add(key);
      await this.#evict();
      return fileBody(this.#file(key), HEADER, size - HEADER);
    });
  }

  async delete(key: string): Promise<void> {
    await this.#forget(key);
    await rm(this.#file(key), { force: true });
  }

  #add(key: string, size: number): void {
    this.#sizes.set(key, size);
    this.#total += size;
  }

  async #forget(key: string): Promise<void> {
    const size = this.#sizes.get(key);
    if (size === undefined) return;
    this.#sizes.delete(key);
    this.#verified.delete(key);
    this.#total -= size;
  }

  /** The newest stays, even when it alone is more than the budget: somebody is about to read it. */
  async #evict(): Promise<void> {
    for (const key of this.#sizes.keys()) {
      if (this.#total <= this.#budget || this.#sizes.size === 1) return;
      await this.delete(key);
    }
  }

  #file(key: string): string {
    return path.join(this.#dir, `${key}.body`);
  }
}

export class DiskWriter {
  readonly #handle: FileHandle;
  readonly #file: string;
  readonly #publish: (size: number) => Promise<StoredBody>;
  readonly #hash: Hash = createHash('sha256');
  #size = HEADER;

  constructor(handle: FileHandle, file: string, publish: (size: number) => Promise<StoredBody>) {
    this.#handle = handle;
    this.#file = file;
    this.#publish = publish;
  }

  async write(chunk: Buffer): Promise<void> {
    this.#hash.update(chunk);
    await writeAll(this.#handle, chunk, this.#size);
    this.#size += chunk.length;
  }

  async commit(): Promise<StoredBody> {
    await writeAll(this.#handle, this.#hash.digest(), 0);
    await this.#handle.close();
    return this.#publish(this.#size);
  }

  async abort(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.#file, { force: true });
  }
}

async function writeAll(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  let written = 0;
  while (written < bytes.length) {
    written += (await handle.write(bytes, written, bytes.length - written, position + written)).bytesWritten;
  }
}

async function intact(file: string, size: number): Promise<boolean> {
  if (size < HEADER) return false;
  const handle = await open(file, 'r').catch(() => null);
  if (!handle) return false;
  try {
    const expected = Buffer.alloc(HEADER);
    await handle.read(expected, 0, HEADER, 0);
    const hash = createHash('sha256');
    const step = Buffer.allocUnsafe(Math.min(STEP, size - HEADER));
    for (let at = HEADER; at < size; ) {
      const { bytesRead } = await handle.read(step, 0, Math.min(step.length, size - at), at);
      if (bytesRead === 0) return false;
      hash.update(step.subarray(0, bytesRead));
      at += bytesRead;
    }
    return hash.digest().equals(expected);
  } finally {
    await handle.close();
  }
}
