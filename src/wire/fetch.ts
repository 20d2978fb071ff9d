import { FETCH_NAME } from './chars.js';
import type { FetchAttribute, FetchItem, FetchModifiers, FetchPartial, Section } from './fetch-item.js';
import { MAX_FETCH_ITEMS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import { expectPartialRange, type PartialRange } from './partial-range.js';
import { expectSection, expectSectionBinary, formatSection } from './section.js';
import type { SequenceSet } from './sequence-set.js';

/** The arguments of FETCH and UID FETCH. */
export interface FetchArguments {
  readonly set: SequenceSet;
  /** Without repetitions. UID FETCH has to add UID to the answer itself (RFC 9051 §6.4.9). */
  readonly items: readonly FetchItem[];
  readonly modifiers: FetchModifiers;
}

/** RFC 9051 §6.4.5: the macros; FULL is of RFC 3501. */
const MACROS: ReadonlyMap<string, readonly FetchAttribute[]> = new Map([
  ['ALL', ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE']],
  ['FAST', ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE']],
  ['FULL', ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE', 'BODY']],
]);

const ATTRIBUTES: ReadonlySet<string> = new Set<FetchAttribute>([
  'FLAGS',
  'UID',
  'INTERNALDATE',
  'RFC822.SIZE',
  'ENVELOPE',
  'BODY',
  'BODYSTRUCTURE',
  'MODSEQ',
  'EMAILID',
  'THREADID',
  'SAVEDATE',
  'PREVIEW',
]);

const WHOLE: Section = { part: [], text: 'ALL', fields: [] };

/**
 * RFC 3501 §6.4.5: the old names of three sections; RFC822.PEEK is of RFC 1176 and Outlook still sends it. The response
 * to it is named RFC822.
 */
const OLD_SECTIONS: ReadonlyMap<string, FetchItem> = new Map([
  ['RFC822', { type: 'section', label: 'RFC822', section: WHOLE, partial: null, peek: false }],
  ['RFC822.PEEK', { type: 'section', label: 'RFC822', section: WHOLE, partial: null, peek: true }],
  [
    'RFC822.HEADER',
    { type: 'section', label: 'RFC822.HEADER', section: { ...WHOLE, text: 'HEADER' }, partial: null, peek: true },
  ],
  [
    'RFC822.TEXT',
    { type: 'section', label: 'RFC822.TEXT', section: { ...WHOLE, text: 'TEXT' }, partial: null, peek: false },
  ],
]);

/** `SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")") [fetch-modifiers]`. */
export function parseFetch(parser: CommandParser): FetchArguments {
  parser.expectSp();
  const set = parser.expectSequenceSet();
  parser.expectSp();
  const items = expectFetchItems(parser);
  const modifiers = parser.sp() ? expectFetchModifiers(parser) : NO_MODIFIERS;
  parser.expectEnd();
  return { set, items, modifiers };
}

const NO_MODIFIERS: FetchModifiers = { changedSince: null, vanished: false, partial: null };

/** One item, a macro, or a list of items. Clients also put macros into the list: `(ALL)`, `(UID FAST)`. */
export function expectFetchItems(parser: CommandParser): FetchItem[] {
  const items = new Map<string, FetchItem>();
  if (parser.peekChar('(')) {
    parser.expectList('the FETCH items', { min: 1, max: MAX_FETCH_ITEMS }, () => addFetchAtt(parser, items));
  } else {
    addFetchAtt(parser, items);
  }
  if (items.size > MAX_FETCH_ITEMS) throw new ParseError(`More than ${MAX_FETCH_ITEMS} FETCH items`);
  return [...items.values()];
}

function addFetchAtt(parser: CommandParser, items: Map<string, FetchItem>): void {
  const name = parser.run(FETCH_NAME)?.toUpperCase();
  if (name === undefined) throw new ParseError('Expected a FETCH item');
  for (const attribute of MACROS.get(name) ?? []) items.set(attribute, { type: 'attribute', name: attribute });
  if (MACROS.has(name)) return;
  const item = expectFetchAtt(parser, name);
  const key = itemKey(item);
  const earlier = items.get(key);
  if (earlier === undefined || ('peek' in earlier && earlier.peek)) items.set(key, item);
}

/** Equal for items with equal answers: BODY[1] and BODY.PEEK[1] are one, which then sets \Seen. */
function itemKey(item: FetchItem): string {
  if (item.type === 'attribute') return item.name;
  return 'partial' in item && item.partial !== null ? `${item.label}.${item.partial.count}` : item.label;
}

/** `fetch-att` of RFC 9051 §9 behind its name. */
function expectFetchAtt(parser: CommandParser, name: string): FetchItem {
  if (parser.peekChar('[')) return expectSectionItem(parser, name);
  // RFC 8970 §3.1: `"PREVIEW" [SP "(" preview-mod ")"]`.
  if (name === 'PREVIEW' && parser.text(' (LAZY)')) return { type: 'attribute', name: 'PREVIEW (LAZY)' };
  if (ATTRIBUTES.has(name)) return { type: 'attribute', name: name as FetchAttribute };
  const old = OLD_SECTIONS.get(name);
  if (old === undefined) throw new ParseError('Unknown FETCH item');
  return old;
}

function expectSectionItem(parser: CommandParser, name: string): FetchItem {
  const peek = name.endsWith('.PEEK');
  switch (name) {
    case 'BODY':
    case 'BODY.PEEK': {
      const section = expectSection(parser);
      const partial = expectPartial(parser);
      return { type: 'section', label: `BODY[${formatSection(section)}]${origin(partial)}`, section, partial, peek };
    }
    case 'BINARY':
    case 'BINARY.PEEK': {
      const part = expectSectionBinary(parser);
      const partial = expectPartial(parser);
      return { type: 'binary', label: `BINARY[${part.join('.')}]${origin(partial)}`, part, partial, peek };
    }
    case 'BINARY.SIZE': {
      const part = expectSectionBinary(parser);
      return { type: 'binarySize', label: `BINARY.SIZE[${part.join('.')}]`, part };
    }
    default:
      throw new ParseError('Only BODY and BINARY take a section');
  }
}

/** `partial = "<" number64 "." nz-number64 ">"`; Outlook and others send a count of 0. */
function expectPartial(parser: CommandParser): FetchPartial | null {
  if (!parser.char('<')) return null;
  const start = parser.expectNumber64('the start of a partial');
  parser.expectChar('.');
  const count = parser.expectNumber64('the length of a partial');
  parser.expectChar('>');
  return { start, count };
}

/** The response names only where the octets begin (RFC 9051 §7.5.2). */
function origin(partial: FetchPartial | null): string {
  return partial === null ? '' : `<${partial.start}>`;
}

/** `fetch-modifiers`: `"(" "CHANGEDSINCE" SP mod-sequence-value [SP "VANISHED"] [SP "PARTIAL" SP partial-range] ")"`, in any order (RFC 4466 §2.4). */
function expectFetchModifiers(parser: CommandParser): FetchModifiers {
  let changedSince: number | null = null;
  let vanished = false;
  let partial: PartialRange | null = null;
  parser.expectList('the FETCH modifiers', { min: 1, max: 3 }, () => {
    if (parser.word('CHANGEDSINCE') && changedSince === null) {
      parser.expectSp();
      changedSince = parser.expectModSeq();
    } else if (parser.word('VANISHED') && !vanished) {
      vanished = true;
    } else if (parser.word('PARTIAL') && partial === null) {
      parser.expectSp();
      partial = expectPartialRange(parser);
    } else {
      throw new ParseError('Unknown or repeated FETCH modifier');
    }
  });
  // RFC 7162 §3.2.6: VANISHED only together with CHANGEDSINCE.
  if (vanished && changedSince === null) throw new ParseError('VANISHED needs CHANGEDSINCE');
  return { changedSince, vanished, partial };
}
