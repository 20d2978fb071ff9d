import type {
  AppendMessage,
  AppendResult,
  CopyResult,
  Mailbox,
  MailboxQuery,
  MailboxStatus,
  MessageBody,
  Metadata,
  MetadataWants,
  StoreMode,
  StoreResult,
} from '../imap/backend.js';
import { addFlags, type FlagText, flagList, flagText, hasFlag, isAccountKeyword, removeFlags } from '../mail/flags.js';
import { Listing } from '../mail/listing.js';
import { parseMime } from '../mail/mime.js';
import { previewOf } from '../mail/preview.js';
import { MergeboxError } from '../util/errors.js';
import type { MemoryMessage } from './memory-message.js';

/** Entries per page of metadata, as a store would read them. */
const PAGE = 200;

export interface MemoryEntry {
  readonly message: MemoryMessage;
  readonly flags: FlagText;
  readonly internalDate: number;
}

/** A mailbox over memory: what every session that selected it shares. */
export class MemoryMailbox {
  readonly uidValidity: number;
  readonly listing = new Listing();
  readonly #messages = new Map<number, MemoryMessage>();
  readonly #saved = new Map<number, number>();
  readonly #listeners = new Set<() => void>();
  readonly #vanished: { uid: number; modSeq: number }[] = [];
  #nextRow = 1;
  #recentFrom = 1;

  readonly #now: () => number;

  constructor(uidValidity: number, now: () => number) {
    this.uidValidity = uidValidity;
    this.#now = now;
  }

  get mailboxId(): string {
    return `F${this.uidValidity}`;
  }

  /** Seconds since the Unix epoch. */
  saved(uid: number): number {
    return this.#saved.get(uid) ?? 0;
  }

