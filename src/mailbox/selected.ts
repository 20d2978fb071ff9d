import type { StoredBody } from '../cache/stored-body.js';
import { bodyStructureWire } from '../mail/body-structure.js';
import { addFlags, flagList, flagText, hasFlag, isAccountKeyword, removeFlags } from '../mail/flags.js';
import type { Listing } from '../mail/listing.js';
import { parseLargeMime } from '../mail/mime.js';
import { vanishedSince } from '../store/feed.js';
import { type Group, groupFlags, groupModSeq, groupsOf, setGroupFlags } from '../store/groups.js';
import { mailboxById, mailboxNamed } from '../store/mailboxes.js';
import { type MetadataRow, metadataOf } from '../store/metadata.js';
import { messagesWithId, savedDates } from '../store/objects.js';
import { expungeGroups } from '../store/remove.js';
import type { MailboxRow } from '../store/rows.js';
import type { ReadTx } from '../store/store.js';
import { transferGroups } from '../store/transfer.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { chunks } from '../util/group.js';
import { type AppendMessage, appendMessages } from './append.js';
import { byWhom, type MailContext } from './context.js';
import { requireFlagRoom } from './flag-room.js';
import { keepingUploads } from './keep-uploads.js';
import type { Listings } from './listings.js';
import type { LiveListing } from './live-listing.js';
import { objectId, objectRow, threadId, threadNumber } from './object-id.js';
import { makePreviews } from './previews.js';

/** Messages whose metadata is read in one query: half a megabyte of headers. */
const PAGE = 250;
/** Messages whose flags are changed by one round of statements. */
const STORE_PAGE = 1_000;

interface Wants {
  readonly envelope?: boolean;
  readonly structure?: boolean;
  readonly header?: boolean;
  readonly ids?: boolean;
  readonly saved?: boolean;
  readonly preview?: 'lazy' | 'full';
}

/** As imap's `MailboxQuery`. */
type Query =
  | { readonly emailId: string }
  | { readonly threadId: string }
  | { readonly savedFrom: number; readonly savedTo: number };

/** An open mailbox: one user's commands on it, each a single transaction. Fits imap's `Mailbox`. */
export class SelectedMailbox {
  readonly name: string;
  readonly mailboxId: string;
  readonly uidValidity: number;
  readonly listing: Listing;
  readonly #context: MailContext;
  readonly #row: MailboxRow;
  readonly #live: LiveListing;
  readonly #listings: Pick<Listings, 'release' | 'caughtUp'>;

  constructor(
    context: MailContext,
    row: MailboxRow,
    live: LiveListing,
    listings: Pick<Listings, 'release' | 'caughtUp'>,
  ) {
    this.#context = context;
    this.#row = row;
    this.#live = live;
    this.#listings = listings;
    this.name = row.name;
    this.mailboxId = objectId('F', context.store.id, row.id);
    this.uidValidity = row.uid_validity;
    this.listing = live.listing;
  }

  onChange(listener: () => void): () => void {
    return this.#live.onChange(listener);
  }

  async recentFrom(claim: boolean): Promise<number> {
    const row = await this.#context.store.read((tx) => mailboxById(tx, this.#row.id));
    if (claim && row.recent_uid < row.uid_next) {
      await this.#context.store
        .write((tx) => tx.run('UPDATE mailbox SET recent_uid = uid_next WHERE id = ?', [this.#row.id]))
        // A disk that takes nothing keeps nobody from reading; the next session sees them as \Recent again.
        .catch(unlessUnwritable);
    }
    return row.recent_uid;
  }

  vanishedSince(modSeq: number): Promise<readonly number[]> {
    return this.#context.store.read((tx) => vanishedSince(tx, this.#row.id, modSeq));
  }

  async *metadata(uids: readonly number[], wants: Wants): AsyncGenerator<Metadata[]> {
    // The next page is read while the caller sends this one.
    let next: Promise<Metadata[]> | null = null;
    for (let start = 0; start < uids.length; start += PAGE) {
      const page: Promise<Metadata[]> = next ?? this.#page(uids.slice(start, start + PAGE), wants);
      const after = uids.slice(start + PAGE, start + 2 * PAGE);
      next = after.length === 0 ? null : this.#page(after, wants);
      // A caller that stops early leaves this one behind; one that goes on meets its failure at its turn.
      next?.catch(() => undefined);
      yield await page;
    }
  }

  /** What is stored of these messages; those that are gone are left out. */
  async #page(uids: readonly number[], wants: Wants): Promise<Metadata[]> {
    const known = uids.flatMap((uid) => {
      const index = this.listing.indexOf(uid);
      return index < 0 ? [] : { uid, message: this.listing.messages[index]!, row: this.listing.rows[index]! };
    });
    const ids = known.map((each) => each.message);
    const { preview } = wants;
    const rows = await this.#context.store.read((tx) =>
      metadataOf(tx, ids, { ...wants, preview: preview !== undefined }),
    );
    const saved = wants.saved ? await this.#savedDates(known.map((each) => each.row)) : null;
    const missing = preview === undefined ? [] : [...rows.values()].filter((row) => row.preview === null);
    const made = await makePreviews(
      this.#context,
      missing.map((row) => row.id),
      preview === 'lazy',
    );
    const answered: Metadata[] = [];
    for (const { uid, message, row: place } of known) {
      const row = rows.get(message);
      if (!row) continue;
      const parts = this.#parts(uid, row);
      if (row.structure?.length === 0) parts.structure = await this.#structure(message);
      if (saved !== null) parts.saved = saved.get(place) ?? null;
      if (preview !== undefined) parts.preview = row.preview ?? made.get(message) ?? null;
      answered.push(parts);
    }
    return answered;
  }

  #parts(uid: number, { envelope, structure, header, email, thread }: MetadataRow): Mutable<Metadata> {
    const parts: Mutable<Metadata> = { uid };
    if (envelope !== undefined) parts.envelope = envelope;
    if (structure !== undefined) parts.structure = structure;
    if (header !== undefined) parts.header = header;
    if (email !== undefined) {
      parts.emailId = objectId('M', this.#context.store.id, email);
      parts.threadId = typeof thread === 'number' ? threadId(thread) : null;
    }
    return parts;
  }

  #savedDates(rows: readonly number[]): Promise<Map<number, number | null>> {
    return this.#context.store.read((tx) => savedDates(tx, this.#row.folder_id === null ? 'entry' : 'copy', rows));
  }

