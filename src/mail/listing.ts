import type { FlagText } from './flags.js';

/** One entry as the store hands it to a listing. */
export interface ListingRow {
  readonly uid: number;
  /** Opaque id of the row behind the entry. */
  readonly row: number;
  /** Opaque id of its content. */
  readonly message: number;
  readonly flags: FlagText;
  readonly modSeq: number;
  /** Octets, as RFC822.SIZE. */
  readonly size: number;
  /** INTERNALDATE, seconds since the Unix epoch. */
  readonly internalDate: number;
}

/**
 * What a mailbox holds, in UID order, as arrays: 40 octets an entry, so that a listing of flags, dates or sizes over
 * all of it touches no database. One owner mutates it between turns of the event loop and tells its readers; a
 * reader that must keep sequence numbers stable keeps a `UidView`.
 *
 * Arrivals are written behind the current end, so an older `UidView` on the same array stays true; an expunge or a
 * growth makes new arrays and leaves the old ones to whoever still holds them.
 */
export class Listing {
  uids: Uint32Array;
  rows: Float64Array;
  messages: Float64Array;
  /** Index into `flagTexts`. */
  flagIds: Uint32Array;
  modSeqs: Float64Array;
  sizes: Float64Array;
  dates: Float64Array;
  length = 0;
  /** Counts expunges: readers of the same epoch share index positions. */
  epoch = 0;
  uidNext = 1;
  highestModSeq = 1;

  /**
   * Interned canonical flag texts. When many of them are used no more, both this array and `flagIds` are replaced:
   * whoever keeps an id from one turn to the next keeps the array it belongs to.
   */
  flagTexts: FlagText[] = [];
  #flagIdByText = new Map<FlagText, number>();
  /** Texts beyond which the unused ones are looked for. */
  #flagRoom = 1_024;

  constructor(capacity = 64) {
    this.uids = new Uint32Array(capacity);
    this.rows = new Float64Array(capacity);
    this.messages = new Float64Array(capacity);
    this.flagIds = new Uint32Array(capacity);
    this.modSeqs = new Float64Array(capacity);
    this.sizes = new Float64Array(capacity);
    this.dates = new Float64Array(capacity);
  }

  /** Adds an entry whose UID is above all present ones. */
  append(row: ListingRow): void {
    if (this.length > 0 && row.uid <= this.uids[this.length - 1]!) {
      throw new RangeError(`append to listing: UID ${row.uid} is not above ${this.uids[this.length - 1]}`);
    }
    if (this.length === this.uids.length) this.#grow();
    // First, since it may replace the array.
    const flagId = this.#intern(row.flags);
    const at = this.length;
    this.uids[at] = row.uid;
    this.rows[at] = row.row;
    this.messages[at] = row.message;
    this.flagIds[at] = flagId;
    this.modSeqs[at] = row.modSeq;
    this.sizes[at] = row.size;
    this.dates[at] = row.internalDate;
    this.length = at + 1;
    if (row.uid >= this.uidNext) this.uidNext = row.uid + 1;
    if (row.modSeq > this.highestModSeq) this.highestModSeq = row.modSeq;
  }

  /** New flags and MODSEQ for the entry at `index`. */
  setFlags(index: number, flags: FlagText, modSeq: number): void {
    const flagId = this.#intern(flags);
    this.flagIds[index] = flagId;
    this.modSeqs[index] = modSeq;
    if (modSeq > this.highestModSeq) this.highestModSeq = modSeq;
  }

  /** The canonical flag text of the entry at `index`. */
  flags(index: number): FlagText {
    return this.flagTexts[this.flagIds[index]!]!;
  }

  /** Removes the entries with these UIDs (unknown ones are ignored). */
  expunge(uids: Iterable<number>, modSeq: number): void {
    const gone = uids instanceof Set ? (uids as Set<number>) : new Set(uids);
    if (modSeq > this.highestModSeq) this.highestModSeq = modSeq;
    const keep: number[] = [];
    for (let i = 0; i < this.length; i += 1) if (!gone.has(this.uids[i]!)) keep.push(i);
    if (keep.length === this.length) return;
    const capacity = Math.max(64, keep.length + (keep.length >> 3));
    const pick = <A extends Uint32Array | Float64Array>(from: A, to: A): A => {
      for (let i = 0; i < keep.length; i += 1) to[i] = from[keep[i]!]!;
      return to;
    };
    this.uids = pick(this.uids, new Uint32Array(capacity));
    this.rows = pick(this.rows, new Float64Array(capacity));
    this.messages = pick(this.messages, new Float64Array(capacity));
    this.flagIds = pick(this.flagIds, new Uint32Array(capacity));
    this.modSeqs = pick(this.modSeqs, new Float64Array(capacity));
    this.sizes = pick(this.sizes, new Float64Array(capacity));
    this.dates = pick(this.dates, new Float64Array(capacity));
    this.length = keep.length;
    this.epoch += 1;
  }

  /** The position of a UID, or -1. */
  indexOf(uid: number): number {
    return indexOfUid(this.uids, this.length, uid);
  }

  /** The UIDs as they are now, unaffected by what happens later. */
  view(): UidView {
    return { uids: this.uids, length: this.length, epoch: this.epoch };
  }

  #intern(text: FlagText): number {
    let id = this.#flagIdByText.get(text);
    if (id === undefined) {
      if (this.flagTexts.length >= this.#flagRoom) this.#dropUnusedFlags();
      id = this.flagTexts.push(text) - 1;
      this.#flagIdByText.set(text, id);
    }
    return id;
  }

  #dropUnusedFlags(): void {
    const texts: FlagText[] = [];
    const newIds = new Map<number, number>();
    const flagIds = new Uint32Array(this.flagIds.length);
    for (let i = 0; i < this.length; i += 1) {
      const old = this.flagIds[i]!;
      let id = newIds.get(old);
      if (id === undefined) {
        id = texts.push(this.flagTexts[old]!) - 1;
        newIds.set(old, id);
      }
      flagIds[i] = id;
    }
    this.flagIds = flagIds;
    this.flagTexts = texts;
    this.#flagIdByText = new Map(texts.map((text, id) => [text, id]));
    this.#flagRoom = Math.max(1_024, 2 * texts.length);
  }

  #grow(): void {
    const capacity = this.uids.length * 2;
    const copy = <A extends Uint32Array | Float64Array>(from: A, to: A): A => {
      to.set(from);
      return to;
    };
    this.uids = copy(this.uids, new Uint32Array(capacity));
    this.rows = copy(this.rows, new Float64Array(capacity));
    this.messages = copy(this.messages, new Float64Array(capacity));
    this.flagIds = copy(this.flagIds, new Uint32Array(capacity));
    this.modSeqs = copy(this.modSeqs, new Float64Array(capacity));
    this.sizes = copy(this.sizes, new Float64Array(capacity));
    this.dates = copy(this.dates, new Float64Array(capacity));
  }
}

/** The sequence numbers of one session: `uids[n - 1]` for 1 ≤ n ≤ length. */
export interface UidView {
  readonly uids: Uint32Array;
  readonly length: number;
  readonly epoch: number;
}

/** Position of `uid` among the first `length` ascending `uids`, or -1. */
export function indexOfUid(uids: Uint32Array, length: number, uid: number): number {
  const at = lowerBound(uids, length, uid);
  return at < length && uids[at] === uid ? at : -1;
}

/** Position of the first of the `length` ascending `uids` that is not below `uid`. */
export function lowerBound(uids: Uint32Array, length: number, uid: number): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (uids[middle]! < uid) low = middle + 1;
    else high = middle;
  }
  return low;
}
