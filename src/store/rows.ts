import type { FlagText } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import type { ReadTx } from './store.js';

/** Rows as the database gives them; the migrations explain the columns. */
export interface FolderRow {
  readonly id: number;
  readonly account_id: number;
  readonly path: string;
  readonly delimiter: string | null;
  readonly role: Role | null;
  readonly virtual: 0 | 1;
  readonly selectable: 0 | 1;
  readonly state: 'live' | 'creating' | 'deleting';
  readonly uid_validity: number | null;
  readonly uid_next: number | null;
  readonly mod_seq: string | null;
  readonly exists_count: number | null;
  readonly pulled: number;
  readonly flags_offered: FlagText | null;
  readonly held: string | null;
}

export interface MailboxRow {
  readonly id: number;
  readonly name: string;
  readonly role: Role | null;
  readonly folder_id: number | null;
  readonly uid_validity: number;
  readonly uid_next: number;
  readonly mod_seq: number;
  readonly recent_uid: number;
}

export interface EntryRow {
  readonly id: number;
  readonly mailbox_id: number;
  readonly uid: number;
  readonly message_id: number;
  readonly merge_key: string | null;
  readonly flags: FlagText;
  readonly accounts: FlagText;
  readonly mod_seq: number;
  readonly size: number;
  readonly internal_date: number;
}

export type CopyState = 'live' | 'pending' | 'doomed' | 'vanished';

export interface CopyRow {
  readonly id: number;
  readonly folder_id: number;
  readonly uid: number | null;
  readonly message_id: number;
  readonly entry_id: number | null;
  readonly mirror_uid: number | null;
  readonly state: CopyState;
  readonly flags: FlagText;
  readonly base: FlagText;
  readonly refused: FlagText;
  readonly mod_seq: number;
  readonly arrived: number;
  readonly size: number;
  readonly internal_date: number;
}

/** What is known of one immutable content, before it has an id. */
export interface NewMessage {
  readonly matchKey: string;
  /** Null: never merged with another. */
  readonly mergeKey: string | null;
  readonly messageId: string | null;
  readonly size: number;
  readonly envelope: Buffer;
  readonly structure: Buffer;
  readonly header: Buffer;
  readonly pinned: string | null;
}

/** Ids as one JSON parameter, for `IN (SELECT value FROM json_each(?))`. */
export function jsonIds(ids: Iterable<number>): string {
  return JSON.stringify([...ids]);
}

/**
 * The id for the first of the rows to be inserted into a table; the others follow it. Rows of one page get theirs this
 * way, so that one statement inserts them and none has to tell them. Ids are never used again (AUTOINCREMENT).
 */
export async function nextId(tx: ReadTx, table: 'message' | 'copy' | 'entry'): Promise<number> {
  const row = await tx.get<{ seq: number }>('SELECT seq FROM sqlite_sequence WHERE name = ?', [table]);
  return (row?.seq ?? 0) + 1;
}

/**
 * Slices for multi-row VALUES of at most `max` rows. Only three sizes occur, because each makes a statement of its own
 * that stays prepared.
 */
export function* valueBatches<T>(items: readonly T[], max: number): Generator<T[]> {
  let start = 0;
  for (const size of [max, 10, 1]) {
    for (; start + size <= items.length; start += size) yield items.slice(start, start + size);
  }
}
