import { setImmediate as nextTurn } from 'node:timers/promises';
import { canonicalLines } from '../mail/mime-lines.js';

/** Octets between two turns of the event loop. */
const SLICE = 1 << 20;
const CR = 13;

/**
 * The mail with CRLF at the end of every line. Servers store bare LF as they like and hand out CRLF: what they return
 * later must be what is served until then.
 */
export async function crlfLines(bytes: Buffer): Promise<Buffer> {
  const slices: Buffer[] = [];
  let changed = false;
  for (let start = 0; start < bytes.length; ) {
    let end = Math.min(bytes.length, start + SLICE);
    // A CRLF is not cut in two.
    if (end < bytes.length && bytes[end - 1] === CR) end += 1;
    const slice = bytes.subarray(start, end);
    const canonical = canonicalLines(slice);
    changed ||= canonical !== slice;
    slices.push(canonical);
    start = end;
    if (start < bytes.length) await nextTurn();
  }
  return changed ? Buffer.concat(slices) : bytes;
}
