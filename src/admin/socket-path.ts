import { open } from 'node:fs/promises';
import path from 'node:path';

/** Octets of a socket's path that every system takes (`sun_path` has 104 to 108 with the closing NUL). */
const MAX_PATH = 103;

/**
 * Calls `use` with a path to the same socket that is short enough to bind or connect: the path itself or, on Linux, one
 * through an open handle of its directory, which lasts as long as `use` runs.
 */
export async function withShortPath<T>(file: string, use: (short: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(file) <= MAX_PATH || process.platform !== 'linux') return await use(file);
  const directory = await open(path.dirname(file), 'r').catch(() => null);
  if (directory === null) return await use(file);
  try {
    return await use(`/proc/self/fd/${directory.fd}/${path.basename(file)}`);
  } finally {
    await directory.close();
  }
}
