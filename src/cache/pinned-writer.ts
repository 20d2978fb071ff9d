import { createHash, type Hash } from 'node:crypto';
import { closeSync, fsync, open as openFile, write } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
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
    const temporary = temporaryIn(dir);
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

const openPlain = promisify(openFile);
const writePlain = promisify(write);
const syncPlain = promisify(fsync);

/**
 * The same for a body of at most a block whose name is known: for many small mails a `FileHandle` for each and the way
 * to another thread and back for each step are most of what they cost.
 */
export async function writePinned(dir: string, name: string, bytes: Buffer): Promise<void> {
  const packed = await packBlock(bytes);
  const temporary = temporaryIn(dir);
  const descriptor = await openPlain(temporary, 'wx', 0o600);
  try {
    try {
      for (let at = 0; at < packed.length; ) at += (await writePlain(descriptor, packed, at)).bytesWritten;
      await syncPlain(descriptor);
    } finally {
      // Nothing is left to be written, so that this waits for nothing.
      closeSync(descriptor);
    }
    faultPoint('pin.written');
    await rename(temporary, path.join(dir, name));
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

function temporaryIn(dir: string): string {
  return path.join(dir, `${process.pid}.${Math.random().toString(36).slice(2)}.part`);
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
