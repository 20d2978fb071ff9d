import { LRUCache } from 'lru-cache';
import { flagList, isAccountKeyword } from '../mail/flags.js';
import type { Listing } from '../mail/listing.js';
import type { MimePart } from '../mail/mime-part.js';
import { ParseError } from '../wire/parse-error.js';
import type { IndexRange, SequenceSet } from '../wire/sequence-set.js';
import { eachIndex } from '../wire/sequence-set.js';
import type { Mailbox } from './backend.js';
import type { Output } from './output.js';
import { NO_RECENT, type PollOptions, Tracker } from './tracker.js';
import type { UpdateContext } from './update-context.js';

/** A tree may have 10,000 parts, so only a few are kept. */
const KEPT_TREES = 4;

/** Keywords of a mailbox that clients are told of, and may add to: some servers stop at 26, people have a few dozen. */
export const MAX_KEYWORDS = 1_000;

/** The flags every mailbox has (RFC 9051 §2.3.2). */
const SYSTEM_FLAGS = '\\Answered \\Flagged \\Deleted \\Seen \\Draft';

/** The mailbox a session has selected, with what the session knows of it. */
export class Selected {
  readonly mailbox: Mailbox;
  readonly readOnly: boolean;
  readonly tracker: Tracker;
  /** UIDs of the last SEARCH RETURN (SAVE), ascending (RFC 5182). */
  saved: readonly number[] = [];
  /** Results that are kept up to date, by the tag of their SEARCH (RFC 5267). */
  readonly contexts = new Map<string, UpdateContext>();
  /** Part trees of the mails read last: clients fetch the parts of a mail one by one. */
  readonly trees = new LRUCache<number, MimePart>({ max: KEPT_TREES });
  /** What `saved` came to with these sequence numbers. */
  #resolved: { readonly saved: readonly number[]; readonly uids: Uint32Array; readonly ranges: IndexRange[] } | null =
    null;
  #flagTexts: { readonly texts: readonly string[]; readonly length: number } = { texts: [], length: 0 };
  #keywords: readonly string[] = [];

  private constructor(mailbox: Mailbox, readOnly: boolean, recentFrom: number) {
    this.mailbox = mailbox;
    this.readOnly = readOnly;
    this.tracker = new Tracker(mailbox.listing, recentFrom);
    this.#learnKeywords();
  }

  /**
   * Takes over an opened mailbox; a read-write session claims what is \Recent (RFC 3501 §2.3.2). Without `recent` there
   * is no such flag, as IMAP4rev2 has it.
   */
  static async create(
    mailbox: Mailbox,
    { readOnly, recent }: { readonly readOnly: boolean; readonly recent: boolean },
  ): Promise<Selected> {
    try {
      return new Selected(mailbox, readOnly, recent ? await mailbox.recentFrom(!readOnly) : NO_RECENT);
    } catch (error) {
      mailbox.close();
      throw error;
    }
  }

  get listing(): Listing {
    return this.mailbox.listing;
  }

  /** Announces what is new (RFC 9051 §7.5.1); mail that arrived is claimed, so that it is \Recent for no later session. True when some did. */
  async poll(out: Output, options: PollOptions): Promise<boolean> {
    if (this.#learnKeywords()) this.announceFlags(out);
    const arrived = await this.tracker.poll(out, options);
    // A claim that fails only means that somebody else sees \Recent as well, which RFC 3501 §2.3.2 lets happen.
    if (arrived && !this.readOnly && this.tracker.hasRecent) await this.mailbox.recentFrom(true).catch(() => undefined);
    return arrived;
  }

  /** `* FLAGS (…)` and PERMANENTFLAGS (RFC 9051 §7.3.5, §7.1). */
  announceFlags(out: Output): void {
    const all = [SYSTEM_FLAGS, ...this.#keywords].join(' ');
    const more = this.takesKeywords(['']) ? ['\\*'] : [];
    const settable = [SYSTEM_FLAGS, ...this.#keywords.filter((flag) => !isAccountKeyword(flag)), ...more].join(' ');
    out.text(`* FLAGS (${all})\r\n`);
    out.text(`* OK [PERMANENTFLAGS (${this.readOnly ? '' : settable})] Flags permitted\r\n`);
  }

  /**
   * Positions (sequence numbers less one) of the messages a set names. A sequence number above EXISTS is BAD
   * (RFC 3501 §9 seq-number), except that clients send `1:*` to an empty mailbox; UIDs that do not exist are ignored.
   */
  resolve(set: SequenceSet, uid: boolean): IndexRange[] {
    const { exists } = this.tracker;
    if (!uid && set.largest > exists && !(exists === 0 && set.usesStar)) {
      throw new ParseError(`There are ${exists} messages`);
    }
    return this.resolveLoosely(set, uid);
  }

  /** As `resolve`, for SEARCH, where numbers that name nothing match nothing. */
  resolveLoosely(set: SequenceSet, uid: boolean): IndexRange[] {
    const { tracker } = this;
    if (set.saved) return this.#savedRanges();
    return uid ? set.indexRangesByUid(tracker.uids, tracker.exists) : set.indexRangesBySequence(tracker.exists);
  }

  /** The UIDs at these positions. */
  uids(ranges: readonly IndexRange[]): number[] {
    return Array.from(eachIndex(ranges), (at) => this.tracker.uids[at]!);
  }

  /** One command may name `$` many times. */
  #savedRanges(): IndexRange[] {
    const { saved, tracker } = this;
    if (this.#resolved?.saved !== saved || this.#resolved.uids !== tracker.uids) {
      const positions = saved.map((uid) => tracker.sequence(uid) - 1).filter((at) => at >= 0);
      this.#resolved = { saved, uids: tracker.uids, ranges: positions.map((at) => [at, at]) };
    }
    return this.#resolved.ranges;
  }

  /** Whether these flags may be set: only so many keywords are kept apart in a mailbox (RFC 9051 §7.1 PERMANENTFLAGS). */
  takesKeywords(flags: readonly string[]): boolean {
    if (this.#keywords.length < MAX_KEYWORDS) return true;
    const known = new Set(this.#keywords.map((flag) => flag.toLowerCase()));
    return flags.every((flag) => flag.startsWith('\\') || isAccountKeyword(flag) || known.has(flag.toLowerCase()));
  }

  /** True when the mailbox has keywords that the session was not told of. */
  #learnKeywords(): boolean {
    const { flagTexts } = this.listing;
    if (flagTexts === this.#flagTexts.texts && flagTexts.length === this.#flagTexts.length) return false;
    this.#flagTexts = { texts: flagTexts, length: flagTexts.length };
    const keywords = new Set(flagTexts.flatMap((text) => flagList(text)).filter((flag) => !flag.startsWith('\\')));
    // Those that no message has any more may be set again.
    const told = new Set(this.#keywords);
    const news = [...keywords].some((keyword) => !told.has(keyword)) && told.size < MAX_KEYWORDS;
    if (news) this.#keywords = [...keywords].sort().slice(0, MAX_KEYWORDS);
    return news;
  }

  close(): void {
    this.mailbox.close();
  }
}
