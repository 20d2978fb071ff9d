import { hasFlag, removeFlags } from '../mail/flags.js';
import { messageKeys } from '../mail/identity.js';
import { chunks } from '../util/group.js';
import { AccountBook } from './account-book.js';
import { owe, oweFlags } from './actions.js';
import { groupsOfEntries, refreshAccounts, setGroupFlags } from './groups.js';
import { sweepMessages } from './messages.js';
import { dropCopies, expungeEntries, settleEntries } from './remove.js';
import { type CopyRow, type EntryRow, type FolderRow, jsonIds } from './rows.js';
import type { Salvage } from './salvage.js';
import type { ReadTx, Store, WriteTx } from './store.js';

/** What a rebuilt database kept. */
export interface Mending {
  /** Mails of merged mailboxes that keep their UIDs. */
  readonly kept: number;
  /** Mails that are looked for at their servers again and get new UIDs. */
  readonly again: number;
  /** Mails that no server has yet; they are uploaded unless they are found there. */
  readonly uploads: number;
  /** Changes owed to servers that were given up, by kind. */
  readonly dropped: readonly { readonly kind: string; readonly n: number }[];
}

/** Entries that are looked at together. */
const PAGE = 5_000;

/** Tables without which no UID that was handed out can be told from one that was not. */
const OF_UIDS = ['meta', 'account', 'folder', 'mailbox'];

/** Whether clients may go on with the UIDs that they know: nothing that counts them is missing or contradicts itself. */
export async function uidsAreKept(store: Store, { tables }: Salvage): Promise<boolean> {
  if (OF_UIDS.some((table) => tables.find((each) => each.table === table)?.damage !== null)) return false;
  return store.snapshot(async (tx) => {
    const merged = await tx.get<{ n: number }>('SELECT COUNT(*) AS n FROM mailbox WHERE role IS NOT NULL');
    const wrong = await tx.get(
      `SELECT 1 FROM mailbox WHERE uid_next <= COALESCE(
         (SELECT MAX(uid) FROM entry WHERE entry.mailbox_id = mailbox.id), 0)
       OR uid_next <= COALESCE((SELECT MAX(mirror_uid) FROM copy WHERE copy.folder_id = mailbox.folder_id), 0)
       OR typeof(uid_validity) <> 'integer' OR typeof(uid_next) <> 'integer' OR typeof(mod_seq) <> 'integer'
       OR (role IS NULL AND folder_id NOT IN (SELECT id FROM folder))`,
    );
    const modSeq = await tx.get<{ value: string }>("SELECT value FROM meta WHERE key = 'modSeq'");
    const highest = await tx.get<{ high: number | null }>('SELECT MAX(mod_seq) AS high FROM mailbox');
    return merged!.n > 0 && wrong === undefined && Number(modSeq?.value) > (highest?.high ?? 0);
  });
}

/**
 * Makes what was salvaged whole: rows that refer to lost ones go (their mail is found again at its server), and of what
 * was owed to servers only that remains which can do no harm: flags but \Deleted, and uploads of mail that is nowhere
 * else, which are looked for first. `pinned` are the names of the files there are.
 */
export async function mend(store: Store, salvaged: Salvage, pinned: ReadonlySet<string>): Promise<Mending> {
  return store.write(async (tx) => {
    const book = await someBook(tx);
    const dropped = await tx.all<{ kind: string; n: number }>(
      "SELECT kind, COUNT(*) AS n FROM action WHERE kind NOT IN ('append', 'flags') GROUP BY kind ORDER BY kind",
    );
    await tx.run('DELETE FROM action');
    await forgetFiles(tx, pinned);
    const before = await countEntries(tx);
    await forgetBadContents(tx);
    await dropBroken(tx, book);
    await tx.run("UPDATE copy SET state = 'live' WHERE state = 'vanished'");
    await tx.run("UPDATE copy SET refused = ''");
    // Nothing is believed of where a look at a folder ended.
    await tx.run('UPDATE folder SET mod_seq = NULL, exists_count = NULL, held = NULL');
    await tx.run("UPDATE folder SET state = 'live' WHERE state = 'deleting'");
    const uploads = await oweAgain(tx, book);
    await keepFlags(tx, book);
    const feed = salvaged.tables.find(({ table }) => table === 'expunged');
    if (feed?.damage !== null) await renewFeed(tx);
    // Pinned files that no row refers to any more are somebody's mail (mailbox/rescued.ts).
    await tx.run("INSERT INTO meta (key, value) VALUES ('rescue', 'owed') ON CONFLICT (key) DO NOTHING");
    const kept = await countEntries(tx);
    return { kept, again: before - kept, uploads, dropped };
  });
}

