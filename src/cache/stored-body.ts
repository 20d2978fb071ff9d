import { open } from 'node:fs/promises';

/** Immutable bytes at hand: in memory, or a range of a file. */
export interface StoredBody {
  readonly size: number;
  /** The octets from `start` (inclusive) to `end` (exclusive). */
  read(start: number, end: number): Promise<Buffer>;
}

export function memoryBody(bytes: Buffer): StoredBody {
  return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
}

/** The bytes of a file from `offset` on; each read opens it, so a body at rest costs no descriptor. */
export function fileBody(file: string, offset: number, size: number): StoredBody {
  return {
    size,
    read: async (start, end) => {
      const handle = await open(file, 'r');
      try {
        const wanted = Buffer.allocUnsafe(Math.max(0, Math.min(end, size) - start));
        let filled = 0;
        while (filled < wanted.length) {
          const { bytesRead } = await handle.read(wanted, filled, wanted.length - filled, offset + start + filled);
          if (bytesRead === 0) throw new Error(`read ${file}: it ends early`);
          filled += bytesRead;
        }
        return wanted;
      } finally {
        await handle.close();
      }
    },
  };
}
