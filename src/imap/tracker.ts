import { hasFlag } from '../mail/flags.js';
import { indexOfUid, type Listing, lowerBound } from '../mail/listing.js';
import type { Output } from './output.js';
import { writeVanished } from './vanished.js';

/** What a session may be told right now. */
export interface PollOptions {
  /** False while a command that names messages by sequence number is answered (RFC 9051 §7.5.1). */
  readonly expunge: boolean;
  /** Whether flags that changed are told; only a client that said so is not (RFC 5465 §6.1). */
  readonly flags: boolean;
  /** Whether FETCH responses carry MODSEQ (RFC 7162 §3.2). */
  readonly modSeq: boolean;
  /** Whether removals are told as VANISHED (RFC 7162 §3.2.10). */
  readonly vanished: boolean;
}

/** `recentFrom` for a session without \Recent: above every UID. */
export const NO_RECENT = 0x1_0000_0000;

/**
 * What one session knows of its selected mailbox: sequence numbers, and the last MODSEQ it was told. `poll` compares
 * that with the live listing and announces the difference, so nothing has to be queued per session and a session that
 * is slow or silent costs nothing.
 */
export class Tracker {
  readonly #listing: Listing;
  /** Entries with this UID or a higher one are \Recent here (RFC 3501 §2.3.2). */
  readonly recentFrom: number;
  #uids: Uint32Array;
  #length: number;
  #epoch: number;
  #modSeq: number;
  /** UID → MODSEQ of changes this session made and knows the outcome of. */
  readonly #known = new Map<number, number>();

  constructor(listing: Listing, recentFrom: number) {
    this.#listing = listing;
    this.recentFrom = recentFrom;
    const view = listing.view();
    this.#uids = view.uids;
    this.#length = view.length;
    this.#epoch = view.epoch;
    this.#modSeq = listing.highestModSeq;
  }

  /** The highest MODSEQ up to which the client was told everything. */
  get modSeq(): number {
    return this.#modSeq;
  }

  /** Messages this session knows of; sequence numbers go from 1 to this. */
  get exists(): number {
    return this.#length;
  }

  /** UIDs by sequence number less one; only the first `exists` count, and only until the next `poll`. */
  get uids(): Uint32Array {
    return this.#uids;
  }

  /** Whether there is such a thing as \Recent; IMAP4rev2 has none (RFC 9051 appendix E). */
  get hasRecent(): boolean {
    return this.recentFrom !== NO_RECENT;
  }

  /** How many of them are \Recent. */
  get recent(): number {
    return this.#length - lowerBound(this.#uids, this.#length, this.recentFrom);
  }

  /** The UID of the last message, 0 without one. */
  get lastUid(): number {
    return this.#length === 0 ? 0 : this.#uids[this.#length - 1]!;
  }

