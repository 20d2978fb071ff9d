import { MAX_OPTIONS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import { expectCharsetName, expectReturn, expectSearchKeys } from './search.js';
import type { SearchArguments } from './search-key.js';

/** RFC 5256 §3, RFC 5957 §3. */
export const SORT_KEYS = [
  'ARRIVAL',
  'CC',
  'DATE',
  'FROM',
  'SIZE',
  'SUBJECT',
  'TO',
  'DISPLAYFROM',
  'DISPLAYTO',
] as const;
export type SortKey = (typeof SORT_KEYS)[number];

export interface SortCriterion {
  readonly key: SortKey;
  readonly reverse: boolean;
}

export interface SortArguments extends SearchArguments {
  /** The first decides, the next among equals. */
  readonly criteria: readonly SortCriterion[];
}

/** `[SP "RETURN" …] SP "(" sort-criterion *(SP sort-criterion) ")" SP charset 1*(SP search-key)` (RFC 5256 §5, RFC 5267). */
export function parseSort(parser: CommandParser): SortArguments {
  parser.expectSp();
  const returns = parser.word('RETURN') ? expectReturn(parser) : null;
  const criteria: SortCriterion[] = [];
  parser.expectList('the sort criteria', { min: 1, max: MAX_OPTIONS }, () => {
    let word = parser.expectAtom('a sort criterion').toUpperCase();
    const reverse = word === 'REVERSE';
    if (reverse) {
      parser.expectSp();
      word = parser.expectAtom('a sort criterion').toUpperCase();
    }
    const key = SORT_KEYS.find((name) => name === word);
    if (key === undefined) throw new ParseError('Unknown sort criterion');
    criteria.push({ key, reverse });
  });
  parser.expectSp();
  return { criteria, returns, ...expectProgram(parser) };
}

/** THREAD algorithms (RFC 5256 §3; REFS is of draft-ietf-morg-inthread). */
export const THREAD_ALGORITHMS = ['ORDEREDSUBJECT', 'REFERENCES', 'REFS'] as const;
export type ThreadAlgorithm = (typeof THREAD_ALGORITHMS)[number];

export interface ThreadArguments extends SearchArguments {
  readonly algorithm: ThreadAlgorithm;
}

/** `SP thread-alg SP charset 1*(SP search-key)`. */
export function parseThread(parser: CommandParser): ThreadArguments {
  parser.expectSp();
  const word = parser.expectAtom('a thread algorithm').toUpperCase();
  const algorithm = THREAD_ALGORITHMS.find((name) => name === word);
  if (algorithm === undefined) throw new ParseError('Unknown thread algorithm');
  parser.expectSp();
  return { algorithm, returns: null, ...expectProgram(parser) };
}

function expectProgram(parser: CommandParser): Omit<SearchArguments, 'returns'> {
  const charset = expectCharsetName(parser);
  const { key, usesModSeq } = expectSearchKeys(parser);
  parser.expectEnd();
  return { charset, charsetRequired: true, key, usesModSeq };
}
