import type { Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import type { Store } from './store.js';

interface LocalFolder {
  readonly path: string;
  readonly role: Role | null;
  readonly uidNext: number;
  readonly exists: number;
}

/**
 * The folders of an account that live here. A copy in one of them is the mail itself: what a server would answer about
 * it is read from its row.
 */
export class LocalShelf {
  readonly #store: Store;
  readonly #account: number;

  constructor(store: Store, accountId: number) {
    this.#store = store;
    this.#account = accountId;
  }

  folders(): Promise<LocalFolder[]> {
    return this.#store.read((tx) =>
      tx.all<LocalFolder>(
        `SELECT path, role, local_uid AS "uidNext",
           (SELECT COUNT(*) FROM copy WHERE copy.folder_id = folder.id AND copy.uid IS NOT NULL) AS "exists"
         FROM folder WHERE account_id = ? AND state = 'live' ORDER BY id`,
        [this.#account],
      ),
    );
  }

  async uids(path: string): Promise<number[]> {
    const row = await this.#store.read((tx) =>
      tx.get<{ uids: string }>(
        `SELECT json_group_array(uid) AS uids FROM (SELECT copy.uid FROM copy JOIN folder ON folder.id = copy.folder_id
         WHERE folder.account_id = ? AND folder.path = ? AND copy.uid IS NOT NULL ORDER BY copy.uid)`,
        [this.#account, path],
      ),
    );
    return JSON.parse(row!.uids) as number[];
  }

  /** Reserves UIDs; the first of them. Throws `nonexistent`. */
  async take(path: string, count: number): Promise<number> {
    const taken = await this.#store.write((tx) =>
      tx.get<{ next: number }>(
        'UPDATE folder SET local_uid = local_uid + ? WHERE account_id = ? AND path = ? RETURNING local_uid AS next',
        [count, this.#account, path],
      ),
    );
    if (!taken) throw new MergeboxError('nonexistent', `no local folder "${path}"`);
    return taken.next - count;
  }

  async contents(path: string, uids: readonly number[]): Promise<Map<number, string>> {
    const rows = await this.#store.read((tx) =>
      tx.all<{ uid: number; pinned: string }>(
        `SELECT copy.uid, message.pinned FROM copy JOIN folder ON folder.id = copy.folder_id
         JOIN message ON message.id = copy.message_id
         WHERE folder.account_id = ? AND folder.path = ? AND message.pinned IS NOT NULL
         AND copy.uid IN (SELECT value FROM json_each(?))`,
        [this.#account, path, JSON.stringify(uids)],
      ),
    );
    return new Map(rows.map((row) => [row.uid, row.pinned]));
  }

  async filed(contents: readonly string[]): Promise<Set<string>> {
    const rows = await this.#store.read((tx) =>
      tx.all<{ pinned: string }>(
        `SELECT DISTINCT message.pinned FROM message JOIN copy ON copy.message_id = message.id
         JOIN folder ON folder.id = copy.folder_id
         WHERE message.pinned IN (SELECT value FROM json_each(?)) AND folder.account_id = ? AND copy.state <> 'doomed'
         AND (folder.role IS NULL OR folder.role NOT IN ('inbox', 'trash'))`,
        [JSON.stringify(contents), this.#account],
      ),
    );
    return new Set(rows.map((row) => row.pinned));
  }

  /** The folder was never anywhere else: it starts with what every look at it will find. */
  async created(path: string): Promise<void> {
    await this.#store.write((tx) =>
      tx.run(
        `UPDATE folder SET uid_validity = 1, uid_next = local_uid, mod_seq = CAST(local_uid AS TEXT), exists_count = 0, flags_offered = ''
         WHERE account_id = ? AND path = ? AND uid_validity IS NULL`,
        [this.#account, path],
      ),
    );
  }
}
