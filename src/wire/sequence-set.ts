import { isAll, SET } from './chars.js';
import { MAX_SET_RANGES } from './limits.js';

/** Stands for `*`, above every 32-bit number. */
export const STAR = 0x1_0000_0000;

/** Numbers of a set as given, the smaller first; either may be `STAR`. */
export type SetRange = readonly [first: number, last: number];

/** Positions from 0, both inclusive. */
export type IndexRange = readonly [first: number, last: number];

/**
 * `sequence-set` (RFC 9051 §9), of sequence numbers or UIDs. It is never spread out: `1:4294967295` is one range, and
 * resolving costs time by the number of ranges, not by what they span.
 */
export class SequenceSet {
  /** In the order given; empty when `saved`. */
  readonly ranges: readonly SetRange[];
  /** `$`: the saved result of an earlier SEARCH (RFC 5182), which the session resolves itself. */
  readonly saved: boolean;

  constructor(ranges: readonly SetRange[], saved = false) {
    this.ranges = ranges;
    this.saved = saved;
  }

  /** Null when `text` is no sequence-set, or has more than `MAX_SET_RANGES` ranges. */
  static parse(text: string): SequenceSet | null {
    if (text === '$') return new SequenceSet([], true);
    if (!isAll(text, SET)) return null;
    const ranges: SetRange[] = [];
    let start = 0;
    while (start <= text.length) {
      let end = text.indexOf(',', start);
      if (end === -1) end = text.length;
      const range = parseRange(text.slice(start, end));
      if (range === null || ranges.length === MAX_SET_RANGES) return null;
      ranges.push(range);
      start = end + 1;
    }
    return new SequenceSet(ranges);
  }

  /** Whether `*` stands anywhere. */
  get usesStar(): boolean {
    return this.ranges.some(([, last]) => last === STAR);
  }

  /** The largest number named, `*` left out; 0 when there is none. */
  get largest(): number {
    let largest = 0;
    for (const [first, last] of this.ranges) {
      largest = Math.max(largest, last === STAR ? (first === STAR ? 0 : first) : last);
    }
    return largest;
  }

  /** The positions that these sequence numbers have in a mailbox of `length` messages; numbers above are left out. */
  indexRangesBySequence(length: number): IndexRange[] {
    return this.numberRanges(length, length).map(([first, last]) => [first - 1, last - 1]);
  }

  /**
   * The positions of those of the first `length` ascending `uids` that are in the set; `*` is the last one.
   * UIDs that do not exist are left out (RFC 9051 §6.4.9).
   */
  indexRangesByUid(uids: Uint32Array, length: number): IndexRange[] {
    if (length === 0) return [];
    const result: IndexRange[] = [];
    let from = 0;
    for (const [first, last] of this.numberRanges(uids[length - 1]!, 0xffff_ffff)) {
      const start = lowerBound(uids, from, length, first);
      const end = lowerBound(uids, start, length, last + 1);
      from = end;
      if (end > start) pushMerged(result, start, end - 1);
    }
    return result;
  }

  /**
   * The numbers from 1 to `cap` in the set, as ascending ranges that neither touch nor overlap. `star` is what `*`
   * stands for; where that is 0 (an empty mailbox), `*` alone names nothing and `n:*` reads as `n`.
   */
  numberRanges(star: number, cap: number): SetRange[] {
    const resolved = this.ranges.map(([first, last]): SetRange => {
      const a = first === STAR ? star : first;
      const b = last === STAR ? (star === 0 ? a : star) : last;
      return a <= b ? [a, b] : [b, a];
    });
    if (!isAscending(resolved)) resolved.sort((left, right) => left[0] - right[0]);
    const merged: SetRange[] = [];
    for (const [first, last] of resolved) {
      if (first > cap) break;
      if (last > 0) pushMerged(merged, Math.max(first, 1), Math.min(last, cap));
    }
    return merged;
  }

  toString(): string {
    if (this.saved) return '$';
    const name = (n: number): string => (n === STAR ? '*' : String(n));
    return this.ranges.map(([a, b]) => (a === b ? name(a) : `${name(a)}:${name(b)}`)).join(',');
  }
}

/** `seq-number / seq-range`; the order within a range does not matter (RFC 9051 §9). */
function parseRange(text: string): SetRange | null {
  const colon = text.indexOf(':');
  if (colon === -1) {
    const only = parseNumber(text);
    return only === null ? null : [only, only];
  }
  const left = parseNumber(text.slice(0, colon));
  const right = parseNumber(text.slice(colon + 1));
  if (left === null || right === null) return null;
  return left <= right ? [left, right] : [right, left];
}

/** `seq-number = nz-number / "*"`. */
function parseNumber(text: string): number | null {
  if (text === '*') return STAR;
  if (!/^\d{1,10}$/.test(text)) return null;
  const value = Number(text);
  return value >= 1 && value <= 0xffff_ffff ? value : null;
}

function isAscending(ranges: readonly SetRange[]): boolean {
  for (let at = 1; at < ranges.length; at += 1) {
    if (ranges[at]![0] < ranges[at - 1]![0]) return false;
  }
  return true;
}

/** Appends a range that starts at or behind the start of the last one, joined with it where they touch. */
function pushMerged(ranges: (readonly [number, number])[], first: number, last: number): void {
  const previous = ranges.at(-1);
  if (previous !== undefined && first <= previous[1] + 1) {
    if (last > previous[1]) ranges[ranges.length - 1] = [previous[0], last];
  } else {
    ranges.push([first, last]);
  }
}

function lowerBound(values: Uint32Array, from: number, to: number, value: number): number {
  let low = from;
  let high = to;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** How many positions the ranges hold. */
export function countIndexes(ranges: readonly IndexRange[]): number {
  let count = 0;
  for (const [first, last] of ranges) count += last - first + 1;
  return count;
}

/** The last `count` positions of ascending ranges. */
export function lastIndexes(ranges: readonly IndexRange[], count: number): IndexRange[] {
  const kept: IndexRange[] = [];
  let missing = count;
  for (let at = ranges.length - 1; at >= 0 && missing > 0; at -= 1) {
    const [first, last] = ranges[at]!;
    const from = Math.max(first, last - missing + 1);
    kept.unshift([from, last]);
    missing -= last - from + 1;
  }
  return kept;
}

/** The positions one by one, ascending. */
export function* eachIndex(ranges: readonly IndexRange[]): Generator<number> {
  for (const [first, last] of ranges) {
    for (let index = first; index <= last; index += 1) yield index;
  }
}
