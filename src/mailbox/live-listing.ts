import { Listing } from '../mail/listing.js';
import { changesSince, entriesOf } from '../store/feed.js';
import type { MailboxRow } from '../store/rows.js';
import type { Store } from '../store/store.js';

/** The listing of one mailbox, kept equal to the store by folding its change feed. */
export class LiveListing {
  readonly listing: Listing;
  readonly #store: Store;
  readonly #mailbox: MailboxRow;
  /** The account keyword of a mirror. */
  readonly #keyword: string;
  readonly #listeners = new Set<() => void>();
  #seen: number;
  #running: Promise<void> | null = null;
  /** How many commits there were when it began. */
  #runsFrom = 0;
  #next: Promise<void> | null = null;

  private constructor(store: Store, mailbox: MailboxRow, keyword: string, listing: Listing) {
    this.#store = store;
    this.#mailbox = mailbox;
    this.#keyword = keyword;
    this.listing = listing;
    this.#seen = mailbox.mod_seq;
  }

  static async load(store: Store, mailbox: MailboxRow, keyword: string): Promise<LiveListing> {
    const listing = new Listing();
    for await (const page of entriesOf((task) => store.read(task), mailbox, keyword)) {
      for (const row of page) listing.append(row);
    }
    listing.uidNext = mailbox.uid_next;
    listing.highestModSeq = mailbox.mod_seq;
    const live = new LiveListing(store, mailbox, keyword, listing);
    await live.refresh();
    return live;
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the listing shows every commit made before the call. */
  refresh(): Promise<void> {
    // The one that runs sees every commit there is: whoever hears of a commit first starts it.
    if (this.#running && this.#runsFrom === this.#store.commits) return this.#running;
    if (!this.#running) {
      this.#runsFrom = this.#store.commits;
      this.#running = this.#fold().finally(() => {
        this.#running = null;
      });
      return this.#running;
    }
    this.#next ??= this.#running.then(
      () => this.#followUp(),
      () => this.#followUp(),
    );
    return this.#next;
  }

  #followUp(): Promise<void> {
    this.#next = null;
    return this.refresh();
  }

  async #fold(): Promise<void> {
    const changes = await changesSince(this.#store, this.#mailbox, this.#keyword, this.#seen);
    const { listing } = this;
    if (changes === null) {
      listing.expunge(new Set(listing.uids.subarray(0, listing.length)), listing.highestModSeq + 1);
    } else {
      if (changes.modSeq === this.#seen) return;
      if (changes.expunged.length > 0) listing.expunge(new Set(changes.expunged), changes.modSeq);
      for (const row of changes.entries) {
        const index = listing.indexOf(row.uid);
        if (index < 0) listing.append(row);
        else listing.setFlags(index, row.flags, row.modSeq);
      }
      this.#seen = changes.modSeq;
      listing.uidNext = Math.max(listing.uidNext, changes.uidNext);
      listing.highestModSeq = Math.max(listing.highestModSeq, changes.modSeq);
    }
    for (const listener of this.#listeners) listener();
  }
}
