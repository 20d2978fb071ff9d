import type { FlagText } from '../mail/flags.js';
import { copiesByUids, countUids, type KnownCopies, knownCopies, uidsInRanges } from '../store/copies.js';
import { isNewsOf } from '../store/ingest.js';
import type { FolderRow } from '../store/rows.js';
import type { Store } from '../store/store.js';
import type { FolderReader, UidFlags } from '../upstream/port.js';

/** How a folder differs from what the store knows of it. */
export interface FolderDiff {
  /** Flags as they are now, of known mail that may have changed. */
  readonly flags: ReadonlyMap<number, FlagText>;
  /** UIDs of mail that is not known, and was not left out before. */
  readonly arrivals: readonly number[];
  /** What was left out before and is still there. */
  readonly skipped: ReadonlySet<number>;
  readonly vanished: readonly number[];
  /** Known mail before, for judging how much vanished. */
  readonly known: number;
  /** The server itself named what vanished (RFC 7162 VANISHED), rather than leaving it out of a listing. */
  readonly explicit: boolean;
}

/** The cheapest true comparison: QRESYNC, then CONDSTORE, then a whole listing; counts that disagree fall back to it. */
export async function diffFolder(
  store: Store,
  folder: FolderRow,
  reader: FolderReader,
  skipped: ReadonlySet<number>,
): Promise<FolderDiff> {
  const agrees = ({ known, vanished, arrivals, skipped: left }: FolderDiff): boolean =>
    known - vanished.length + arrivals.length + left.size === reader.state.exists;
  const cursor = folder.uid_next === null ? null : folder.mod_seq;
  if (reader.resync) {
    const diff = await fromChanges(store, folder, reader.resync.changed, reader.resync.vanished, skipped);
    if (agrees(diff)) return diff;
  } else if (cursor !== null && reader.state.highestModSeq !== null) {
    const changed = cursor === reader.state.highestModSeq ? [] : await reader.flags(cursor);
    const diff = await fromChanges(store, folder, changed, [], skipped);
    if (agrees(diff)) return diff;
  }
  return fromListing(store, folder, await reader.flags(null), skipped);
}

async function fromChanges(
  store: Store,
  folder: FolderRow,
  changed: readonly UidFlags[],
  ranges: readonly (readonly [number, number])[],
  skipped: ReadonlySet<number>,
): Promise<FolderDiff> {
  return store.read(async (tx) => {
    const copies = await copiesByUids(
      tx,
      folder.id,
      changed.map((each) => each.uid),
    );
    const present = new Set(copies.map((copy) => copy.uid));
    const flags = new Map(changed.filter((each) => present.has(each.uid)).map((each) => [each.uid, each.flags]));
    const arrivals = changed.map(({ uid }) => uid).filter((uid) => !present.has(uid) && !skipped.has(uid));
    const vanished = ranges.length === 0 ? [] : await uidsInRanges(tx, folder.id, ranges);
    const left = withoutRanges(skipped, ranges);
    return { flags, arrivals, skipped: left, vanished, known: await countUids(tx, folder.id), explicit: true };
  });
}

function withoutRanges(uids: ReadonlySet<number>, ranges: readonly (readonly [number, number])[]): ReadonlySet<number> {
  if (uids.size === 0 || ranges.length === 0) return uids;
  const sorted = [...ranges].sort((a, b) => a[0] - b[0]);
  const left = new Set<number>();
  let at = 0;
  for (const uid of [...uids].sort((a, b) => a - b)) {
    while (at < sorted.length && sorted[at]![1] < uid) at += 1;
    if (at === sorted.length || uid < sorted[at]![0]) left.add(uid);
  }
  return left;
}

async function fromListing(
  store: Store,
  folder: FolderRow,
  listed: readonly UidFlags[],
  skipped: ReadonlySet<number>,
): Promise<FolderDiff> {
  const known = new Map<number, KnownAlike>();
  for (const copies of await store.read((tx) => knownCopies(tx, folder.id))) {
    const alike = new KnownAlike(folder, copies);
    for (const uid of copies.uids) known.set(uid, alike);
  }
  const flags = new Map<number, FlagText>();
  const arrivals: number[] = [];
  for (const { uid, flags: text } of listed) {
    const alike = known.get(uid);
    if (alike?.isNews(text)) flags.set(uid, text);
    else if (alike === undefined && !skipped.has(uid)) arrivals.push(uid);
  }
  const present = new Set(listed.map((each) => each.uid));
  const vanished = [...known.keys()].filter((uid) => !present.has(uid)).sort((a, b) => a - b);
  const left = skipped.size === 0 ? skipped : new Set([...skipped].filter((uid) => present.has(uid)));
  return { flags, arrivals, skipped: left, vanished, known: known.size, explicit: false };
}

/** Copies that are alike: whether a flag text is news for them is found out once. */
class KnownAlike {
  readonly #folder: FolderRow;
  readonly #copies: KnownCopies;
  readonly #news = new Map<FlagText, boolean>();

  constructor(folder: FolderRow, copies: KnownCopies) {
    this.#folder = folder;
    this.#copies = copies;
  }

  isNews(observed: FlagText): boolean {
    let news = this.#news.get(observed);
    if (news === undefined) {
      news = isNewsOf(this.#folder, this.#copies, observed);
      this.#news.set(observed, news);
    }
    return news;
  }
}
