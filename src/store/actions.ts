import { agreedFlags } from '../mail/reconcile.js';
import { chunks } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { type CopyRow, jsonIds } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';

export type ActionKind =
  | 'flags'
  | 'copy'
  | 'move'
  | 'append'
  | 'pin'
  | 'expunge'
  | 'retire'
  | 'create-folder'
  | 'delete-folder'
  | 'rename-folder';

/** `detail` of an upload into Sent that is made even if the server has filed the mail itself. */
export const APPEND_ALWAYS = 'always';

/** `detail` of `delete-folder`, as JSON; rows of an earlier version have the path alone. */
export interface FolderDeletion {
  readonly folder: string;
  readonly uidValidity: number | null;
  /** Mail from this UID on came after the client's DELETE; null when it is not known. */
  readonly uidNext: number | null;
}

export function folderDeletion(detail: string): FolderDeletion {
  if (!detail.startsWith('{"folder":')) return { folder: detail, uidValidity: null, uidNext: null };
  return JSON.parse(detail) as FolderDeletion;
}

/** One upstream operation owed; see the migration for the columns. */
export interface ActionRow {
  readonly id: number;
  readonly account_id: number;
  readonly kind: ActionKind;
  readonly copy_id: number | null;
  readonly target_id: number | null;
  readonly folder_id: number | null;
  readonly detail: string | null;
  readonly after_id: number | null;
  readonly reason: string;
  readonly created: number;
  readonly state: 'pending' | 'parked';
  readonly attempts: number;
  readonly next_try: number;
  readonly last_error: string | null;
}

export interface NewAction {
  readonly accountId: number;
  readonly kind: ActionKind;
  readonly copyId?: number;
  readonly targetId?: number;
  readonly folderId?: number;
  readonly detail?: string;
  readonly afterId?: number;
}

/** Rows that one statement inserts. */
const PAGE = 1_000;

/** Owes upstream operations in this order; their ids. `reason` says who decided them. */
export async function owe(tx: WriteTx, actions: readonly NewAction[], reason: string): Promise<number[]> {
  const now = Math.floor(Date.now() / 1000);
  const ids: number[] = [];
  for (const page of chunks(actions, PAGE)) {
    const values = page.map((each) => [
      ...[each.accountId, each.kind, each.copyId, each.targetId],
      ...[each.folderId, each.detail, each.afterId],
    ]);
    // RETURNING gives them as they are inserted, in the order of the array.
    const rows = await tx.all<{ id: number }>(
      `INSERT INTO action (account_id, kind, copy_id, target_id, folder_id, detail, after_id, reason, created, state)
       SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, ?2, ?3, 'pending'
       FROM json_each(?1) RETURNING id`,
      [JSON.stringify(values), reason, now],
    );
    for (const { id } of rows.sort((a, b) => a.id - b.id)) ids.push(id);
    for (const each of page) tx.owe(each.accountId);
  }
  return ids;
}

/**
 * Owes the flags of those copies whose server has others than we show; one action a copy, whatever changes meanwhile,
 * because the executor computes the difference when it runs. Copies still on their way get theirs when they arrive;
 * what a server refused before is not sent again.
 */
export async function oweFlags(
  tx: WriteTx,
  book: AccountBook,
  copyIds: readonly number[],
  reason: string,
): Promise<void> {
  if (copyIds.length === 0) return;
  const rows = await tx.all<Pick<CopyRow, 'id' | 'flags' | 'base' | 'refused'> & { account_id: number }>(
    `SELECT copy.id, copy.flags, copy.base, copy.refused, folder.account_id FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE copy.id IN (SELECT value FROM json_each(?)) AND copy.flags <> copy.base AND copy.state = 'live'
     AND NOT EXISTS (SELECT 1 FROM action WHERE action.copy_id = copy.id AND action.kind = 'flags' AND action.state = 'pending')
     ORDER BY copy.id`,
    [jsonIds(copyIds)],
  );
  const due = rows.filter(
    ({ account_id, base, flags, refused }) =>
      book.pushes(account_id) && (refused === '' || agreedFlags(base, flags, refused) !== base),
  );
  await owe(
    tx,
    due.map((row) => ({ accountId: row.account_id, kind: 'flags' as const, copyId: row.id })),
    reason,
  );
}

