import { ROLE_NAMES, ROLES, type Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import type { MailboxRow } from './rows.js';
import type { ReadTx, Store, WriteTx } from './store.js';

/** Makes sure that the merged mailboxes exist; new ones are subscribed. */
export async function openMergedMailboxes(store: Store): Promise<void> {
  await store.write(async (tx) => {
    for (const role of ROLES) {
      if (await tx.get('SELECT id FROM mailbox WHERE role = ?', [role])) continue;
      await insertMailbox(tx, ROLE_NAMES[role], { role });
      await setSubscribed(tx, ROLE_NAMES[role], true);
    }
  });
}

/** A new mailbox with a UIDVALIDITY of its own; the id. */
export async function insertMailbox(
  tx: WriteTx,
  name: string,
  owner: { role: Role } | { folderId: number },
): Promise<number> {
  tx.touchNames();
  const row = await tx.get<{ id: number }>(
    `INSERT INTO mailbox (name, role, folder_id, uid_validity, uid_next, mod_seq, recent_uid)
     VALUES (?, ?, ?, ?, 1, ?, 1) RETURNING id`,
    [
      name,
      'role' in owner ? owner.role : null,
      'role' in owner ? null : owner.folderId,
      tx.nextUidValidity(),
      tx.modSeq,
    ],
  );
  return row!.id;
}

export async function mailboxes(tx: ReadTx): Promise<MailboxRow[]> {
  return tx.all<MailboxRow>('SELECT * FROM mailbox');
}

/** Throws `nonexistent`. */
export async function mailboxNamed(tx: ReadTx, name: string): Promise<MailboxRow> {
  const row = await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE name = ?', [name]);
  if (!row) throw new MergeboxError('nonexistent', `no mailbox "${name}"`);
  return row;
}

/** As `mailboxNamed`, but null for a name that is listed because mailboxes are below it. */
export async function mailboxOrParent(tx: ReadTx, name: string): Promise<MailboxRow | null> {
  const below = await tx.get('SELECT 1 FROM mailbox WHERE substr(name, 1, ?) = ? LIMIT 1', [
    [...name].length + 1,
    `${name}/`,
  ]);
  const row = await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE name = ?', [name]);
  return row ?? (below === undefined ? mailboxNamed(tx, name) : null);
}

export async function mailboxById(tx: ReadTx, id: number): Promise<MailboxRow> {
  const row = await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE id = ?', [id]);
  if (!row) throw new MergeboxError('nonexistent', 'the mailbox was deleted');
  return row;
}

export async function mergedMailbox(tx: ReadTx, role: Role): Promise<MailboxRow> {
  return (await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE role = ?', [role]))!;
}

/** Mailbox ids by folder, for mirrors. */
export async function mirrorsOf(tx: ReadTx, folderIds: Iterable<number>): Promise<Map<number, MailboxRow>> {
  const rows = await tx.all<MailboxRow>('SELECT * FROM mailbox WHERE folder_id IN (SELECT value FROM json_each(?))', [
    JSON.stringify([...folderIds]),
  ]);
  return new Map(rows.map((row) => [row.folder_id!, row]));
}

/** Reserves `count` UIDs and returns the first: ascending, never handed out again (RFC 9051 §2.3.1.1). */
export async function allocateUids(tx: WriteTx, mailboxId: number, count: number): Promise<number> {
  const row = await tx.get<{ uid_next: number }>(
    'UPDATE mailbox SET uid_next = uid_next + ? WHERE id = ? RETURNING uid_next',
    [count, mailboxId],
  );
  const next = row!.uid_next;
  if (next > 0xffff_ffff) throw new MergeboxError('limit', 'the mailbox has used up its UIDs');
  return next - count;
}

/** Records removals in the change feed (RFC 7162 §3.2.10.2 VANISHED). */
export async function recordExpunged(tx: WriteTx, mailboxId: number, uids: readonly number[]): Promise<void> {
  if (uids.length === 0) return;
  await tx.run('INSERT INTO expunged (mailbox_id, mod_seq, uid) SELECT ?, ?, value FROM json_each(?)', [
    mailboxId,
    tx.modSeq,
    JSON.stringify(uids),
  ]);
  tx.touch(mailboxId);
}

export async function setSubscribed(tx: WriteTx, name: string, subscribed: boolean): Promise<void> {
  tx.touchNames();
  if (subscribed) await tx.run('INSERT INTO subscription (name) VALUES (?) ON CONFLICT (name) DO NOTHING', [name]);
  else await tx.run('DELETE FROM subscription WHERE name = ?', [name]);
}

export async function subscriptions(tx: ReadTx): Promise<Set<string>> {
  const rows = await tx.all<{ name: string }>('SELECT name FROM subscription');
  return new Set(rows.map((row) => row.name));
}
