import { parseLargeMime } from '../mail/mime.js';
import type { MimePart } from '../mail/mime-part.js';
import { searchText } from '../mail/text.js';
import { isMergeboxError } from '../util/errors.js';
import type { SearchKey } from '../wire/search-key.js';
import { type Candidate, compileKey, HeaderTexts, type Matcher, type SearchContext } from './search-match.js';
import { foldText } from './search-text.js';
import type { Selected } from './selected.js';

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
  const byHeader = await withHeaders(selected, matches, open, breathe);
  const byBody = await withBodies(selected, matches, byHeader.open, breathe);
  const uids = [...found, ...byHeader.found, ...byBody.found];
  if (open.length > 0) uids.sort((a, b) => a - b);
  return { uids, unavailable: byBody.unavailable };
}

interface Round {
  readonly found: number[];
  readonly open: number[];
}

/** Entries that one look at the listing takes before others may run. */
const SLICE = 10_000;

async function byListing({ tracker, listing }: Selected, matches: Matcher, breathe: Breathe): Promise<Round> {
  const found: number[] = [];
  const open: number[] = [];
  for (let position = 0; position < tracker.exists; position += 1) {
    if (position % SLICE === SLICE - 1) await breathe();
    const at = tracker.listingIndex(position);
    if (at < 0) continue;
    const verdict = matches({ at, header: null, contains: null });
    if (verdict === true) found.push(listing.uids[at]!);
    else if (verdict === 'unknown') open.push(listing.uids[at]!);
  }
  return { found, open };
}

async function withHeaders(
  selected: Selected,
  matches: Matcher,
  uids: readonly number[],
  breathe: Breathe,
): Promise<Round> {
  const found: number[] = [];
  const open: number[] = [];
  if (uids.length === 0) return { found, open };
  for await (const page of selected.mailbox.metadata(uids, { header: true })) {
    for (const { uid, header } of page) {
      const at = selected.listing.indexOf(uid);
      if (at < 0 || header === undefined) continue;
      const verdict = matches({ at, header: new HeaderTexts(header), contains: null });
      if (verdict === true) found.push(uid);
      else if (verdict === 'unknown') open.push(uid);
    }
    await breathe();
  }
  return { found, open };
}

async function withBodies(
  selected: Selected,
  matches: Matcher,
  uids: readonly number[],
  breathe: Breathe,
): Promise<{ found: number[]; unavailable: number }> {
  const found: number[] = [];
  let unavailable = 0;
  for (const uid of uids) {
    try {
      if (await inBody(selected, matches, uid, breathe)) found.push(uid);
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      if (error.code !== 'nonexistent') unavailable += 1;
    }
    await breathe();
  }
  return { found, unavailable };
}

async function inBody(selected: Selected, matches: Matcher, uid: number, breathe: Breathe): Promise<boolean> {
  const body = await selected.mailbox.body(uid);
  const bytes = await body.read(0, body.size);
  const tree = await parseLargeMime(bytes);
  const header = new HeaderTexts(bytes.subarray(0, tree.bodyStart));
  const texts = new BodyTexts(bytes, tree);
  await breathe();
  const at = selected.listing.indexOf(uid);
  if (at < 0) return false;
  const candidate: Candidate = { at, header, contains: (needle, anywhere) => texts.contains(needle, anywhere) };
  return matches(candidate) === true;
}

/** The decoded text of one mail. */
class BodyTexts {
  readonly #bytes: Buffer;
  readonly #tree: MimePart;

  constructor(bytes: Buffer, tree: MimePart) {
    this.#bytes = bytes;
    this.#tree = tree;
  }

  contains(needle: string, header: boolean): boolean {
    // Folding may shorten or lengthen text a little: the overlap is generous.
    for (const piece of searchText(this.#bytes, this.#tree, { header, overlap: needle.length * 2 })) {
      if (foldText(piece).includes(needle)) return true;
    }
    return false;
  }
}
