import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gunzip, gunzipSync, gzip, gzipSync } from 'node:zlib';
import type { StoredBody } from './stored-body.js';

/**
 * A body as gzip members (RFC 1952 §2.2), one for every `BLOCK` octets of it, so that a part of a large mail is read
 * without what stands before it. Each member tells its own length in an extra field (§2.3.1.1, subfield `MB`), and
 * carries the CRC-32 of what it holds. What no tool of ours can read any more, `gunzip < FILE` can.
 */
export const BLOCK = 1 << 18;

/** Up to this size (un)packing costs less than handing it to another thread. */
const INLINE = 1 << 15;
/** Fixed part, length of the extra field, `MB`, length of the subfield, and the member's length. */
const HEAD = 10 + 2 + 4 + 4;
const FEXTRA = 4;
const MARK = 0x424d;

const deflate = promisify<Buffer, object, Buffer>(gzip);
const inflate = promisify<Buffer, object, Buffer>(gunzip);

/** One member for at most `BLOCK` octets. */
export async function packBlock(bytes: Buffer): Promise<Buffer> {
  const plain = bytes.length <= INLINE ? gzipSync(bytes, small(bytes.length)) : await deflate(bytes, {});
  const member = Buffer.allocUnsafe(plain.length + HEAD - 10);
  plain.copy(member, 0, 0, 10);
  member[3] = FEXTRA;
  member.writeUInt16LE(8, 10);
  member.writeUInt16LE(MARK, 12);
  member.writeUInt16LE(4, 14);
  member.writeUInt32LE(member.length, 16);
  plain.copy(member, HEAD, 10);
  return member;
}

/**
 * No larger tables than so many octets can fill: most of the time goes into making them, and into collecting them. A
 * higher level takes half as long again and saves a hundredth of the disk, since files take whole blocks there.
 */
function small(octets: number): { windowBits: number; memLevel: number; chunkSize: number; level: number } {
  const windowBits = Math.min(15, Math.max(9, Math.ceil(Math.log2(octets + 1))));
  return { windowBits, memLevel: 6, chunkSize: Math.max(1_024, octets), level: 3 };
}

/** Where a member starts, and its length. */
interface Member {
  readonly offset: number;
  readonly length: number;
}

/** The members of a file; null when it holds anything else. The size is that of the body. */
export async function gzipBlocks(file: string): Promise<StoredBody | null> {
  const handle = await open(file, 'r');
  try {
    const { size: total } = await handle.stat();
    const members: Member[] = [];
    for (let offset = 0; offset < total; ) {
      const length = await memberAt(handle, offset);
      if (length === null || offset + length > total) return null;
      members.push({ offset, length });
      offset += length;
    }
    const last = members.at(-1);
    if (last === undefined) return null;
    // ISIZE of the last one (RFC 1952 §2.3.1); all others are full.
    const tail = await readAt(handle, total - 4, 4);
    return new GzipBody(file, members, (members.length - 1) * BLOCK + tail.readUInt32LE(0));
  } finally {
    await handle.close();
  }
}

class GzipBody implements StoredBody {
  readonly size: number;
  readonly #file: string;
  readonly #members: readonly Member[];
  /** The block that was read last: clients read on in small steps. */
  #last: { index: number; bytes: Buffer } | null = null;

  constructor(file: string, members: readonly Member[], size: number) {
    this.#file = file;
    this.#members = members;
    this.size = size;
  }

  async read(start: number, end: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    const to = Math.min(end, this.size);
    for (let at = start; at < to; ) {
      const index = Math.floor(at / BLOCK);
      const from = index * BLOCK;
      const block = await this.#block(index);
      parts.push(block.subarray(at - from, Math.min(to - from, block.length)));
      at = from + BLOCK;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  async #block(index: number): Promise<Buffer> {
    if (this.#last?.index === index) return this.#last.bytes;
    const { offset, length } = this.#members[index]!;
    const handle = await open(this.#file, 'r');
    let packed: Buffer;
    try {
      packed = await readAt(handle, offset, length);
    } finally {
      await handle.close();
    }
    const limit = { maxOutputLength: BLOCK };
    const bytes = packed.length <= INLINE ? gunzipSync(packed, limit) : await inflate(packed, limit);
    const expected = Math.min(BLOCK, this.size - index * BLOCK);
    if (bytes.length !== expected) throw new Error(`block ${index} has ${bytes.length} of ${expected} octets`);
    this.#last = { index, bytes };
    return bytes;
  }
}

/** The length of the member that starts there, or null when none of ours does. */
async function memberAt(handle: FileHandle, offset: number): Promise<number | null> {
  const head = await readAt(handle, offset, HEAD).catch(() => null);
  if (head === null || head.readUInt32LE(0) !== 0x04088b1f || head.readUInt32LE(10) !== MARK * 65_536 + 8) return null;
  const length = head.readUInt32LE(16);
  return length > HEAD ? length : null;
}

async function readAt(handle: FileHandle, offset: number, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  for (let filled = 0; filled < length; ) {
    const { bytesRead } = await handle.read(bytes, filled, length - filled, offset + filled);
    if (bytesRead === 0) throw new Error('the file ends early');
    filled += bytesRead;
  }
  return bytes;
}
