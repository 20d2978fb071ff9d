import { hasFlag } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import { annotationsOf, setAnnotations } from '../store/annotations.js';
import { mailboxes, mailboxNamed } from '../store/mailboxes.js';
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
import { objectId } from './object-id.js';
import { quotaRoots } from './quota.js';
import { rightsOf } from './rights.js';
import { SelectedMailbox } from './selected.js';

export interface MailboxStatus {
  readonly mailboxId: string;
  readonly messages: number;
  readonly uidNext: number;
  readonly uidValidity: number;
  readonly unseen: number;
  readonly recent: number;
  readonly deleted: number;
  readonly deletedSize: number;
  readonly size: number;
  readonly highestModSeq: number;
}

type Counts = Omit<MailboxStatus, 'mailboxId'>;

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
    const mailboxId = objectId('F', this.#context.store.id, row.id);
    const counts = open ? await statusOf(row, open) : await this.#context.store.snapshot((tx) => countStatus(tx, name));
    return { mailboxId, ...counts };
  }

  async open(name: string): Promise<SelectedMailbox> {
    const { mailbox, live } = await this.#listings.acquire(name);
    return new SelectedMailbox(this.#context, mailbox, live, this.#listings);
  }

  async create(name: string, role?: Role): Promise<string> {
    const row = await createMailbox(this.#context, name, role);
    return objectId('F', this.#context.store.id, row);
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

  async append(name: string, messages: readonly AppendMessage[]): Promise<{ uidValidity: number; uids: number[] }> {
    const result = await appendMessages(this.#context, name, messages);
    await this.#listings.caughtUp();
    return result;
  }

  quota(name: string | null): ReturnType<typeof quotaRoots> {
    return quotaRoots(this.#context, name);
  }

  rights(name: string): Promise<string> {
    return rightsOf(this.#context, name);
  }

  annotations(name: string): Promise<ReadonlyMap<string, Buffer>> {
    return this.#context.store.read((tx) => annotationsOf(tx, name));
  }

  async annotate(name: string, changes: ReadonlyMap<string, Buffer | null>): Promise<void> {
    await this.#context.store.write((tx) => setAnnotations(tx, name, changes));
    this.#listings.annotated(name, [...changes.keys()]);
  }

  onChange(listener: (change: UserChange) => void): () => void {
    const { store } = this.#context;
    const stopAnnotated = this.#listings.onAnnotated((mailbox, entries) => {
      listener({ mailboxes: [], names: false, annotations: [{ mailbox, entries }] });
    });
    const stop = store.onCommit(({ mailboxes: ids, names }) => {
      if (ids.size === 0 && !names) return;
      // Somebody who asks too early looks again with the next commit.
      void store.read(mailboxes).then(
        (rows) => listener({ mailboxes: rows.filter(({ id }) => ids.has(id)).map(({ name }) => name), names }),
        () => undefined,
      );
    });
    return () => {
      stop();
      stopAnnotated();
    };
  }

  close(): void {}
}

/** As imap's `UserChange`. */
interface UserChange {
  readonly mailboxes: readonly string[];
  readonly names: boolean;
  readonly annotations?: readonly { readonly mailbox: string; readonly entries: readonly string[] }[];
}

async function statusOf(row: MailboxRow, live: LiveListing): Promise<Counts> {
  await live.refresh();
  const { listing } = live;
  const perFlags = new Uint32Array(listing.flagTexts.length);
  const sizes = new Float64Array(listing.flagTexts.length);
  for (let i = 0; i < listing.length; i += 1) {
    perFlags[listing.flagIds[i]!]! += 1;
    sizes[listing.flagIds[i]!]! += listing.sizes[i]!;
  }
  let seen = 0;
  let deleted = 0;
  let deletedSize = 0;
  for (const [id, text] of listing.flagTexts.entries()) {
    if (hasFlag(text, '\\Seen')) seen += perFlags[id]!;
    if (hasFlag(text, '\\Deleted')) {
      deleted += perFlags[id]!;
      deletedSize += sizes[id]!;
    }
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
    deletedSize,
    size: sizes.reduce((sum, each) => sum + each, 0),
    highestModSeq: listing.highestModSeq,
  };
}

/** Counts in the database, for a mailbox that nobody has open. */
async function countStatus(tx: ReadTx, name: string): Promise<Counts> {
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
    deleted_size: number | null;
    recent: number | null;
    size: number | null;
  }>(
    `SELECT COUNT(*) AS n, SUM(CASE WHEN flags LIKE '%\\Seen%' THEN 1 ELSE 0 END) AS seen,
       SUM(CASE WHEN flags LIKE '%\\Deleted%' THEN 1 ELSE 0 END) AS deleted,
       SUM(CASE WHEN flags LIKE '%\\Deleted%' THEN size ELSE 0 END) AS deleted_size,
       SUM(CASE WHEN ${uid} >= ? THEN 1 ELSE 0 END) AS recent, SUM(size) AS size FROM ${from}`,
    [row.recent_uid, merged ? row.id : row.folder_id],
  );
  const { n, seen, deleted, deleted_size, recent, size } = counts!;
  return {
    messages: n,
    uidNext: row.uid_next,
    uidValidity: row.uid_validity,
    unseen: n - (seen ?? 0),
    recent: recent ?? 0,
    deleted: deleted ?? 0,
    deletedSize: deleted_size ?? 0,
    size: size ?? 0,
    highestModSeq: row.mod_seq,
  };
}
