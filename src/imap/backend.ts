import type { Role } from '../mail/ids.js';
import type { Listing } from '../mail/listing.js';

/**
 * What the IMAP front end needs of whoever owns the mail, and no more: the merged mailboxes of `mailbox/` fit it, and
 * so does a memory backend. Every refusal is a `MergeboxError`; its code becomes the response code (RFC 5530).
 */
export interface Backend {
  /**
   * The session of a user, or null when name or password is wrong. Takes the same time either way; throttling by
   * `peer` (an address) and by name is the backend's.
   */
  login(user: string, password: string, peer: string): Promise<UserSession | null>;
}

/** All that one logged-in user may do outside a selected mailbox. */
export interface UserSession {
  readonly user: string;
  /** Every mailbox and every name above one, in no particular order; names are UTF-8 with '/' between levels. */
  list(): Promise<readonly MailboxInfo[]>;
  /** Throws `nonexistent`. */
  status(name: string): Promise<MailboxStatus>;
  /** Throws `nonexistent`; the mailbox stays open until `close`. */
  open(name: string): Promise<Mailbox>;
  /** The MAILBOXID of the new one. Throws `alreadyexists` or `cannot`. `role` asks for a special use (RFC 6154 §3). */
  create(name: string, role?: Role): Promise<string>;
  /** Throws `nonexistent` or `cannot`. */
  delete(name: string): Promise<void>;
  /** Throws `nonexistent`, `alreadyexists` or `cannot`. Renaming INBOX moves its mail (RFC 9051 §6.3.6). */
  rename(from: string, to: string): Promise<void>;
  /** Never fails for a name that does not exist (RFC 9051 §6.3.7). */
  subscribe(name: string, subscribed: boolean): Promise<void>;
  /** All or none (RFC 3502); the bytes are durable when it resolves. Throws `trycreate`, `overquota`, `toobig`. */
  append(name: string, messages: readonly AppendMessage[]): Promise<AppendResult>;
  /** Quota roots (RFC 9208) of a mailbox, or all of the user's. Throws `nonexistent`. */
  quota(name: string | null): Promise<readonly QuotaRoot[]>;
  /** What the user may do with a mailbox, as RFC 4314 letters. Throws `nonexistent`. */
  rights(name: string): Promise<string>;
  /** The annotations (RFC 5464) of a mailbox, of the server for the empty name; by entry in lower case. */
  annotations(name: string): Promise<ReadonlyMap<string, Buffer>>;
  /** Sets (null: removes) all or none of them. Throws `nonexistent`, `limit` (too many), `toobig`. */
  annotate(name: string, changes: ReadonlyMap<string, Buffer | null>): Promise<void>;
  /** Calls `listener` after changes until the returned function is called; also for those this session makes. */
  onChange(listener: (change: UserChange) => void): () => void;
  close(): void;
}

/** What may have changed: a hint to look, since somebody else may have undone it. */
export interface UserChange {
  /** Mailboxes with other messages or flags than before. */
  readonly mailboxes: readonly string[];
  /** Whether mailboxes came, went or were renamed, or subscriptions changed. */
  readonly names: boolean;
  /** Annotations that were set or removed; the empty name is the server. */
  readonly annotations?: readonly { readonly mailbox: string; readonly entries: readonly string[] }[];
}

export interface QuotaRoot {
  readonly name: string;
  readonly resources: readonly {
    /** STORAGE (in units of 1,024 octets), MESSAGE, … (RFC 9208 §5). */
    readonly name: string;
    readonly used: number;
    readonly limit: number;
  }[];
}

export interface MailboxInfo {
  readonly name: string;
  readonly role: Role | null;
  /** False for a name that only has mailboxes below it. */
  readonly selectable: boolean;
  readonly subscribed: boolean;
  /** True for a name that only a subscription remembers (RFC 5258 \NonExistent); LIST shows it to SUBSCRIBED alone. */
  readonly nonexistent?: boolean;
  /** Absent for a name that is no mailbox. */
  readonly mailboxId?: string;
}

export interface MailboxStatus {
  /** RFC 8474 MAILBOXID: kept over RENAME. */
  readonly mailboxId: string;
  readonly messages: number;
  readonly uidNext: number;
  readonly uidValidity: number;
  readonly unseen: number;
  readonly recent: number;
  readonly deleted: number;
  /** Octets of those with \Deleted (RFC 9208 §5.1). */
  readonly deletedSize: number;
  /** Octets of all messages together (RFC 8438). */
  readonly size: number;
  readonly highestModSeq: number;
}

export interface AppendMessage {
  readonly bytes: Buffer;
  readonly flags: readonly string[];
  /** Seconds since the Unix epoch; now when absent. */
  readonly internalDate?: number;
}

export interface AppendResult {
  readonly uidValidity: number;
  /** In the order of the messages, ascending (RFC 4315). */
  readonly uids: readonly number[];
}