  /** Positions (sequence numbers less one) of the messages with higher UIDs than this. */
  positionsAbove(uid: number): number[] {
    const from = lowerBound(this.#uids, this.#length, uid + 1);
    return Array.from({ length: this.#length - from }, (_, i) => from + i);
  }

  /** The sequence number of a UID, or 0. */
  sequence(uid: number): number {
    return indexOfUid(this.#uids, this.#length, uid) + 1;
  }

  /** Position in the live listing of the message at `at` (its sequence number less one), or -1 when it is gone. */
  listingIndex(at: number): number {
    return this.#epoch === this.#listing.epoch ? at : this.#listing.indexOf(this.#uids[at]!);
  }

  /** Records that the client knows the state these entries have now, because a response said so or it asked for it. */
  know(uids: Iterable<number>): void {
    for (const uid of uids) {
      const at = this.#listing.indexOf(uid);
      if (at >= 0 && this.#listing.modSeqs[at]! > this.#modSeq) this.#known.set(uid, this.#listing.modSeqs[at]!);
    }
  }

  /** As `know`, for the entry at this position of the listing. */
  told(at: number): void {
    const modSeq = this.#listing.modSeqs[at]!;
    if (modSeq > this.#modSeq) this.#known.set(this.#listing.uids[at]!, modSeq);
  }

  /** Whether the client was told the flags that the entry at this position of the listing has. */
  knows(at: number): boolean {
    const modSeq = this.#listing.modSeqs[at]!;
    return modSeq <= this.#modSeq || this.#known.get(this.#listing.uids[at]!) === modSeq;
  }

  /** Whether `poll` would say anything about flags or numbers. */
  get stale(): boolean {
    const listing = this.#listing;
    return listing.highestModSeq !== this.#modSeq || listing.epoch !== this.#epoch || listing.length !== this.#length;
  }

  /**
   * Announces what happened since the last poll: EXPUNGE, then EXISTS and RECENT, then FETCH for changed entries.
   * Returns true when messages arrived.
   */
  async poll(out: Output, options: PollOptions): Promise<boolean> {
    if (!this.stale) return false;
    if (options.expunge) this.#expunge(out, options.vanished);
    const before = this.#length;
    this.#arrive();
    if (this.#length > before) {
      out.text(`* ${this.#length} EXISTS\r\n`);
      if (this.hasRecent) out.text(`* ${this.recent} RECENT\r\n`);
    }
    if (options.flags) await this.#changes(before, out, options.modSeq);
    return this.#length > before;
  }

  #expunge(out: Output, vanished: boolean): void {
    const listing = this.#listing;
    if (listing.epoch === this.#epoch) return;
    const kept = new Uint32Array(this.#length);
    const gone: number[] = [];
    let at = 0;
    let count = 0;
    for (let i = 0; i < this.#length; i += 1) {
      const uid = this.#uids[i]!;
      while (at < listing.length && listing.uids[at]! < uid) at += 1;
      if (at < listing.length && listing.uids[at] === uid) {
        kept[count] = uid;
        count += 1;
      } else gone.push(i + 1);
    }
    if (vanished)
      writeVanished(
        out,
        gone.map((sequence) => this.#uids[sequence - 1]!),
      );
    // From the highest down, so that no number has to be corrected for the ones before (RFC 9051 §7.5.1).
    else for (let i = gone.length - 1; i >= 0; i -= 1) out.text(`* ${gone[i]} EXPUNGE\r\n`);
    this.#uids = kept;
    this.#length = count;
    this.#epoch = listing.epoch;
  }

  #arrive(): void {
    const listing = this.#listing;
    const last = this.#length === 0 ? 0 : this.#uids[this.#length - 1]!;
    const from = lowerBound(listing.uids, listing.length, last + 1);
    const arrived = listing.length - from;
    if (listing.epoch === this.#epoch) {
      this.#uids = listing.uids;
      this.#length = listing.length;
    } else if (arrived > 0) {
      // Some that are gone still hold their numbers: the session has numbers of its own until it may be told.
      const own = new Uint32Array(this.#length + arrived);
      own.set(this.#uids.subarray(0, this.#length));
      own.set(listing.uids.subarray(from, listing.length), this.#length);
      this.#uids = own;
      this.#length = own.length;
    }
  }

  /** FETCH for every entry among the first `count` that changed since the last poll. */
  async #changes(count: number, out: Output, withModSeq: boolean): Promise<void> {
    const listing = this.#listing;
    const until = listing.highestModSeq;
    if (until === this.#modSeq) return;
    out.startSlice();
    for (let i = 0; i < count; i += 1) {
      const at = this.listingIndex(i);
      if (at < 0 || listing.modSeqs[at]! <= this.#modSeq || this.knows(at)) continue;
      const uid = this.#uids[i]!;
      const modSeq = withModSeq ? ` MODSEQ (${listing.modSeqs[at]})` : '';
      out.text(`* ${i + 1} FETCH (UID ${uid} FLAGS (${this.flags(at)})${modSeq})\r\n`);
      if (out.full) await out.breathe();
    }
    // Whatever changed while this was written carries a MODSEQ above `until` and is announced by the next poll.
    this.#modSeq = until;
    for (const [uid, modSeq] of this.#known) if (modSeq <= until) this.#known.delete(uid);
  }

  /** The flags of the entry at a position of the listing as this session sees them. */
  flags(at: number): string {
    const text = this.#listing.flags(at);
    if (this.#listing.uids[at]! < this.recentFrom) return text;
    return text === '' ? '\\Recent' : `${text} \\Recent`;
  }

  /** Number of the first unseen message, or 0 (RFC 3501 §7.1 UNSEEN). */
  firstUnseen(): number {
    const unseen = this.#listing.flagTexts.map((text) => !hasFlag(text, '\\Seen'));
    for (let i = 0; i < this.#length; i += 1) {
      const at = this.listingIndex(i);
      if (at >= 0 && unseen[this.#listing.flagIds[at]!]) return i + 1;
    }
    return 0;
  }
}
