import { MergeboxError } from '../util/errors.js';
import { MAX_SET_NUMBERS } from './response-limits.js';
import { badResponse, numberAt, skipDigits } from './response-scan.js';

/** First and last number, both included, first ≤ last. */
export type NumberRange = readonly [number, number];

const MAX_UID = 4_294_967_295;

/** A sequence-set without `*` (RFC 9051 §9) in server data, as ranges in the order sent; never spread out. */
export function rangesAt(bytes: Buffer, start: number, end: number, what: string): NumberRange[] {
  const ranges: NumberRange[] = [];
  let at = start;
  while (at < end) {
    const first = numberAt(bytes, at, end);
    at = skipDigits(bytes, at, end);
    let last = first;
    if (bytes[at] === 58 && at < end) {
      last = numberAt(bytes, at + 1, end);
      at = skipDigits(bytes, at + 1, end);
    }
    if (first < 1 || last < 1 || first > MAX_UID || last > MAX_UID) throw badResponse(what, bytes, at);
    ranges.push(first <= last ? [first, last] : [last, first]);
    if (at < end && bytes[at] !== 44) throw badResponse(what, bytes, at);
    at += 1;
  }
  return ranges;
}

/** As `rangesAt` for text, such as an argument of COPYUID. */
export function parseRanges(text: string, what: string): NumberRange[] {
  const bytes = Buffer.from(text, 'latin1');
  return rangesAt(bytes, 0, bytes.length, what);
}

/** How many numbers the ranges stand for. */
export function countRanges(ranges: readonly NumberRange[]): number {
  let count = 0;
  for (const [first, last] of ranges) count += last - first + 1;
  return count;
}

/** All numbers of the ranges, in their order; throws `protocol` above `MAX_SET_NUMBERS`. */
export function spreadRanges(ranges: readonly NumberRange[], what: string, max = MAX_SET_NUMBERS): Uint32Array {
  const count = countRanges(ranges);
  if (count > max) throw new MergeboxError('protocol', `the server's ${what} stands for ${count} numbers`);
  const numbers = new Uint32Array(count);
  let index = 0;
  for (const [first, last] of ranges) {
    for (let number = first; number <= last; number += 1) {
      numbers[index] = number;
      index += 1;
    }
  }
  return numbers;
}
