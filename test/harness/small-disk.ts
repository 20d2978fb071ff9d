import { execFile } from 'node:child_process';
import { mkdir, open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A file system of its own that can be filled and made read-only. Needs root and the right to mount. */
export class SmallDisk {
  readonly dir: string;

  private constructor(dir: string) {
    this.dir = dir;
  }

  /** Null where nothing may be mounted. */
  static async mount(dir: string, megabytes: number): Promise<SmallDisk | null> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    try {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'tmpfs', dir]);
      return new SmallDisk(dir);
    } catch {
      return null;
    }
  }

  /** Leaves room for nothing; one file takes it all. */
  async fill(): Promise<void> {
    const handle = await open(join(this.dir, FILLER), 'a');
    try {
      for (let size = 1 << 20; size >= 1; size = Math.floor(size / 4)) {
        const bytes = Buffer.alloc(size);
        while ((await handle.write(bytes).catch(() => ({ bytesWritten: 0 }))).bytesWritten === size);
      }
    } finally {
      await handle.close();
    }
  }

  async empty(): Promise<void> {
    await rm(join(this.dir, FILLER), { force: true });
  }

  async readOnly(yes: boolean): Promise<void> {
    await run('mount', ['-o', `remount,${yes ? 'ro' : 'rw'}`, this.dir]);
  }

  async unmount(): Promise<void> {
    // Lazily: a process that was just killed may still hold a file.
    if (await stat(this.dir).catch(() => null)) await run('umount', ['-l', this.dir]);
  }
}

const FILLER = 'filler';

/** The largest file that a running process may write from now on, in octets; null for no limit. Needs no rights. */
export async function limitFileSize(pid: number, octets: number | null): Promise<void> {
  await run('prlimit', [`--pid=${pid}`, `--fsize=${octets ?? 'unlimited'}:unlimited`]);
}
