import { accountKeyword } from '../mail/flags.js';
import type { AccountBook } from '../store/account-book.js';
import { folderById } from '../store/folders.js';
import { mailboxNamed } from '../store/mailboxes.js';
import type { MailboxRow } from '../store/rows.js';
import type { Store } from '../store/store.js';
import { LiveListing } from './live-listing.js';

/** Listings that nobody has open stay loaded, so that the next SELECT is quick; this many of them. */
const IDLE_LISTINGS = 8;

interface Slot {
  readonly mailbox: MailboxRow;
  readonly live: Promise<LiveListing>;
  users: number;
}

/** The listings of one user: one per mailbox, shared by its sessions, loaded when first opened. */
export class Listings {
  readonly #store: Store;
  readonly #book: AccountBook;
  readonly #slots = new Map<number, Slot>();
  readonly #unsubscribe: () => void;
  readonly #refreshing = new Set<Promise<void>>();
  readonly #annotated = new Set<(mailbox: string, entries: readonly string[]) => void>();

  constructor(store: Store, book: AccountBook) {
    this.#store = store;
    this.#book = book;
    this.#unsubscribe = store.onCommit(({ mailboxes }) => {
      for (const id of mailboxes) {
        const slot = this.#slots.get(id);
        if (slot && slot.users > 0) this.#refresh(slot);
      }
    });
  }

  /** Throws `nonexistent`. Call `release` with the id when done. */
  async acquire(name: string): Promise<{ mailbox: MailboxRow; live: LiveListing }> {
    const mailbox = await this.#store.read((tx) => mailboxNamed(tx, name));
    let slot = this.#slots.get(mailbox.id);
    if (!slot) {
      slot = { mailbox, live: this.#load(mailbox), users: 0 };
      this.#slots.set(mailbox.id, slot);
    }
    slot.users += 1;
    try {
      const live = await slot.live;
      await live.refresh();
      return { mailbox: slot.mailbox, live };
    } catch (error) {
      // Others that have it open keep it.
      this.release(mailbox.id);
      if (slot.users === 0 && this.#slots.get(mailbox.id) === slot) this.#slots.delete(mailbox.id);
      throw error;
    }
  }

  release(mailboxId: number): void {
    const slot = this.#slots.get(mailboxId);
    if (!slot) return;
    slot.users -= 1;
    if (slot.users > 0) return;
    // The most recently used ones are at the end.
    this.#slots.delete(mailboxId);
    this.#slots.set(mailboxId, slot);
    const idle = [...this.#slots].filter(([, each]) => each.users === 0);
    for (const [id] of idle.slice(0, Math.max(0, idle.length - IDLE_LISTINGS))) this.#slots.delete(id);
  }

  /** Tells all sessions of the user which annotations changed. */
  annotated(mailbox: string, entries: readonly string[]): void {
    for (const listener of [...this.#annotated]) listener(mailbox, entries);
  }

  onAnnotated(listener: (mailbox: string, entries: readonly string[]) => void): () => void {
    this.#annotated.add(listener);
    return () => this.#annotated.delete(listener);
  }

  /** Resolves when all that is open shows what was committed so far: a client must find at once what it has stored. */
  async caughtUp(): Promise<void> {
    await Promise.all(this.#refreshing);
  }

  /** The listing when somebody has it open: its counts need no query. */
  async opened(mailboxId: number): Promise<LiveListing | null> {
    const slot = this.#slots.get(mailboxId);
    return slot && slot.users > 0 ? slot.live : null;
  }

  close(): void {
    this.#unsubscribe();
    this.#slots.clear();
  }

  async #load(mailbox: MailboxRow): Promise<LiveListing> {
    const keyword =
      mailbox.folder_id === null ? '' : await this.#store.read((tx) => this.#keyword(tx, mailbox.folder_id!));
    return LiveListing.load(this.#store, mailbox, keyword);
  }

  async #keyword(tx: Parameters<typeof folderById>[0], folderId: number): Promise<string> {
    const folder = await folderById(tx, folderId);
    return folder ? accountKeyword(this.#book.get(folder.account_id).name) : '';
  }

  /** A failed refresh is made good by the next one: the feed still has what it missed. */
  #refresh(slot: Slot): void {
    const refreshing = slot.live
      .then((live) => live.refresh())
      .catch(() => undefined)
      .finally(() => this.#refreshing.delete(refreshing));
    this.#refreshing.add(refreshing);
  }
}
