import { valueBatches } from './rows.js';
import type { Store } from './store.js';

/** A row of `pop3_mail` without its account; see the migration for the columns. */
export interface Pop3Mail {
  readonly uid: number;
  readonly uidl: string | null;
  readonly octets: number | null;
  readonly content: string | null;
  readonly headerKey: string | null;
  readonly matchKey: string | null;
  readonly seen: number;
  readonly missing: number | null;
  readonly state: 'here' | 'filed' | 'left' | 'retired';
}

/** Rows a page: parsed in one go, so small enough not to hold up the event loop. */
const PAGE = 5_000;

/** The message id store of one POP3 account. */
export class Pop3Book {
  readonly #store: Store;
  readonly #account: number;

  constructor(store: Store, accountId: number) {
    this.#store = store;
    this.#account = accountId;
  }

  /** All rows, by UID. */
  all(): Promise<Pop3Mail[]> {
    return this.#store.snapshot(async (tx) => {
      const rows: Pop3Mail[] = [];
      for (let length = PAGE; length === PAGE; ) {
        const page = await tx.get<{ rows: string }>(
          `SELECT json_group_array(json_object('uid', uid, 'uidl', uidl, 'octets', octets, 'content', content,
             'headerKey', header_key, 'matchKey', match_key, 'seen', seen, 'missing', missing, 'state', state)) AS rows
           FROM (SELECT * FROM pop3_mail WHERE account_id = ? AND uid > ? ORDER BY uid LIMIT ${PAGE})`,
          [this.#account, rows.at(-1)?.uid ?? 0],
        );
        const found = JSON.parse(page!.rows) as Pop3Mail[];
        for (const row of found) rows.push(row);
        length = found.length;
      }
      return rows;
    });
  }

  /** Removes the rows with these UIDs, then writes `rows` over what their UIDs had. */
  async save(rows: readonly Pop3Mail[], removed: readonly number[] = []): Promise<void> {
    if (rows.length === 0 && removed.length === 0) return;
    // A name that passes from one row to another must be free first.
    const freed = [...removed, ...rows.map(({ uid }) => uid)];
    await this.#store.write(async (tx) => {
      await tx.run('DELETE FROM pop3_mail WHERE account_id = ? AND uid IN (SELECT value FROM json_each(?))', [
        this.#account,
        JSON.stringify(freed),
      ]);
      for (const page of valueBatches(rows, 50)) {
        await tx.run(
          `INSERT INTO pop3_mail (account_id, uid, uidl, octets, content, header_key, match_key, seen, missing, state)
           VALUES ${page.map(() => '(?,?,?,?,?,?,?,?,?,?)').join(',')}`,
          page.flatMap(({ uid, uidl, octets, content, headerKey, matchKey, seen, missing, state }) => [
            ...[this.#account, uid, uidl, octets, content, headerKey, matchKey, seen, missing, state],
          ]),
        );
      }
    });
  }
}
