import { parseLargeMime } from '../mail/mime.js';
import type { MimePart } from '../mail/mime-part.js';
import { searchText } from '../mail/text.js';
import { isMergeboxError } from '../util/errors.js';
import type { SearchArguments, SearchKey } from '../wire/search-key.js';
import { countIndexes, type IndexRange, SequenceSet } from '../wire/sequence-set.js';
import { HeaderTexts, WantedFields } from './header-texts.js';
import { findKeys } from './search-find.js';
import { compileKey, type Matcher, type SearchContext } from './search-match.js';
import { foldText, SearchCharset } from './search-text.js';
import type { Selected } from './selected.js';
import type { Session } from './session.js';

/** What a search found. */
export interface SearchResult {
  /** Ascending. */
  readonly uids: readonly number[];
  /** Messages that could not be looked into because their bytes are out of reach. */
  readonly unavailable: number;
}

/** Between two messages of a long search: lets others run. */
export type Breathe = () => Promise<void>;

/**
 * Searches in three rounds: over the listing alone; with headers, for what that left open; with bodies, for what is
 * open still. So a body is read only when nothing cheaper decides.
 */
export async function search(key: SearchKey, context: SearchContext, breathe: Breathe): Promise<SearchResult> {
  const { selected } = context;
  const matches = compileKey(key, context);
  const { found, open } = await byListing(selected, matches, breathe);
  const wanted = new WantedFields(context.fields);
  const byHeader = await withHeaders(selected, matches, wanted, open, breathe);
  const byBody = await withBodies(context, matches, wanted, byHeader.open, breathe);
  const uids = [...found, ...byHeader.found, ...byBody.found];
  if (open.length > 0) uids.sort((a, b) => a - b);
  return { uids, unavailable: byBody.unavailable };
}

interface Round {
  readonly found: number[];
  readonly open: number[];
}

/** Entries looked at before others may run; a search may have two thousand keys. */
const SLICE = 64;
/** Headers, which take longer, and texts looked for in a piece of a body. */
const HEADER_SLICE = 8;
const NEEDLE_SLICE = 32;

async function byListing({ tracker, listing }: Selected, matches: Matcher, breathe: Breathe): Promise<Round> {
  const found: number[] = [];
  const open: number[] = [];
  for (let position = 0; position < tracker.exists; position += 1) {
    if (position % SLICE === SLICE - 1) await breathe();
    const at = tracker.listingIndex(position);
    if (at < 0) continue;
    const verdict = matches({ at, header: null, body: null });
    if (verdict === true) found.push(listing.uids[at]!);
    else if (verdict === 'unknown') open.push(listing.uids[at]!);
  }
  return { found, open };
}

async function withHeaders(
  selected: Selected,
  matches: Matcher,
  wanted: WantedFields,
  uids: readonly number[],
  breathe: Breathe,
): Promise<Round> {
  const found: number[] = [];
  const open: number[] = [];
  if (uids.length === 0) return { found, open };
  for await (const page of selected.mailbox.metadata(uids, { header: true })) {
    for (const [index, { uid, header }] of page.entries()) {
      if (index % HEADER_SLICE === HEADER_SLICE - 1) await breathe();
      const at = selected.listing.indexOf(uid);
      if (at < 0 || header === undefined) continue;
      const verdict = matches({ at, header: new HeaderTexts(header, wanted), body: null });
      if (verdict === true) found.push(uid);
      else if (verdict === 'unknown') open.push(uid);
    }
    await breathe();
  }
  return { found, open };
}

async function withBodies(
  context: SearchContext,
  matches: Matcher,
  wanted: WantedFields,
  uids: readonly number[],
  breathe: Breathe,
): Promise<{ found: number[]; unavailable: number }> {
  const found: number[] = [];
  let unavailable = 0;
  for (const [index, uid] of uids.entries()) {
    context.onBody(index, uids.length);
    try {
      if (await matchesBody(context, matches, wanted, uid, breathe)) found.push(uid);
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      if (error.code !== 'nonexistent') unavailable += 1;
    }
    await breathe();
  }
  return { found, unavailable };
}

async function matchesBody(
  context: SearchContext,
  matches: Matcher,
  wanted: WantedFields,
  uid: number,
  breathe: Breathe,
): Promise<boolean> {
  const { listing, mailbox } = context.selected;
  const source = await mailbox.body(uid);
  const bytes = await source.read(0, source.size);
  const tree = await parseLargeMime(bytes);
  const body = await needlesIn(bytes, tree, context.needles, breathe);
  const at = listing.indexOf(uid);
  return at >= 0 && matches({ at, header: new HeaderTexts(bytes.subarray(0, tree.bodyStart), wanted), body }) === true;
}

/** The needles that the decoded text of a mail holds. */
async function needlesIn(
  bytes: Buffer,
  tree: MimePart,
  needles: ReadonlySet<string>,
  breathe: Breathe,
): Promise<Set<string>> {
  const missing = new Set(needles);
  // Folding may shorten or lengthen text a little: the overlap is generous.
  const overlap = 2 * Math.max(...Array.from(needles, (needle) => needle.length));
  for (const piece of searchText(bytes, tree, { header: false, overlap })) {
    const text = foldText(piece);
    let looked = 0;
    for (const needle of missing) {
      if (text.includes(needle)) missing.delete(needle);
      looked += 1;
      if (looked % NEEDLE_SLICE === 0) await breathe();
    }
    if (missing.size === 0) break;
    await breathe();
  }
  return new Set([...needles].filter((needle) => !missing.has(needle)));
}

/** What the keys of a command find in a mailbox. Throws `BadCharset`. */
export async function searchIn(session: Session, selected: Selected, args: SearchArguments): Promise<SearchResult> {
  const { out } = session;
  const charset = new SearchCharset(args.charset);
  const now = Math.floor(session.services.now() / 1000);
  const found = await findKeys(args.key, selected.mailbox);
  out.startSlice();
  const onBody = (done: number, total: number): void => {
    session.progress = () => [done, total];
  };
  const context = { selected, charset, now, found, onBody, needles: new Set<string>(), fields: new Set<string>() };
  const among = narrowest(args.key, selected);
  const kept = session.limit(among, selected);
  // RFC 9738 §3.2: of too many messages, the newest are searched.
  const key = kept === among ? args.key : bounded(args.key, kept);
  return search(key, context, () => out.breathe());
}

/** The messages that a search can find at most, by the sets that stand at its top. */
function narrowest(key: SearchKey, selected: Selected): readonly IndexRange[] {
  const { exists } = selected.tracker;
  let least: readonly IndexRange[] = exists === 0 ? [] : [[0, exists - 1]];
  for (const each of key.type === 'and' ? key.keys : [key]) {
    if (each.type !== 'uid' && each.type !== 'sequence') continue;
    const ranges = selected.resolveLoosely(each.set, each.type === 'uid');
    if (countIndexes(ranges) < countIndexes(least)) least = ranges;
  }
  return least;
}

function bounded(key: SearchKey, ranges: readonly IndexRange[]): SearchKey {
  const set = new SequenceSet(ranges.map(([first, last]): IndexRange => [first + 1, last + 1]));
  return { type: 'and', keys: [{ type: 'sequence', set }, key] };
}