  async find(query: Query): Promise<ReadonlySet<number>> {
    const { listing } = this;
    const uids = listing.uids.subarray(0, listing.length);
    if ('savedFrom' in query) {
      const saved = await this.#savedDates(Array.from(listing.rows.subarray(0, listing.length)));
      return new Set(
        uids.filter((uid) => {
          const at = listing.indexOf(uid);
          const date = at < 0 ? Number.NaN : (saved.get(listing.rows[at]!) ?? listing.dates[at]!);
          return date >= query.savedFrom && date < query.savedTo;
        }),
      );
    }
    const [kind, row] =
      'emailId' in query
        ? (['email', objectRow('M', this.#context.store.id, query.emailId)] as const)
        : (['thread', threadNumber(query.threadId)] as const);
    if (row === null) return new Set();
    const messages = await this.#context.store.read((tx) => messagesWithId(tx, kind, row));
    return new Set(
      uids.filter((uid) => {
        const at = listing.indexOf(uid);
        return at >= 0 && messages.has(listing.messages[at]!);
      }),
    );
  }

  async body(uid: number): Promise<StoredBody> {
    const index = this.listing.indexOf(uid);
    if (index < 0) throw new MergeboxError('nonexistent', 'the message was expunged');
    const body = await this.#context.bodies.load(this.listing.messages[index]!);
    const now = this.listing.indexOf(uid);
    // A server may have told another RFC822.SIZE than the mail has.
    if (now >= 0) this.listing.sizes[now] = body.size;
    return body;
  }

  /** A range of a section without the rest of the mail; null when the whole is to be had instead. */
  async part(uid: number, section: string, start: number, count: number): Promise<Buffer | null> {
    const index = this.listing.indexOf(uid);
    if (index < 0) return null;
    return this.#context.bodies.part(this.listing.messages[index]!, section, start, count);
  }

  async store(
    uids: readonly number[],
    mode: 'add' | 'remove' | 'replace',
    flags: readonly string[],
    unchangedSince?: number,
  ): Promise<{ modified: number[]; modSeq: number }> {
    const wanted = flags.filter((flag) => !isAccountKeyword(flag));
    const { modified, modSeq } = await this.#context.store.write(async (tx) => {
      const refused: number[] = [];
      // Page by page, so that no other session waits for the rows of all of them to be read.
      for (const page of chunks(uids, STORE_PAGE)) {
        const changes: { group: Group; flags: string }[] = [];
        for (const [uid, group] of await groupsOf(tx, this.#row, page)) {
          const modSeq = groupModSeq(group, this.#row);
          // What this command changed a page before counts as unchanged.
          if (unchangedSince !== undefined && modSeq > unchangedSince && modSeq !== tx.modSeq) {
            refused.push(uid);
            continue;
          }
          const before = groupFlags(group);
          const after = changed(before, mode, wanted);
          if (after === before) continue;
          requireFlagRoom(after, before);
          changes.push({ group, flags: after });
        }
        if (changes.length > 0) await setGroupFlags(tx, this.#context.book, changes, this.#reason('STORE'));
      }
      return { modified: refused, modSeq: tx.modSeq };
    });
    faultPoint('flags.committed');
    await this.#live.refresh();
    return { modified, modSeq };
  }

  async copy(uids: readonly number[], target: string): Promise<CopyResult> {
    const result = await this.#transfer(uids, target, 'copy');
    await this.#listings.caughtUp();
    return result;
  }

  async move(uids: readonly number[], target: string): Promise<CopyResult> {
    const result = await this.#transfer(uids, target, 'move');
    await this.#listings.caughtUp();
    return result;
  }

  async expunge(uids?: readonly number[]): Promise<void> {
    const candidates: number[] = [];
    for (const uid of uids ?? this.listing.uids.subarray(0, this.listing.length)) {
      const index = this.listing.indexOf(uid);
      if (index >= 0 && hasFlag(this.listing.flags(index), '\\Deleted')) candidates.push(uid);
    }
    if (candidates.length === 0) return;
    await this.#context.store.write(async (tx) => {
      const groups = await groupsOf(tx, this.#row, candidates);
      const doomed = [...groups.values()].filter((group) => hasFlag(groupFlags(group), '\\Deleted'));
      await expungeGroups(tx, this.#context.book, doomed, this.#reason('EXPUNGE'));
    });
    faultPoint('expunge.committed');
    await this.#live.refresh();
  }

  /** RFC 8508: the new mail and the end of the old one are one transaction. */
  async replace(uid: number, target: string, message: AppendMessage): Promise<{ uidValidity: number; uids: number[] }> {
    const result = await appendMessages(this.#context, target, [message], {
      reason: this.#reason('REPLACE'),
      before: async (tx) => {
        const groups = await groupsOf(tx, this.#row, [uid]);
        if (groups.size === 0) throw new MergeboxError('nonexistent', 'the message to be replaced was expunged');
        // Before the new one comes: in Sent, one of the same content would be taken for this one.
        await expungeGroups(tx, this.#context.book, [...groups.values()], this.#reason('REPLACE'));
      },
    });
    await this.#listings.caughtUp();
    return result;
  }

  close(): void {
    this.#listings.release(this.#row.id);
  }

  async #transfer(uids: readonly number[], target: string, mode: 'copy' | 'move'): Promise<CopyResult> {
    const plan = async (tx: ReadTx): Promise<{ target: MailboxRow; byUid: Map<number, Group>; groups: Group[] }> => {
      const mailbox = await this.#target(tx, target);
      if (mode === 'move' && mailbox.id === this.#row.id) {
        throw new MergeboxError('cannot', `move to "${target}": the mail is there already`);
      }
      const byUid = await groupsOf(tx, this.#row, uids);
      return { target: mailbox, byUid, groups: [...byUid.values()] };
    };
    const result = await keepingUploads(this.#context, plan, async (tx, kept) => {
      const { target: mailbox, byUid, groups } = await plan(tx);
      const reason = this.#reason(mode === 'move' ? 'MOVE' : 'COPY');
      const targetUids = await transferGroups(tx, this.#context.book, groups, mailbox, mode, reason, kept);
      return { uidValidity: mailbox.uid_validity, sourceUids: [...byUid.keys()], targetUids };
    });
    faultPoint('transfer.committed');
    return result;
  }

  async #target(tx: ReadTx, name: string): Promise<MailboxRow> {
    try {
      return await mailboxNamed(tx, name);
    } catch (error) {
      if (isMergeboxError(error, 'nonexistent')) throw new MergeboxError('trycreate', `no mailbox "${name}"`);
      throw error;
    }
  }

  /** The structure of a message whose server gave none. */
  async #structure(messageId: number): Promise<Buffer> {
    const bytes = await this.#context.bodies.bytes(messageId);
    return bodyStructureWire(bytes, await parseLargeMime(bytes));
  }

  #reason(command: string): string {
    return `client: ${command} in ${this.name} by ${byWhom(this.#context)}`;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function unlessUnwritable(error: unknown): void {
  if (!isMergeboxError(error, 'overquota', 'unavailable')) throw error;
}

interface Metadata {
  readonly uid: number;
  readonly envelope?: Buffer;
  readonly structure?: Buffer;
  readonly header?: Buffer;
  readonly emailId?: string;
  readonly threadId?: string | null;
  readonly saved?: number | null;
  readonly preview?: string | null;
}

interface CopyResult {
  readonly uidValidity: number;
  readonly sourceUids: readonly number[];
  readonly targetUids: readonly number[];
}

function changed(before: string, mode: 'add' | 'remove' | 'replace', flags: readonly string[]): string {
  switch (mode) {
    case 'add':
      return addFlags(before, flags);
    case 'remove':
      return removeFlags(before, flags);
    case 'replace':
      // A keyword keeps the spelling it has.
      return flagText([...flagList(before).filter((flag) => includesFlag(flags, flag)), ...flags]);
  }
}

function includesFlag(flags: readonly string[], flag: string): boolean {
  return flags.some((each) => each.toLowerCase() === flag.toLowerCase());
}