async function countEntries(tx: ReadTx): Promise<number> {
  return (await tx.get<{ n: number }>('SELECT COUNT(*) AS n FROM entry'))!.n;
}

/** The accounts as far as they matter here: what is configured of them is applied when the database is used again. */
async function someBook(tx: ReadTx): Promise<AccountBook> {
  const rows = await tx.all<{ id: number; name: string }>('SELECT id, name FROM account');
  return new AccountBook(
    rows.map((row) => ({
      ...row,
      authority: 'both',
      onUpstreamDelete: 'keep',
      addresses: [],
      folders: {},
      isDefault: false,
    })),
  );
}

async function forgetFiles(tx: WriteTx, pinned: ReadonlySet<string>): Promise<void> {
  const rows = await tx.all<{ id: number; pinned: string }>('SELECT id, pinned FROM message WHERE pinned IS NOT NULL');
  await tx.run('UPDATE message SET pinned = NULL WHERE id IN (SELECT value FROM json_each(?))', [
    jsonIds(rows.filter((row) => !pinned.has(row.pinned)).map((row) => row.id)),
  ]);
}

/** Messages whose metadata is gone or not what its keys were made of; the bytes of pinned ones are checked by their name. */
async function forgetBadContents(tx: WriteTx): Promise<void> {
  await tx.run('DELETE FROM message WHERE id NOT IN (SELECT id FROM metadata)');
  await tx.run('DELETE FROM metadata WHERE id NOT IN (SELECT id FROM message)');
  const bad: number[] = [];
  for (let last = 0; ; ) {
    const rows = await tx.all<{ id: number; match_key: string; structure: Buffer; header: Buffer }>(
      `SELECT id, match_key, structure, header FROM message JOIN metadata USING (id)
       WHERE id > ? AND pinned IS NULL ORDER BY id LIMIT 500`,
      [last],
    );
    if (rows.length === 0) break;
    last = rows.at(-1)!.id;
    bad.push(...rows.filter((row) => !isOwnKey(row)).map((row) => row.id));
  }
  for (const table of ['message', 'metadata']) {
    await tx.run(`DELETE FROM ${table} WHERE id IN (SELECT value FROM json_each(?))`, [jsonIds(bad)]);
  }
}

function isOwnKey({ match_key, header, structure }: { match_key: string; header: Buffer; structure: Buffer }): boolean {
  if (!Buffer.isBuffer(header) || !Buffer.isBuffer(structure)) return false;
  return messageKeys(header, structure.length === 0 ? null : structure).matchKey === match_key;
}

const BAD_ENTRY = `message_id NOT IN (SELECT id FROM message)
  OR mailbox_id NOT IN (SELECT id FROM mailbox WHERE role IS NOT NULL)`;

/** Copies and entries that refer to what is lost, and those whose fate only the given-up actions knew. */
async function dropBroken(tx: WriteTx, book: AccountBook): Promise<void> {
  await tx.run('DELETE FROM copy WHERE folder_id NOT IN (SELECT folder_id FROM mailbox WHERE folder_id IS NOT NULL)');
  const copies = await tx.all<CopyRow>(
    `SELECT copy.* FROM copy JOIN folder ON folder.id = copy.folder_id LEFT JOIN message ON message.id = copy.message_id
     WHERE message.id IS NULL OR copy.state = 'doomed'
     OR (copy.state = 'pending' AND message.pinned IS NULL)
     OR (copy.entry_id IS NULL AND copy.mirror_uid IS NOT NULL AND folder.role IS NOT NULL AND folder.virtual = 0)
     OR (copy.entry_id IS NOT NULL AND copy.entry_id NOT IN (SELECT id FROM entry WHERE NOT (${BAD_ENTRY})))`,
  );
  await dropCopies(tx, book, copies);
  const entries = await tx.all<EntryRow>(
    `SELECT * FROM entry WHERE ${BAD_ENTRY} OR id NOT IN (SELECT entry_id FROM copy WHERE entry_id IS NOT NULL)`,
  );
  await expungeEntries(tx, entries);
  await settleAll(tx, book);
  const unused = await tx.all<{ id: number }>('SELECT id FROM message');
  await sweepMessages(
    tx,
    unused.map((row) => row.id),
  );
}

