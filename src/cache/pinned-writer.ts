import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { faultPoint } from '../util/fault.js';
import { BLOCK, packBlock } from './gzip-blocks.js';

/** Takes one body in pieces, at most a block of it in memory; `commit` gives it its name, `abort` leaves nothing. */
export class PinnedWriter {
  readonly #dir: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #keep: ((sha256: string) => Promise<void>) | undefined;
  readonly #hash: Hash = createHash('sha256');
  #waiting: Buffer[] = [];
  #held = 0;
  #blocks = 0;

  private constructor(
    dir: string,
    temporary: string,
    handle: FileHandle,
    keep: ((sha256: string) => Promise<void>) | undefined,
  ) {
    this.#dir = dir;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#keep = keep;
  }

  /** `keep` is told the name before the file gets it. */
  static async open(dir: string, keep?: (sha256: string) => Promise<void>): Promise<PinnedWriter> {
    const temporary = path.join(dir, `${process.pid}.${Math.random().toString(36).slice(2)}.part`);
    return new PinnedWriter(dir, temporary, await open(temporary, 'wx', 0o600), keep);
  }

  /** The bytes must not change afterwards. */
  async write(bytes: Buffer): Promise<void> {
    this.#hash.update(bytes);
    for (let at = 0; at < bytes.length; ) {
      const piece = bytes.subarray(at, at + BLOCK - this.#held);
      this.#waiting.push(piece);
      this.#held += piece.length;
      at += piece.length;
      if (this.#held === BLOCK) await this.#flush();
    }
  }

  /** Fsyncs the file and gives it its name, which becomes durable with the directory. Resolves to that name. */
  async commit(): Promise<string> {
    const name = this.#hash.digest('hex');
    try {
      if (this.#held > 0 || this.#blocks === 0) await this.#flush();
      await this.#handle.sync();
      await this.#handle.close();
      faultPoint('pin.written');
      await this.#keep?.(name);
      await rename(this.#temporary, path.join(this.#dir, name));
      return name;
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  async abort(): Promise<void> {
    await this.#handle.close().catch(() => undefined);
    await rm(this.#temporary, { force: true });
  }

  async #flush(): Promise<void> {
    const bytes = this.#waiting.length === 1 ? this.#waiting[0]! : Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#held = 0;
    this.#blocks += 1;
    await this.#handle.appendFile(await packBlock(bytes));
  }
}

/** Makes the names in a directory durable. */
export async function syncDir(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
