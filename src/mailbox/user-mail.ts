import { hasFlag } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import { mailboxNamed } from '../store/mailboxes.js';
import type { MailboxRow } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';
import { type AppendMessage, appendMessages } from './append.js';
import type { MailContext } from './context.js';
import {
  createMailbox,
  deleteMailbox,
  listMailboxes,
  type MailboxInfo,
  renameMailbox,
  subscribeMailbox,
} from './folders.js';
import type { Listings } from './listings.js';
import type { LiveListing } from './live-listing.js';
import { SelectedMailbox } from './selected.js';

export interface MailboxStatus {
  readonly messages: number;
  readonly uidNext: number;
  readonly uidValidity: number;
  readonly unseen: number;
  readonly recent: number;
  readonly deleted: number;
  readonly size: number;
  readonly highestModSeq: number;
}

/** One session of a user over the merged mailboxes and mirrors. Fits imap's `UserSession`. */
export class UserMail {
  readonly user: string;
  readonly #context: MailContext;
  readonly #listings: Listings;

  constructor(context: MailContext, listings: Listings) {
    this.user = context.user;
    this.#context = context;
    this.#listings = listings;
  }

  list(): Promise<MailboxInfo[]> {
    return listMailboxes(this.#context);
  }

  async status(name: string): Promise<MailboxStatus> {
    const row = await this.#context.store.read((tx) => mailboxNamed(tx, name));
    const open = await this.#listings.opened(row.id);
    return open ? statusOf(row, open) : this.#context.store.snapshot((tx) => countStatus(tx, name));
  }

  async open(name: string): Promise<SelectedMailbox> {
    const { mailbox, live } = await this.#listings.acquire(name);
    return new SelectedMailbox(this.#context, mailbox, live, () => this.#listings.release(mailbox.id));
  }

  create(name: string, role?: Role): Promise<void> {
    return createMailbox(this.#context, name, role);
  }

  delete(name: string): Promise<void> {
    return deleteMailbox(this.#context, name);
  }

  rename(from: string, to: string): Promise<void> {
    return renameMailbox(this.#context, from, to);
  }

  subscribe(name: string, subscribed: boolean): Promise<void> {
    return subscribeMailbox(this.#context, name, subscribed);
  }

  append(name: string, messages: readonly AppendMessage[]): Promise<{ uidValidity: number; uids: number[] }> {
    return appendMessages(this.#context, name, messages);
  }

  close(): void {}
}

async function statusOf(row: MailboxRow, live: LiveListing): Promise<MailboxStatus> {
  await live.refresh();
  const { listing } = live;
  const perFlags = new Uint32Array(listing.flagTexts.length);
  let size = 0;
  for (let i = 0; i < listing.length; i += 1) {
    perFlags[listing.flagIds[i]!]! += 1;
    size += listing.sizes[i]!;
  }
  let seen = 0;
  let deleted = 0;
  for (const [id, text] of listing.flagTexts.entries()) {
    if (hasFlag(text, '\\Seen')) seen += perFlags[id]!;
    if (hasFlag(text, '\\Deleted')) deleted += perFlags[id]!;
  }
  let recent = 0;
  for (let i = listing.length - 1; i >= 0 && listing.uids[i]! >= row.recent_uid; i -= 1) recent += 1;
  return {
    messages: listing.length,
    uidNext: listing.uidNext,
    uidValidity: row.uid_validity,
    unseen: listing.length - seen,
    recent,
    deleted,
    size,
    highestModSeq: listing.highestModSeq,
  };
}

/** Counts in the database, for a mailbox that nobody has open. */
async function countStatus(tx: ReadTx, name: string): Promise<MailboxStatus> {
  const row = await mailboxNamed(tx, name);
  const merged = row.folder_id === null;
  const uid = merged ? 'uid' : 'mirror_uid';
  const from = merged
    ? 'entry WHERE mailbox_id = ?'
    : "copy WHERE folder_id = ? AND mirror_uid IS NOT NULL AND state <> 'doomed'";
  const counts = await tx.get<{
    n: number;
    seen: number | null;
    deleted: number | null;
    recent: number | null;
    size: number | null;
  }>(
    `SELECT COUNT(*) AS n, SUM(CASE WHEN flags LIKE '%\\Seen%' THEN 1 ELSE 0 END) AS seen,
       SUM(CASE WHEN flags LIKE '%\\Deleted%' THEN 1 ELSE 0 END) AS deleted,
       SUM(CASE WHEN ${uid} >= ? THEN 1 ELSE 0 END) AS recent, SUM(size) AS size FROM ${from}`,
    [row.recent_uid, merged ? row.id : row.folder_id],
  );
  const { n, seen, deleted, recent, size } = counts!;
  return {
    messages: n,
    uidNext: row.uid_next,
    uidValidity: row.uid_validity,
    unseen: n - (seen ?? 0),
    recent: recent ?? 0,
    deleted: deleted ?? 0,
    size: size ?? 0,
    highestModSeq: row.mod_seq,
  };
}
