import { MAX_OPTIONS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** The arguments of GETMETADATA (RFC 5464 §4.2). */
export interface GetMetadataArguments {
  /** Empty for the server's own annotations. */
  readonly mailbox: string;
  /** As the client wrote them. */
  readonly entries: readonly string[];
  /** Values longer than this are left out; null: none is. */
  readonly maxSize: number | null;
  /** How far below the entries others are told as well. */
  readonly depth: 0 | 1 | 'infinity';
}

/** Octets of an entry's name. */
const MAX_ENTRY = 255;

/** `SP [options SP] mailbox SP [options SP] entries`: the grammar has the options first, the examples behind the name. */
export function parseGetMetadata(parser: CommandParser): GetMetadataArguments {
  parser.expectSp();
  let options = parser.peekChar('(') ? expectOptions(parser) : null;
  if (options !== null) parser.expectSp();
  const mailbox = parser.expectMailbox();
  parser.expectSp();
  if (options === null && isOptions(parser)) {
    options = expectOptions(parser);
    parser.expectSp();
  }
  const entries: string[] = [];
  if (parser.peekChar('(')) {
    parser.expectList('the entries', { min: 1, max: MAX_OPTIONS }, () => entries.push(expectEntry(parser)));
  } else entries.push(expectEntry(parser));
  return { mailbox, entries, maxSize: null, depth: 0, ...options };
}

function isOptions(parser: CommandParser): boolean {
  return parser.peekText('(MAXSIZE ') || parser.peekText('(DEPTH ');
}

function expectOptions(parser: CommandParser): Pick<GetMetadataArguments, 'maxSize' | 'depth'> {
  let maxSize: number | null = null;
  let depth: GetMetadataArguments['depth'] = 0;
  parser.expectList('the GETMETADATA options', { min: 1, max: 2 }, () => {
    const option = parser.expectAtom('an option').toUpperCase();
    parser.expectSp();
    if (option === 'MAXSIZE') maxSize = parser.expectNumber('a size');
    else if (option === 'DEPTH') depth = expectDepth(parser);
    else throw new ParseError('Unknown GETMETADATA option');
  });
  return { maxSize, depth };
}

function expectDepth(parser: CommandParser): GetMetadataArguments['depth'] {
  if (parser.word('INFINITY')) return 'infinity';
  if (parser.word('0')) return 0;
  if (parser.word('1')) return 1;
  throw new ParseError('DEPTH is 0, 1 or infinity');
}

/** The arguments of SETMETADATA (RFC 5464 §4.3); entries in lower case, null removes. */
export interface SetMetadataArguments {
  readonly mailbox: string;
  readonly changes: ReadonlyMap<string, Buffer | null>;
}

/** `SP mailbox SP "(" entry SP value *(SP entry SP value) ")"`. */
export function parseSetMetadata(parser: CommandParser): SetMetadataArguments {
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  parser.expectSp();
  const changes = new Map<string, Buffer | null>();
  parser.expectList('the entries', { min: 1, max: MAX_OPTIONS }, () => {
    const entry = expectEntry(parser).toLowerCase();
    parser.expectSp();
    changes.set(entry, parser.word('NIL') ? null : expectValue(parser));
  });
  return { mailbox, changes };
}

/** `value = nstring / literal8`. */
function expectValue(parser: CommandParser): Buffer {
  return parser.quoted() ?? parser.expectLiteral('a value').bytes;
}

/** RFC 5464 §3.2: `/private/…` or `/shared/…` in ASCII, no empty level, neither `*` nor `%`. */
function expectEntry(parser: CommandParser): string {
  const entry = parser.expectAstring('an entry').toString('latin1');
  if (entry.length > MAX_ENTRY) throw new ParseError(`An entry is longer than ${MAX_ENTRY} octets`);
  if (!/^\/(?:private|shared)(?:\/[ -$&-)+-.0-~]+)*$/i.test(entry)) throw new ParseError('Malformed entry');
  return entry;
}
