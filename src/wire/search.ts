import { ATOM } from './chars.js';
import { expectFetchItems } from './fetch.js';
import type { FetchItem } from './fetch-item.js';
import { MAX_OPTIONS, MAX_SEARCH_DEPTH, MAX_SEARCH_KEYS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import { expectPartialRange, type PartialRange } from './partial-range.js';
import type {
  DateField,
  DateRelation,
  EnvelopeField,
  ModSeqEntry,
  SearchArguments,
  SearchKey,
  SearchReturn,
} from './search-key.js';
import { SequenceSet } from './sequence-set.js';

/** `search = "SEARCH" [search-return-opts] SP search-program` behind its name (RFC 9051 §9). */
export function parseSearch(parser: CommandParser): SearchArguments {
  parser.expectSp();
  return parseSearchProgram(parser);
}

/** `["RETURN" …] ["CHARSET" SP charset SP] search-key *(SP search-key)`. */
export function parseSearchProgram(parser: CommandParser): SearchArguments {
  const returns = parser.word('RETURN') ? expectReturn(parser) : null;
  const charset = parser.word('CHARSET') ? expectCharset(parser) : null;
  const { key, usesModSeq } = expectSearchKeys(parser);
  parser.expectEnd();
  return { returns, charset, key, usesModSeq };
}

/** `search-key *(SP search-key)` up to the end of the command. */
export function expectSearchKeys(parser: CommandParser): { key: SearchKey; usesModSeq: boolean } {
  const keys = new KeyParser(parser);
  return { key: keys.list(), usesModSeq: keys.usesModSeq };
}

const RETURN_OPTIONS = ['MIN', 'MAX', 'ALL', 'COUNT', 'SAVE', 'PARTIAL', 'UPDATE', 'CONTEXT'];

/** `search-return-opts = SP "RETURN" SP "(" [search-return-opt *(SP search-return-opt)] ")"`, with the SP behind. */
export function expectReturn(parser: CommandParser): SearchReturn {
  parser.expectSp();
  const options = new Set<string>();
  let partial: PartialRange | null = null;
  let fetch: readonly FetchItem[] | null = null;
  parser.expectList('the RETURN options', { min: 0, max: MAX_OPTIONS }, () => {
    const option = parser.expectAtom('a RETURN option').toUpperCase();
    if (!RETURN_OPTIONS.includes(option)) throw new ParseError('Unknown RETURN option');
    if (option === 'PARTIAL') {
      // RFC 9394 §3.1: one PARTIAL, or one ALL, or neither.
      if (partial !== null) throw new ParseError('PARTIAL stands twice');
      parser.expectSp();
      partial = expectPartialRange(parser);
    }
    if (option === 'UPDATE' && parser.peekText(' (')) {
      parser.expectSp();
      fetch = expectFetchItems(parser);
    }
    options.add(option);
  });
  parser.expectSp();
  if (partial !== null && options.has('ALL')) throw new ParseError('PARTIAL and ALL exclude each other');
  return {
    min: options.has('MIN'),
    max: options.has('MAX'),
    // RFC 4731 §3.1: nothing asked for means ALL; CONTEXT is only a hint (RFC 5267 §4.2).
    all: options.has('ALL') || options.size === Number(options.has('CONTEXT')),
    count: options.has('COUNT'),
    save: options.has('SAVE'),
    partial,
    update: options.has('UPDATE') ? { fetch } : null,
  };
}

/** `"CHARSET" SP charset SP`. */
function expectCharset(parser: CommandParser): string {
  parser.expectSp();
  return expectCharsetName(parser);
}

/** `charset SP`, in upper case. */
export function expectCharsetName(parser: CommandParser): string {
  const charset = parser.expectAstring('a charset').toString('latin1');
  parser.expectSp();
  if (!/^[A-Za-z0-9._:+-]{1,64}$/.test(charset)) throw new ParseError('Malformed charset');
  return charset.toUpperCase();
}

/** Keys without arguments. */
const FLAG_KEYS: ReadonlyMap<string, SearchKey> = new Map([
  ['ALL', { type: 'all' }],
  ['ANSWERED', { type: 'flag', flag: '\\Answered', present: true }],
  ['DELETED', { type: 'flag', flag: '\\Deleted', present: true }],
  ['DRAFT', { type: 'flag', flag: '\\Draft', present: true }],
  ['FLAGGED', { type: 'flag', flag: '\\Flagged', present: true }],
  ['SEEN', { type: 'flag', flag: '\\Seen', present: true }],
  ['UNANSWERED', { type: 'flag', flag: '\\Answered', present: false }],
  ['UNDELETED', { type: 'flag', flag: '\\Deleted', present: false }],
  ['UNDRAFT', { type: 'flag', flag: '\\Draft', present: false }],
  ['UNFLAGGED', { type: 'flag', flag: '\\Flagged', present: false }],
  ['UNSEEN', { type: 'flag', flag: '\\Seen', present: false }],
  ['RECENT', { type: 'recent', present: true }],
  ['OLD', { type: 'recent', present: false }],
  [
    'NEW',
    {
      type: 'and',
      keys: [
        { type: 'recent', present: true },
        { type: 'flag', flag: '\\Seen', present: false },
      ],
    },
  ],
  ['SAVEDATESUPPORTED', { type: 'savedatesupported' }],
]);

const DATE_KEYS: ReadonlyMap<string, readonly [DateField, DateRelation]> = new Map([
  ['BEFORE', ['internal', 'before']],
  ['ON', ['internal', 'on']],
  ['SINCE', ['internal', 'since']],
  ['SENTBEFORE', ['sent', 'before']],
  ['SENTON', ['sent', 'on']],
  ['SENTSINCE', ['sent', 'since']],
  ['SAVEDBEFORE', ['saved', 'before']],
  ['SAVEDON', ['saved', 'on']],
  ['SAVEDSINCE', ['saved', 'since']],
]);

/** One SEARCH program: counts keys and depth, so that neither memory nor the stack is the client's. */
class KeyParser {
  readonly #parser: CommandParser;
  #keys = 0;
  #depth = 0;
  usesModSeq = false;

  constructor(parser: CommandParser) {
    this.#parser = parser;
  }

  /** `search-key *(SP search-key)`: all must hold. */
  list(): SearchKey {
    const keys = [this.#key()];
    while (this.#parser.sp()) keys.push(this.#key());
    return keys.length === 1 ? keys[0]! : { type: 'and', keys };
  }

  #key(): SearchKey {
    this.#keys += 1;
    if (this.#keys > MAX_SEARCH_KEYS) throw new ParseError(`More than ${MAX_SEARCH_KEYS} search keys`);
    const parser = this.#parser;
    if (parser.peekChar('(')) return this.#nested(() => this.#group());
    const set = parser.sequenceSet();
    if (set !== null) return { type: 'sequence', set };
    const name = parser.run(ATOM)?.toUpperCase();
    if (name === undefined) throw new ParseError('Expected a search key');
    return FLAG_KEYS.get(name) ?? this.#keyWithArgument(name);
  }

  #nested(parse: () => SearchKey): SearchKey {
    if (this.#depth === MAX_SEARCH_DEPTH) throw new ParseError('The search keys are nested too deeply');
    this.#depth += 1;
    const key = parse();
    this.#depth -= 1;
    return key;
  }

  /** `"(" search-key *(SP search-key) ")"`. */
  #group(): SearchKey {
    this.#parser.expectChar('(');
    const key = this.list();
    this.#parser.expectChar(')');
    return key;
  }

  #keyWithArgument(name: string): SearchKey {
    const parser = this.#parser;
    parser.expectSp();
    const date = DATE_KEYS.get(name);
    if (date !== undefined) return { type: 'date', field: date[0], relation: date[1], day: parser.expectDate() };
    switch (name) {
      case 'UID':
        return { type: 'uid', set: parser.expectSequenceSet() };
      case 'KEYWORD':
      case 'UNKEYWORD':
        return { type: 'flag', flag: parser.expectAtom('a keyword'), present: name === 'KEYWORD' };
      case 'BCC':
      case 'CC':
      case 'FROM':
      case 'SUBJECT':
      case 'TO':
        return { type: 'envelope', field: name.toLowerCase() as EnvelopeField, value: this.#value() };
      case 'BODY':
        return { type: 'body', value: this.#value() };
      case 'TEXT':
        return { type: 'text', value: this.#value() };
      case 'HEADER':
        return this.#header();
      case 'NOT':
        return { type: 'not', key: this.#nested(() => this.#key()) };
      case 'OR':
        return this.#nested(() => this.#or());
      default:
        return this.#numberKey(name);
    }
  }

  #numberKey(name: string): SearchKey {
    const parser = this.#parser;
    switch (name) {
      case 'LARGER':
        return { type: 'larger', size: parser.expectNumber64('a size') };
      case 'SMALLER':
        return { type: 'smaller', size: parser.expectNumber64('a size') };
      case 'YOUNGER':
        return { type: 'younger', seconds: parser.expectNzNumber('an interval') };
      case 'OLDER':
        return { type: 'older', seconds: parser.expectNzNumber('an interval') };
      case 'UIDAFTER':
        return uidRange(parser.expectNzNumber('a UID') + 1, 0xffff_ffff);
      case 'UIDBEFORE':
        return uidRange(1, parser.expectNzNumber('a UID') - 1);
      case 'MODSEQ':
        return this.#modSeq();
      case 'EMAILID':
        return { type: 'emailid', id: this.#objectId() };
      case 'THREADID':
        return { type: 'threadid', id: this.#objectId() };
      default:
        throw new ParseError('Unknown search key');
    }
  }

  #value(): Buffer {
    return this.#parser.expectAstring('a search text');
  }

  /** `"HEADER" SP header-fld-name SP astring`. */
  #header(): SearchKey {
    const name = this.#parser.expectAstring('a header name').toString('latin1').toLowerCase();
    this.#parser.expectSp();
    return { type: 'header', name, value: this.#value() };
  }

  /**
   * `"OR" SP search-key SP search-key`. A chain of ORs on the right is read in a loop: clients look for hundreds of
   * Message-IDs that way, and it is no nesting to a person.
   */
  #or(): SearchKey {
    const keys = [this.#key()];
    this.#parser.expectSp();
    while (this.#parser.word('OR')) {
      this.#parser.expectSp();
      keys.push(this.#key());
      this.#parser.expectSp();
    }
    keys.push(this.#key());
    return { type: 'or', keys };
  }

  /** `"MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer` (RFC 7162 §3.1.5). */
  #modSeq(): SearchKey {
    const parser = this.#parser;
    let entry: ModSeqEntry | null = null;
    if (parser.peekChar('"')) {
      const name = parser.expectString('an entry name').toString('latin1');
      parser.expectSp();
      const type = parser.expectAtom('an entry type').toLowerCase();
      parser.expectSp();
      if (type !== 'priv' && type !== 'shared' && type !== 'all') throw new ParseError('Unknown entry type');
      entry = { name, type };
    }
    this.usesModSeq = true;
    return { type: 'modseq', modSeq: parser.expectModSeq(), entry };
  }

  /** `objectid = 1*255(ALPHA / DIGIT / "_" / "-")` (RFC 8474 §7). */
  #objectId(): string {
    const id = this.#parser.expectAstring('an object id').toString('latin1');
    if (!/^[A-Za-z0-9_-]{1,255}$/.test(id)) throw new ParseError('Malformed object id');
    return id;
  }
}

/** UIDAFTER and UIDBEFORE (RFC 9738 §4): what no UID can be matches nothing. */
function uidRange(first: number, last: number): SearchKey {
  if (first > last) return { type: 'not', key: { type: 'all' } };
  return { type: 'uid', set: new SequenceSet([[first, last]]) };
}
