import { hasFlag } from '../mail/flags.js';
import { parseMessageDate } from '../mail/header-date.js';
import type { DateRelation, SearchKey } from '../wire/search-key.js';
import type { HeaderTexts } from './header-texts.js';
import type { SearchCharset } from './search-text.js';
import type { Selected } from './selected.js';

/** Whether a message matches, as far as can be told from what is at hand. */
export type Verdict = boolean | 'unknown';

/** What is at hand of one message: its place in the listing always, the rest when it was read. */
export interface Candidate {
  /** Position in the listing. */
  readonly at: number;
  readonly header: HeaderTexts | null;
  /** Which of the needles are in its body; null before that was read. */
  readonly body: ReadonlySet<string> | null;
}

/** One compiled key. It answers `unknown` when it needs the header or the body and they are not there. */
export type Matcher = (candidate: Candidate) => Verdict;

/** What compiling needs to know of the session and the moment. */
export interface SearchContext {
  readonly selected: Selected;
  readonly charset: SearchCharset;
  /** Seconds since the Unix epoch. */
  readonly now: number;
  /** Told before each body that is looked into (RFC 9585). */
  readonly onBody: (done: number, total: number) => void;
  /** Takes every text that is looked for in bodies, so that each body is read through once for all of them. */
  readonly needles: Set<string>;
  /** What `findKeys` found for keys that neither the listing nor the mail can answer. */
  readonly found: ReadonlyMap<SearchKey, ReadonlySet<number>>;
  /** Takes the names of all header fields that are looked at, in lower case. */
  readonly fields: Set<string>;
}

const DAY = 86_400;

/** A key as a function of one message; sets are resolved, flags looked at once per distinct flag text. */
export function compileKey(key: SearchKey, context: SearchContext): Matcher {
  const { selected, charset, now } = context;
  const { listing } = selected;
  switch (key.type) {
    case 'all':
      return () => true;
    case 'sequence':
      return inSet(selected, selected.resolveLoosely(key.set, false));
    case 'uid':
      return inSet(selected, selected.resolveLoosely(key.set, true));
    case 'flag':
      return flagMatcher(selected, key.flag, key.present);
    case 'recent':
      return ({ at }) => listing.uids[at]! >= selected.tracker.recentFrom === key.present;
    case 'larger':
      return ({ at }) => listing.sizes[at]! > key.size;
    case 'smaller':
      return ({ at }) => listing.sizes[at]! < key.size;
    case 'younger':
      return ({ at }) => listing.dates[at]! >= now - key.seconds;
    case 'older':
      return ({ at }) => listing.dates[at]! <= now - key.seconds;
    case 'modseq':
      return ({ at }) => listing.modSeqs[at]! >= key.modSeq;
    case 'savedatesupported':
      return () => true;
    case 'emailid':
    case 'threadid':
      return foundMatcher(context, key);
    case 'date':
      if (key.field === 'saved') return foundMatcher(context, key);
      return dateMatcher(context, key.field, key.relation, key.day);
    case 'envelope':
      return fieldMatcher(context, key.field, charset.decode(key.value));
    case 'header':
      return fieldMatcher(context, key.name, charset.decode(key.value));
    case 'body':
    case 'text':
      return textMatcher(charset.decode(key.value), key.type === 'text', context.needles);
    case 'and':
      return allOf(key.keys.map((each) => compileKey(each, context)));
    case 'or':
      return anyOf(key.keys.map((each) => compileKey(each, context)));
    case 'not':
      return negate(compileKey(key.key, context));
  }
}

function foundMatcher({ found, selected }: SearchContext, key: SearchKey): Matcher {
  const uids = found.get(key);
  return ({ at }) => uids?.has(selected.listing.uids[at]!) === true;
}

/** Ranges hold positions in the session's numbers; the matcher is asked for positions in the listing. */
function inSet(selected: Selected, ranges: readonly (readonly [number, number])[]): Matcher {
  const { listing, tracker } = selected;
  return ({ at }) => {
    const sequence = tracker.sequence(listing.uids[at]!);
    return sequence > 0 && inRanges(ranges, sequence - 1);
  };
}

/** Whether ascending ranges hold the position. */
function inRanges(ranges: readonly (readonly [number, number])[], position: number): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]![1] < position) low = middle + 1;
    else high = middle;
  }
  return low < ranges.length && ranges[low]![0] <= position;
}

function flagMatcher({ listing }: Selected, flag: string, present: boolean): Matcher {
  let texts = listing.flagTexts;
  let byId: boolean[] = [];
  return ({ at }) => {
    if (listing.flagTexts !== texts) {
      texts = listing.flagTexts;
      byId = [];
    }
    const id = listing.flagIds[at]!;
    const known = byId[id];
    if (known !== undefined) return known;
    const matches = hasFlag(texts[id]!, flag) === present;
    byId[id] = matches;
    return matches;
  };
}

function dateMatcher(context: SearchContext, field: 'internal' | 'sent', relation: DateRelation, day: number): Matcher {
  const { listing } = context.selected;
  // RFC 9051 §6.4.4: time and zone are disregarded, so a date is the day as it was written.
  if (field === 'internal') return ({ at }) => relate(listing.dates[at]!, relation, day);
  context.fields.add('date');
  return ({ header, at }) => {
    if (header === null) return 'unknown';
    const date = parseMessageDate(header.first('date') ?? '');
    // A mail without a readable Date is dated by its arrival, as SORT has it (RFC 5256 §2.2).
    return relate(date === null ? listing.dates[at]! : date.instant + date.offset * 60, relation, day);
  };
}

function relate(seconds: number, relation: DateRelation, day: number): boolean {
  if (relation === 'before') return seconds < day;
  return relation === 'since' ? seconds >= day : seconds >= day && seconds < day + DAY;
}

function fieldMatcher({ fields }: SearchContext, name: string, needle: string): Matcher {
  fields.add(name);
  return ({ header }) => (header === null ? 'unknown' : header.contains(name, needle));
}

/** BODY, and TEXT, which looks into the header as well (RFC 9051 §6.4.4). */
function textMatcher(needle: string, withHeader: boolean, needles: Set<string>): Matcher {
  // An empty text is in every message.
  if (needle === '') return () => true;
  needles.add(needle);
  return ({ header, body }) => {
    if (body?.has(needle) === true) return true;
    if (withHeader && header?.anyContains(needle) === true) return true;
    return body === null ? 'unknown' : false;
  };
}

function allOf(matchers: readonly Matcher[]): Matcher {
  return (candidate) => {
    let verdict: Verdict = true;
    for (const matches of matchers) {
      const each = matches(candidate);
      if (each === false) return false;
      if (each === 'unknown') verdict = 'unknown';
    }
    return verdict;
  };
}

function anyOf(matchers: readonly Matcher[]): Matcher {
  return (candidate) => {
    let verdict: Verdict = false;
    for (const matches of matchers) {
      const each = matches(candidate);
      if (each === true) return true;
      if (each === 'unknown') verdict = 'unknown';
    }
    return verdict;
  };
}

function negate(matches: Matcher): Matcher {
  return (candidate) => {
    const verdict = matches(candidate);
    return verdict === 'unknown' ? 'unknown' : !verdict;
  };
}
