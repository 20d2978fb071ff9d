import type { FlagText } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import type { MessageKeys } from '../mail/identity.js';

/**
 * One account's server as the sync half sees it. Connections are made when needed and again after a loss; every method
 * rejects with a `MergeboxError`: `connection`, `timeout`, `authentication`, `refused` (with the server's text),
 * `protocol`, `uidvalidity`, `nonexistent` or `aborted`. Nothing here retries: that is the caller's.
 */
export interface Upstream {
  /** Logs in and learns what the server offers; resolves at once when already connected. */
  connect(): Promise<UpstreamFeatures>;
  /** All folders (RFC 9051 LIST), with decoded names. */
  listFolders(): Promise<readonly UpstreamFolder[]>;
  /** Cheap look at many folders (STATUS, pipelined); folders that cannot be looked at are left out. */
  status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>>;
  /**
   * Opens a folder read-only for the time of `use`, alone on a reader connection. With `since` and a server that has
   * QRESYNC, the answer carries what vanished and changed. `use` may call anything but `read`, which would wait for it.
   */
  read<T>(path: string, since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T>;
  /**
   * The bytes of one message, in chunks as they come. Throws `nonexistent`, `uidvalidity`. One in the background gives way
   * to those that somebody waits for.
   */
  fetchBody(ref: FolderRef, uid: number, sink: BodySink, priority?: 'background'): Promise<void>;

  /**
   * A range of a section of one message, for a mail of which the rest is not wanted; null when the server cannot give just
   * that. Absent where a mail can only be had whole. Throws `uidvalidity`.
   */
  fetchPart?(ref: FolderRef, uid: number, wanted: PartWanted): Promise<Buffer | null>;

  /** Sets and clears flags; `add` may hold \Deleted only when `authorised` is given. UIDs that are gone are no error. */
  storeFlags(ref: FolderRef, uids: readonly number[], change: FlagChange, authorised?: Authorisation): Promise<void>;
  /** UID COPY. The map holds source → target UIDs when the server told (UIDPLUS), else null. */
  copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null>;
  /** UID MOVE, or UID COPY followed by the removal of exactly these UIDs. */
  move(ref: FolderRef, uids: readonly number[], target: string, authorised: Authorisation): Promise<CopyUids | null>;
  /**
   * Removes exactly these UIDs: UID STORE +FLAGS \Deleted, then UID EXPUNGE. Without UIDPLUS a bare EXPUNGE is sent
   * only when nothing else in the folder carries \Deleted; others are unmarked for the moment and marked again.
   */
  expunge(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void>;
  /** The new UID when the server told (APPENDUID), else null. */
  append(path: string, message: UpstreamAppend): Promise<{ uidValidity: number; uid: number } | null>;

  /** UIDs whose message the server is to give up while it stays here; POP3 with an age limit. */
  retirable?(): Promise<readonly number[]>;
  /** Removes these messages at the server; the folder shows them all the same. */
  retire?(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void>;

  createFolder(path: string, role: Role | null): Promise<void>;
  /** Deletes the folder with all that is in it; authorised by a client's DELETE. */
  deleteFolder(path: string, authorised: Authorisation): Promise<void>;
  renameFolder(from: string, to: string): Promise<void>;
  subscribe(path: string, subscribed: boolean): Promise<void>;
  /** The limits of the account (RFC 9208); absent where there is nothing like it, empty when the server has none. */
  quota?(): Promise<readonly UpstreamQuota[]>;

  /**
   * Keeps IDLE on a folder whenever the connection has nothing else to do, and calls back when something happened
   * there. A lost connection calls `onLost` once and ends the watch. The returned function ends it too.
   */
  watch(path: string, onEvent: () => void, onLost: (error: Error) => void): Promise<() => void>;
  /** Drops all connections; running calls reject with `aborted`. Afterwards `connect` may be called again. */
  disconnect(): Promise<void>;
}

export interface UpstreamQuota {
  /** Often empty. */
  readonly root: string;
  /** Upper case: STORAGE (units of 1,024 octets), MESSAGE. */
  readonly resource: string;
  readonly used: number;
  readonly limit: number;
}

export interface UpstreamFeatures {
  readonly condstore: boolean;
  readonly qresync: boolean;
  readonly uidplus: boolean;
  readonly move: boolean;
  readonly idle: boolean;
  readonly specialUse: boolean;
  /** As sent, upper case, for status and check. */
  readonly capabilities: readonly string[];
  /** What must stand before a new top-level folder's name (RFC 2342 personal namespace), e.g. `INBOX.`; often empty. */
  readonly prefix: string;
  readonly delimiter: string | null;
}

export interface UpstreamFolder {
  /** Decoded from modified UTF-7; levels separated by `delimiter`. */
  readonly path: string;
  readonly delimiter: string | null;
  /** By SPECIAL-USE, else by well-known names; INBOX is `inbox`. At most one folder of an account has each role. */
  readonly role: Role | null;
  /** Gmail-like folder that holds all mail again (RFC 6154 \All, \Flagged, \Important). */
  readonly virtual: boolean;
  readonly selectable: boolean;
  readonly subscribed: boolean;
}

/** `count` octets from `start` of BODY[`section`] of the message that was listed with this RFC822.SIZE and header. */
export interface PartWanted {
  readonly section: string;
  readonly start: number;
  readonly count: number;
  readonly size: number;
  readonly header: Buffer;
}

export interface FolderRef {
  readonly path: string;
  readonly uidValidity: number;
}

/** Where an earlier pull of a folder ended. `modSeq` is the server's own number as text; null without CONDSTORE. */
export interface FolderCursor extends FolderRef {
  readonly modSeq: string | null;
}

export interface FolderState {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly exists: number;
  /** Null when the server or folder has no CONDSTORE. */
  readonly highestModSeq: string | null;
}

export interface UidFlags {
  readonly uid: number;
  readonly flags: FlagText;
}

/** The metadata of one upstream message; slices as the server sent them, parentheses included. */
export interface UpstreamMessage extends UidFlags {
  /** Seconds since the Unix epoch; null when the server had none. */
  readonly internalDate: number | null;
  readonly size: number;
  readonly envelope: Buffer | null;
  readonly structure: Buffer | null;
  /** The whole header with its blank line. */
  readonly header: Buffer;
  /** SHA-256 (hex) of the whole message when it was read and is kept in our own files already. */
  readonly content?: string;
  /** Those of `header` and `structure`, where they were needed before. */
  readonly keys?: MessageKeys;
}

/** A folder opened with EXAMINE: nothing here can change it. */
export interface FolderReader {
  readonly state: FolderState;
  /** PERMANENTFLAGS as list; null when unknown (EXAMINE often tells none). */
  readonly flagsOffered: readonly string[] | null;
  /** With QRESYNC and a `since` of the same UIDVALIDITY: what vanished (UID ranges) and changed; else null. */
  readonly resync: {
    readonly vanished: readonly (readonly [number, number])[];
    readonly changed: readonly UidFlags[];
  } | null;
  /**
   * All UIDs, ascending; with `since` (Unix seconds) at least those of mail with that INTERNALDATE or a later one, and as
   * few others as the server's notion of days allows.
   */
  uids(since?: number): Promise<Uint32Array>;
  /** UID and FLAGS of all messages, or of those changed since (CONDSTORE), in server order. */
  flags(changedSince: string | null): Promise<readonly UidFlags[]>;
  /** Metadata of `uids` in pages, pipelined; pages come in the order of `uids`, messages that are gone are left out. */
  messages(uids: readonly number[], onPage: (page: readonly UpstreamMessage[]) => Promise<void>): Promise<void>;
}

/** Takes a body: `start` first with its size in octets, then chunks; a returned promise holds the reader back. */
export interface BodySink {
  start(size: number): void;
  chunk(bytes: Buffer): void | Promise<void>;
}

export interface FlagChange {
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

export type CopyUids = { readonly uidValidity: number; readonly uids: ReadonlyMap<number, number> };

export interface UpstreamAppend {
  readonly bytes: Buffer;
  readonly flags: FlagText;
  /** Seconds since the Unix epoch. */
  readonly internalDate: number;
}

/**
 * Proof that a durable record allows the destruction: made only by the executor of the action list from rows it has
 * read. Every upstream STORE \Deleted, EXPUNGE, MOVE and DELETE asks for one, so a search for its uses is the audit.
 */
export interface Authorisation {
  /** Ids of the action rows. */
  readonly actions: readonly number[];
  /** Who decided: a client's command and session, or a reconciliation. */
  readonly reason: string;
  /**
   * Awaited before these other messages of the folder lose their \Deleted for a moment, so that a crash in that moment
   * does not lose it for good.
   */
  readonly setAside?: (folder: FolderRef, uids: readonly number[]) => Promise<void>;
}
