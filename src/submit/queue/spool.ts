import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { MergeboxError } from '../../util/errors.js';
import { faultPoint } from '../../util/fault.js';

/** Octets read and written at once. */
const BLOCK = 262_144;

/** Contents too large for the database, one file each. A file without a row is an orphan; `sweep` removes it at start. */
export class Spool {
  readonly #dir: string;

  private constructor(dir: string) {
    this.#dir = dir;
  }

  static async open(dir: string): Promise<Spool> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    await syncDirectory(path.dirname(dir));
    return new Spool(dir);
  }

  /** A new file, empty. Throws `overquota` when the disk is full, `unavailable` when it cannot be written. */
  async create(): Promise<SpoolFile> {
    const name = `${randomBytes(12).toString('hex')}.eml`;
    const file = path.join(this.#dir, name);
    return new SpoolFile(name, file, await open(file, 'wx', 0o600).catch(refuse));
  }

  /** The octets of a file, in blocks. Throws `unavailable` when it cannot be read. */
  async *read(name: string): AsyncGenerator<Buffer, void, void> {
    const handle = await open(path.join(this.#dir, name), 'r').catch(unreadable);
    try {
      for (;;) {
        // A block of its own each: the one before may still wait in a socket.
        const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafeSlow(BLOCK), 0, BLOCK).catch(unreadable);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await handle.close();
    }
  }

  async remove(name: string): Promise<void> {
    await rm(path.join(this.#dir, name), { force: true });
  }

  /** Removes every file that is not in `needed`. */
  async sweep(needed: ReadonlySet<string>): Promise<void> {
    for (const name of await readdir(this.#dir)) if (!needed.has(name)) await this.remove(name);
  }
}

/** One content on its way to the disk. */
export class SpoolFile {
  readonly name: string;
  readonly #path: string;
  readonly #handle: FileHandle;
  #blocks: Buffer[] = [];
  #held = 0;
  #open = true;

  constructor(name: string, file: string, handle: FileHandle) {
    this.name = name;
    this.#path = file;
    this.#handle = handle;
  }

  /** Throws as `Spool.create`. */
  async write(chunk: Buffer): Promise<void> {
    this.#blocks.push(chunk);
    this.#held += chunk.length;
    if (this.#held >= BLOCK) await this.#flush();
  }

  /** Makes the content and its name durable. Throws as `Spool.create`. */
  async commit(): Promise<void> {
    await this.#flush();
    await this.#handle.sync().catch(refuse);
    await this.#close();
    faultPoint('spool.written');
    await syncDirectory(path.dirname(this.#path)).catch(refuse);
    faultPoint('spool.linked');
  }

  /** Gives it up; never throws. */
  async discard(): Promise<void> {
    await this.#close().catch(() => undefined);
    await rm(this.#path, { force: true }).catch(() => undefined);
  }

  async #flush(): Promise<void> {
    const blocks = this.#blocks;
    this.#blocks = [];
    this.#held = 0;
    if (blocks.length > 0) await this.#handle.writeFile(Buffer.concat(blocks)).catch(refuse);
  }

  async #close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#handle.close();
  }
}

async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function refuse(error: NodeJS.ErrnoException): never {
  const full = error.code === 'ENOSPC' || error.code === 'EDQUOT';
  throw new MergeboxError(full ? 'overquota' : 'unavailable', `spool the message: ${error.message}`, { cause: error });
}

function unreadable(error: NodeJS.ErrnoException): never {
  throw new MergeboxError('unavailable', `read the spooled message: ${error.message}`, { cause: error });
}