/**
 * A copy that is to be removed while an upload of the same content is owed (a COPY to another account, then the
 * source's EXPUNGE): its server may be the only one to have the bytes.
 */
const BYTES_NEEDED = `(action.kind = 'expunge' AND EXISTS (
  SELECT 1 FROM copy AS gone JOIN copy AS made ON made.message_id = gone.message_id AND made.id <> gone.id
  JOIN action AS upload ON upload.target_id = made.id AND upload.kind = 'append' WHERE gone.id = action.copy_id))`;

/** Pending actions of an account in order, at most `limit`; those that wait for another action are left out. */
export async function pendingActions(tx: ReadTx, accountId: number, limit: number): Promise<ActionRow[]> {
  return tx.all<ActionRow>(
    `SELECT * FROM action WHERE account_id = ? AND state = 'pending'
     AND (after_id IS NULL OR NOT EXISTS (SELECT 1 FROM action AS earlier WHERE earlier.id = action.after_id))
     AND NOT ${BYTES_NEEDED} ORDER BY id LIMIT ?`,
    [accountId, limit],
  );
}

/** How many actions wait, and how many were refused for good, by account row id. */
export async function actionCounts(tx: ReadTx): Promise<Map<number, { pending: number; parked: number }>> {
  const rows = await tx.all<{ account_id: number; state: string; n: number }>(
    'SELECT account_id, state, COUNT(*) AS n FROM action GROUP BY account_id, state',
  );
  const counts = new Map<number, { pending: number; parked: number }>();
  for (const row of rows) {
    const count = counts.get(row.account_id) ?? { pending: 0, parked: 0 };
    counts.set(row.account_id, row.state === 'parked' ? { ...count, parked: row.n } : { ...count, pending: row.n });
  }
  return counts;
}

/** The newest error among the actions of each account, by account row id. */
export async function actionErrors(tx: ReadTx): Promise<Map<number, string>> {
  const rows = await tx.all<{ account_id: number; last_error: string }>(
    'SELECT account_id, last_error FROM action WHERE last_error IS NOT NULL ORDER BY id',
  );
  return new Map(rows.map((row) => [row.account_id, row.last_error]));
}

/** Removes actions that were executed and acknowledged; accounts with actions that waited for them hear of it. */
export async function removeActions(tx: WriteTx, ids: readonly number[]): Promise<void> {
  const json = jsonIds(ids);
  await tx.run('DELETE FROM action WHERE id IN (SELECT value FROM json_each(?))', [json]);
  const next = await tx.all<{ account_id: number }>(
    `SELECT DISTINCT account_id FROM action WHERE state = 'pending'
     AND (kind = 'expunge' OR after_id IN (SELECT value FROM json_each(?)))`,
    [json],
  );
  for (const row of next) tx.owe(row.account_id);
}

/** Counts a try before it is made, so that a crash in the middle is known as one. */
export async function recordAttempt(tx: WriteTx, ids: readonly number[]): Promise<void> {
  await tx.run('UPDATE action SET attempts = attempts + 1 WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(ids),
  ]);
}

/** Records a failed try; the next is made at `nextTry` (Unix seconds). */
export async function recordFailure(
  tx: WriteTx,
  ids: readonly number[],
  failure: { error: string; nextTry: number },
): Promise<void> {
  await tx.run('UPDATE action SET last_error = ?, next_try = ? WHERE id IN (SELECT value FROM json_each(?))', [
    failure.error,
    failure.nextTry,
    jsonIds(ids),
  ]);
}

/** Writes down what was destroyed upstream, in the transaction that acknowledges it. */
export async function recordDestroyed(
  tx: WriteTx,
  rows: readonly { account: string; folder: string; uidValidity: number; uid: number; kind: string; reason: string }[],
): Promise<void> {
  const now = Math.floor(Date.now() / 1000);
  for (const page of chunks(rows, PAGE)) {
    await tx.run(
      `INSERT INTO ledger (at, account, folder, uid_validity, uid, kind, reason)
       SELECT ?2, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(?1)`,
      [
        JSON.stringify(
          page.map((each) => [each.account, each.folder, each.uidValidity, each.uid, each.kind, each.reason]),
        ),
        now,
      ],
    );
  }
}