/** `sourceUids[i]` became `targetUids[i]` (RFC 4315 COPYUID); UIDs that were gone already are left out. */
export interface CopyResult {
  readonly uidValidity: number;
  readonly sourceUids: readonly number[];
  readonly targetUids: readonly number[];
}

export type StoreMode = 'add' | 'remove' | 'replace';

export interface StoreResult {
  /** UIDs left alone because their MODSEQ is above UNCHANGEDSINCE (RFC 7162 §3.1.3), ascending. */
  readonly modified: readonly number[];
  /** The MODSEQ that the changed entries carry now. */
  readonly modSeq: number;
}

/** Which stored metadata a FETCH or SEARCH wants; everything else is in the listing. */
export interface MetadataWants {
  readonly envelope?: boolean;
  readonly structure?: boolean;
  readonly header?: boolean;
  /** EMAILID and THREADID. */
  readonly ids?: boolean;
  readonly saved?: boolean;
  /** With `lazy`, only what is known without the network (RFC 8970 §3.2). */
  readonly preview?: 'lazy' | 'full';
}

/** Parts as asked for, in wire form; an absent one was not asked for. */
export interface Metadata {
  readonly uid: number;
  /** `("date" "subject" …)` with its parentheses, ready to send (RFC 9051 §7.5.2); may hold literals. */
  readonly envelope?: Buffer;
  /** The same for BODYSTRUCTURE. */
  readonly structure?: Buffer;
  /** The message header up to and including the blank line, CRLF line ends. */
  readonly header?: Buffer;
  /** RFC 8474: `threadId` null while it is not known. */
  readonly emailId?: string;
  readonly threadId?: string | null;
  /** RFC 8514: seconds since the Unix epoch; null when not known. */
  readonly saved?: number | null;
  /** RFC 8970; null when it cannot be had now. */
  readonly preview?: string | null;
}

/** What is not in the listing and not in the mail, and yet is searched for; days and dates in seconds since the epoch. */
export type MailboxQuery =
  | { readonly emailId: string }
  | { readonly threadId: string }
  /** Saved at or after `from` and before `to`; a message without a save date counts as saved at INTERNALDATE. */
  | { readonly savedFrom: number; readonly savedTo: number };

/** The immutable bytes of one message. */
export interface MessageBody {
  readonly size: number;
  /** The octets from `start` (inclusive) to `end` (exclusive), both within 0…size. */
  read(start: number, end: number): Promise<Buffer>;
}

/** A selected mailbox, shared by nobody; `listing` is shared by all sessions of the user and live. */
export interface Mailbox {
  readonly name: string;
  readonly mailboxId: string;
  readonly uidValidity: number;
  /**
   * The present state. It changes only between turns of the event loop, and after each change every `onChange`
   * listener is called.
   */
  readonly listing: Listing;
  /** Calls `listener` after each change of `listing` until the returned function is called. */
  onChange(listener: () => void): () => void;
  /**
   * The first UID that is \Recent for this session (RFC 3501 §2.3.2). With `claim`, later sessions start behind the
   * last one present.
   */
  recentFrom(claim: boolean): Promise<number>;
  /**
   * UIDs that were removed under a MODSEQ above `modSeq`, ascending (RFC 7162 §3.2.10.1): every one of them, across
   * restarts too, and those that `listing` does not show as gone yet.
   */
  vanishedSince(modSeq: number): Promise<readonly number[]>;
  /** In pages, in UID order; UIDs that are gone are left out. `uids` ascend. */
  metadata(uids: readonly number[], wants: MetadataWants): AsyncIterable<readonly Metadata[]>;
  /** UIDs of the messages that fit. */
  find(query: MailboxQuery): Promise<ReadonlySet<number>>;
  /** Throws `nonexistent` when expunged, `unavailable` when the bytes are out of reach now. */
  body(uid: number): Promise<MessageBody>;
  /**
   * Up to `count` octets from `start` of BODY[`section`], shorter where it ends, where that spares the rest of a large
   * mail; null when `body` is the better way.
   */
  part?(uid: number, section: string, start: number, count: number): Promise<Buffer | null>;
  /**
   * Durable when it resolves, and `listing` shows it. Account keywords in `flags` are ignored.
   * \Seen set by a FETCH comes through here as well.
   */
  store(
    uids: readonly number[],
    mode: StoreMode,
    flags: readonly string[],
    unchangedSince?: number,
  ): Promise<StoreResult>;
  /** Throws `trycreate` when there is no such target; all or none. */
  copy(uids: readonly number[], target: string): Promise<CopyResult>;
  /** As copy; the sources are gone from `listing` when it resolves. */
  move(uids: readonly number[], target: string): Promise<CopyResult>;
  /**
   * Puts a message into `target` and removes the one with this UID here, both or neither (RFC 8508). Throws as
   * `append`, and `nonexistent` when the one to be replaced is gone.
   */
  replace(uid: number, target: string, message: AppendMessage): Promise<AppendResult>;
  /** Removes those of `uids` that carry \Deleted; of all entries when absent. */
  expunge(uids?: readonly number[]): Promise<void>;
  close(): void;
}