/** Entries that lost a copy: true bytes, under a new UID where those shown are gone, and true account keywords. */
async function settleAll(tx: WriteTx, book: AccountBook): Promise<void> {
  const stale = await tx.all<{ id: number }>(
    `SELECT id FROM entry WHERE NOT EXISTS (
       SELECT 1 FROM copy WHERE copy.entry_id = entry.id AND copy.message_id = entry.message_id)`,
  );
  for (const page of chunks(stale, PAGE)) {
    await settleEntries(
      tx,
      book,
      page.map(({ id }) => id),
    );
  }
  const all = await tx.all<{ id: number }>('SELECT id FROM entry');
  for (const page of chunks(all, PAGE)) {
    await refreshAccounts(
      tx,
      book,
      page.map(({ id }) => id),
    );
  }
}

/** Folders that were to be made, and mail that was to be uploaded; the latter may be there already. */
async function oweAgain(tx: WriteTx, book: AccountBook): Promise<number> {
  const reason = 'rebuild: owed when the database was damaged';
  const folders = await tx.all<FolderRow>("SELECT * FROM folder WHERE state = 'creating'");
  await owe(
    tx,
    folders.map(({ id, account_id, role }) => ({
      accountId: account_id,
      kind: 'create-folder',
      folderId: id,
      ...(role === null ? {} : { detail: role }),
    })),
    reason,
  );
  const copies = await tx.all<{ id: number; account_id: number }>(
    `SELECT copy.id, folder.account_id FROM copy JOIN folder ON folder.id = copy.folder_id
     WHERE copy.state = 'pending' ORDER BY copy.id`,
  );
  const uploads = copies.filter(({ account_id }) => book.has(account_id));
  await owe(
    tx,
    uploads.map(({ id, account_id }) => ({ accountId: account_id, kind: 'append', targetId: id })),
    reason,
  );
  await tx.run("UPDATE action SET attempts = 1 WHERE kind = 'append'");
  return uploads.length;
}

/** Flags that a server was not told yet are owed again, but no mark that lets mail be destroyed. */
async function keepFlags(tx: WriteTx, book: AccountBook): Promise<void> {
  const changed = await tx.all<CopyRow>("SELECT * FROM copy WHERE flags <> base AND state = 'live'");
  const marked = changed.filter((copy) => hasFlag(copy.flags, '\\Deleted') && !hasFlag(copy.base, '\\Deleted'));
  const entries = await groupsOfEntries(
    tx,
    marked.flatMap((copy) => copy.entry_id ?? []),
  );
  const groups = [
    ...entries.values(),
    ...marked.filter((copy) => copy.entry_id === null).map((copy) => ({ entry: null, copies: [copy] })),
  ];
  await setGroupFlags(
    tx,
    book,
    groups.map((group) => ({
      group,
      flags: removeFlags(group.entry?.flags ?? group.copies[0]!.flags, ['\\Deleted']),
    })),
    'rebuild: a mark that was not sent is taken back',
  );
  await oweFlags(
    tx,
    book,
    changed.map((copy) => copy.id),
    'rebuild: flags that were not sent',
  );
}

/** Which removals clients were told of is lost: all that is not there counts as removed now (RFC 7162 §3.2.10.2). */
async function renewFeed(tx: WriteTx): Promise<void> {
  await tx.run('DELETE FROM expunged');
  const mailboxes = await tx.all<{ id: number; folder_id: number | null; uid_next: number }>('SELECT * FROM mailbox');
  for (const { id, folder_id, uid_next } of mailboxes) {
    const present = folder_id === null ? 'SELECT uid FROM entry WHERE mailbox_id = ?' : MIRRORED;
    await tx.run(
      `INSERT INTO expunged (mailbox_id, mod_seq, uid)
       WITH RECURSIVE numbers (uid) AS (SELECT 1 UNION ALL SELECT uid + 1 FROM numbers WHERE uid + 1 < ?)
       SELECT ?, ?, uid FROM numbers WHERE uid < ? AND uid NOT IN (${present})`,
      [uid_next, id, tx.modSeq, uid_next, folder_id ?? id],
    );
    tx.touch(id);
  }
}

const MIRRORED = 'SELECT mirror_uid FROM copy WHERE folder_id = ? AND mirror_uid IS NOT NULL';