  message(uid: number): MemoryMessage | undefined {
    return this.#messages.get(uid);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** First \Recent UID; with `claim`, later callers start behind what is there now. */
  recentFrom(claim: boolean): number {
    const from = this.#recentFrom;
    if (claim) this.#recentFrom = this.listing.uidNext;
    return from;
  }

  status(): MailboxStatus {
    const { listing } = this;
    const status = { messages: listing.length, unseen: 0, recent: 0, deleted: 0, deletedSize: 0, size: 0 };
    for (let i = 0; i < listing.length; i += 1) {
      const flags = listing.flags(i);
      if (!hasFlag(flags, '\\Seen')) status.unseen += 1;
      if (hasFlag(flags, '\\Deleted')) {
        status.deleted += 1;
        status.deletedSize += listing.sizes[i]!;
      }
      if (listing.uids[i]! >= this.#recentFrom) status.recent += 1;
      status.size += listing.sizes[i]!;
    }
    const { uidNext, highestModSeq } = listing;
    const { mailboxId, uidValidity } = this;
    return { mailboxId, ...status, uidNext, uidValidity, highestModSeq };
  }

  /** The new UIDs, in order. */
  add(entries: readonly MemoryEntry[]): number[] {
    const uids: number[] = [];
    const modSeq = this.listing.highestModSeq + 1;
    for (const { message, flags, internalDate } of entries) {
      const uid = this.listing.uidNext;
      const row = this.#nextRow++;
      this.#messages.set(uid, message);
      this.#saved.set(uid, Math.floor(this.#now() / 1000));
      this.listing.append({ uid, row, message: message.id, flags, modSeq, size: message.bytes.length, internalDate });
      uids.push(uid);
    }
    if (uids.length > 0) this.#changed();
    return uids;
  }

  /** The entries of those UIDs that are present, as `add` takes them. */
  take(uids: readonly number[]): { uids: number[]; entries: MemoryEntry[] } {
    const found: number[] = [];
    const entries: MemoryEntry[] = [];
    for (const uid of uids) {
      const at = this.listing.indexOf(uid);
      const message = this.#messages.get(uid);
      if (at < 0 || message === undefined) continue;
      found.push(uid);
      entries.push({ message, flags: this.listing.flags(at), internalDate: this.listing.dates[at]! });
    }
    return { uids: found, entries };
  }

  store(
    uids: readonly number[],
    mode: StoreMode,
    flags: readonly string[],
    unchangedSince = Number.MAX_SAFE_INTEGER,
  ): StoreResult {
    const settable = flags.filter((flag) => !isAccountKeyword(flag));
    const modSeq = this.listing.highestModSeq + 1;
    const modified: number[] = [];
    let changed = false;
    for (const uid of uids) {
      const at = this.listing.indexOf(uid);
      if (at < 0) continue;
      if (this.listing.modSeqs[at]! > unchangedSince) {
        modified.push(uid);
        continue;
      }
      const before = this.listing.flags(at);
      const after = changeFlags(before, mode, settable);
      if (after === before) continue;
      this.listing.setFlags(at, after, modSeq);
      changed = true;
    }
    if (changed) this.#changed();
    return { modified, modSeq: this.listing.highestModSeq };
  }

  /** Removes these UIDs, whatever their flags. */
  remove(uids: Iterable<number>): void {
    const gone = [...uids].filter((uid) => this.#messages.delete(uid));
    if (gone.length === 0) return;
    const modSeq = this.listing.highestModSeq + 1;
    for (const uid of gone) this.#vanished.push({ uid, modSeq });
    this.listing.expunge(gone, modSeq);
    this.#changed();
  }

  vanishedSince(modSeq: number): number[] {
    const uids = this.#vanished.filter((each) => each.modSeq > modSeq).map(({ uid }) => uid);
    return uids.sort((a, b) => a - b);
  }

  /** UIDs that carry \Deleted, among `uids` when given. */
  deleted(uids?: readonly number[]): number[] {
    const { listing } = this;
    const among = uids ?? Array.from(listing.uids.subarray(0, listing.length));
    return among.filter((uid) => {
      const at = listing.indexOf(uid);
      return at >= 0 && hasFlag(listing.flags(at), '\\Deleted');
    });
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }
}

function changeFlags(before: FlagText, mode: StoreMode, flags: readonly string[]): FlagText {
  if (mode === 'add') return addFlags(before, flags);
  if (mode === 'remove') return removeFlags(before, flags);
  return flagText([...flags, ...flagList(before).filter(isAccountKeyword)]);
}

/** What copying and moving need of the user's other mailboxes. */
export interface MemoryTargets {
  append(name: string, messages: readonly AppendMessage[]): AppendResult;
  /** Throws `trycreate`. */
  target(name: string): MemoryMailbox;
}

/** One session's hold on a `MemoryMailbox`. */
export class OpenMemoryMailbox implements Mailbox {
  readonly name: string;
  readonly #mailbox: MemoryMailbox;
  readonly #targets: MemoryTargets;
  readonly #stops = new Set<() => void>();

  constructor(name: string, mailbox: MemoryMailbox, targets: MemoryTargets) {
    this.name = name;
    this.#mailbox = mailbox;
    this.#targets = targets;
  }

  get uidValidity(): number {
    return this.#mailbox.uidValidity;
  }

  get mailboxId(): string {
    return this.#mailbox.mailboxId;
  }

  get listing(): Listing {
    return this.#mailbox.listing;
  }

  onChange(listener: () => void): () => void {
    const off = this.#mailbox.onChange(listener);
    const stop = (): void => {
      off();
      this.#stops.delete(stop);
    };
    this.#stops.add(stop);
    return stop;
  }

  async recentFrom(claim: boolean): Promise<number> {
    return this.#mailbox.recentFrom(claim);
  }

  async vanishedSince(modSeq: number): Promise<readonly number[]> {
    return this.#mailbox.vanishedSince(modSeq);
  }

  async *metadata(uids: readonly number[], wants: MetadataWants): AsyncGenerator<readonly Metadata[]> {
    for (let start = 0; start < uids.length; start += PAGE) {
      const page: Metadata[] = [];
      for (const uid of uids.slice(start, start + PAGE)) {
        const message = this.#mailbox.message(uid);
        if (message === undefined) continue;
        page.push({
          uid,
          ...(wants.envelope === true ? { envelope: message.envelope } : {}),
          ...(wants.structure === true ? { structure: message.structure } : {}),
          ...(wants.header === true ? { header: message.header } : {}),
          ...(wants.ids === true ? { emailId: message.emailId, threadId: message.threadId } : {}),
          ...(wants.saved === true ? { saved: this.#mailbox.saved(uid) } : {}),
          ...(wants.preview === undefined ? {} : { preview: previewOf(message.bytes, parseMime(message.bytes)) }),
        });
      }
      yield page;
    }
  }

  async find(query: MailboxQuery): Promise<ReadonlySet<number>> {
    const fits = (uid: number): boolean => {
      const message = this.#mailbox.message(uid);
      if (message === undefined) return false;
      if ('emailId' in query) return message.emailId === query.emailId;
      if ('threadId' in query) return message.threadId === query.threadId;
      const saved = this.#mailbox.saved(uid);
      return saved >= query.savedFrom && saved < query.savedTo;
    };
    const { listing } = this.#mailbox;
    return new Set(listing.uids.subarray(0, listing.length).filter(fits));
  }

  async replace(uid: number, target: string, message: AppendMessage): Promise<AppendResult> {
    if (this.#mailbox.message(uid) === undefined) {
      throw new MergeboxError('nonexistent', `replace UID ${uid}: it was expunged`);
    }
    const result = this.#targets.append(target, [message]);
    this.#mailbox.remove([uid]);
    return result;
  }

  async body(uid: number): Promise<MessageBody> {
    const bytes = this.#mailbox.message(uid)?.bytes;
    if (bytes === undefined) throw new MergeboxError('nonexistent', `fetch UID ${uid}: it was expunged`);
    return { size: bytes.length, read: async (start, end) => bytes.subarray(start, end) };
  }

  async store(
    uids: readonly number[],
    mode: StoreMode,
    flags: readonly string[],
    unchangedSince?: number,
  ): Promise<StoreResult> {
    return this.#mailbox.store(uids, mode, flags, unchangedSince);
  }

  async copy(uids: readonly number[], target: string): Promise<CopyResult> {
    const to = this.#targets.target(target);
    const { uids: sourceUids, entries } = this.#mailbox.take(uids);
    return { uidValidity: to.uidValidity, sourceUids, targetUids: to.add(entries) };
  }

  async move(uids: readonly number[], target: string): Promise<CopyResult> {
    const result = await this.copy(uids, target);
    this.#mailbox.remove(result.sourceUids);
    return result;
  }

  async expunge(uids?: readonly number[]): Promise<void> {
    this.#mailbox.remove(this.#mailbox.deleted(uids));
  }

  close(): void {
    for (const stop of [...this.#stops]) stop();
  }
}
