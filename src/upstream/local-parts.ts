import type { Role } from '../mail/ids.js';

/** Folders that live here only, as the store keeps them; it is all that a local account needs for a server. */
export interface Shelf {
  folders(): Promise<readonly ShelfFolder[]>;
  /** UIDs of a folder's mail, ascending; none for a folder that is not there. */
  uids(path: string): Promise<number[]>;
  /** Reserves `count` UIDs for a folder and resolves to the first: ascending, never handed out again. */
  take(path: string, count: number): Promise<number>;
  /** SHA-256 (hex) of the bytes behind UIDs; those that are gone are left out. */
  contents(path: string, uids: readonly number[]): Promise<Map<number, string>>;
  /** Those of these contents that mail in a folder other than INBOX and Trash has, or mail on its way there. */
  filed(contents: readonly string[]): Promise<ReadonlySet<string>>;
  /** A folder is there from now on, with the UIDVALIDITY of all local ones. */
  created(path: string): Promise<void>;
}

export interface ShelfFolder {
  readonly path: string;
  readonly role: Role | null;
  readonly uidNext: number;
  readonly exists: number;
}

/** Immutable bytes, whole or in parts. */
export interface KeptMail {
  readonly size: number;
  read(start: number, end: number): Promise<Buffer>;
}

/** Takes one mail in pieces; `commit` resolves to its SHA-256 (hex). */
export interface KeptWriter {
  write(bytes: Buffer): Promise<void>;
  commit(): Promise<string>;
  abort(): Promise<void>;
}

/** Keeps what is added from being swept, as nothing refers to it yet. */
export interface KeptLease {
  add(bytes: Buffer): Promise<string>;
  writer(): Promise<KeptWriter>;
  /** For what is here already, if it is. */
  keep(sha256: string): Promise<void>;
  /** Keeps a text beside the file: where the mail belongs, for the day when no database says so. */
  note(sha256: string, text: string): Promise<void>;
  /** After this, all that was added outlives a power cut. */
  settle(): Promise<void>;
}

/** The files of which Mergebox may have the only copy. */
export interface KeptFiles {
  /** Throws `unavailable` for a file that is missing or damaged. */
  get(sha256: string): Promise<KeptMail>;
  lease<T>(use: (lease: KeptLease) => Promise<T>): Promise<T>;
}
