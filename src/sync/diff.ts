import type { FlagText } from '../mail/flags.js';
import { copiesByUids, countUids, knownUids, uidsInRanges } from '../store/copies.js';
import type { FolderRow } from '../store/rows.js';
import type { Store } from '../store/store.js';
import type { FolderReader, UidFlags } from '../upstream/port.js';

/** How a folder differs from what the store knows of it. */
export interface FolderDiff {
  /** Flags as they are now, of known mail that may have changed. */
  readonly flags: ReadonlyMap<number, FlagText>;
  /** UIDs of mail that is not known. */
  readonly arrivals: readonly number[];
  readonly vanished: readonly number[];
  /** Known mail before, for judging how much vanished. */
  readonly known: number;
  /** The server itself named what vanished (RFC 7162 VANISHED), rather than leaving it out of a listing. */
  readonly explicit: boolean;
}

/** The cheapest true comparison: QRESYNC, then CONDSTORE, then a whole listing; counts that disagree fall back to it. */
export async function diffFolder(store: Store, folder: FolderRow, reader: FolderReader): Promise<FolderDiff> {
  const cursor = folder.uid_next === null ? null : folder.mod_seq;
  if (reader.resync) {
    const diff = await fromChanges(store, folder, reader.resync.changed, reader.resync.vanished);
    if (diff.known - diff.vanished.length + diff.arrivals.length === reader.state.exists) return diff;
  } else if (cursor !== null && reader.state.highestModSeq !== null) {
    const changed = cursor === reader.state.highestModSeq ? [] : await reader.flags(cursor);
    const diff = await fromChanges(store, folder, changed, []);
    if (diff.known + diff.arrivals.length === reader.state.exists) return diff;
  }
  return fromListing(store, folder, await reader.flags(null));
}

async function fromChanges(
  store: Store,
  folder: FolderRow,
  changed: readonly UidFlags[],
  ranges: readonly (readonly [number, number])[],
): Promise<FolderDiff> {
  return store.read(async (tx) => {
    const copies = await copiesByUids(
      tx,
      folder.id,
      changed.map((each) => each.uid),
    );
    const present = new Set(copies.map((copy) => copy.uid));
    const flags = new Map(changed.filter((each) => present.has(each.uid)).map((each) => [each.uid, each.flags]));
    const arrivals = changed.filter((each) => !present.has(each.uid)).map((each) => each.uid);
    const vanished = ranges.length === 0 ? [] : await uidsInRanges(tx, folder.id, ranges);
    return { flags, arrivals, vanished, known: await countUids(tx, folder.id), explicit: true };
  });
}

async function fromListing(store: Store, folder: FolderRow, listed: readonly UidFlags[]): Promise<FolderDiff> {
  const known = new Set(await store.read((tx) => knownUids(tx, folder.id)));
  const flags = new Map<number, FlagText>();
  const arrivals: number[] = [];
  for (const { uid, flags: text } of listed) {
    if (known.has(uid)) flags.set(uid, text);
    else arrivals.push(uid);
  }
  const present = new Set(listed.map((each) => each.uid));
  const vanished = [...known].filter((uid) => !present.has(uid));
  return { flags, arrivals, vanished, known: known.size, explicit: false };
}
