import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** Places in a result, from 1, both inclusive; negative ones count from its end (RFC 9394 §4). */
export interface PartialRange {
  readonly first: number;
  readonly last: number;
}

/** `partial-range = nz-number ":" nz-number / "-" nz-number ":-" nz-number`. */
export function expectPartialRange(parser: CommandParser): PartialRange {
  const fromEnd = parser.char('-');
  const left = parser.expectNzNumber('the start of PARTIAL');
  parser.expectChar(':');
  if (parser.char('-') !== fromEnd) throw new ParseError('PARTIAL counts from one end');
  const right = parser.expectNzNumber('the end of PARTIAL');
  const [near, far] = left <= right ? [left, right] : [right, left];
  return fromEnd ? { first: -near, last: -far } : { first: near, last: far };
}

/** What of `results` lies in the range, in their order. */
export function takePartial<T>(results: readonly T[], { first, last }: PartialRange): readonly T[] {
  return first > 0
    ? results.slice(first - 1, last)
    : results.slice(Math.max(0, results.length + last), Math.max(0, results.length + first + 1));
}
