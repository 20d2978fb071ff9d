import { accountKeyword, flagText, removeFlags } from '../mail/flags.js';
import type { Role } from '../mail/ids.js';
import { discardHow } from '../mail/reconcile.js';
import { MergeboxError } from '../util/errors.js';
import { chunks } from '../util/group.js';
import type { AccountBook, AccountPolicy } from './account-book.js';
import { owe } from './actions.js';
import { insertPendingCopy } from './copies.js';
import { folderById, foldersByIds, refuseExcluded, roleFolder } from './folders.js';
import { agreeOnFlags, type Group, groupFlags, refreshAccounts } from './groups.js';
import { allocateUids, mergedMailbox } from './mailboxes.js';
import { cloneMessage } from './messages.js';
import { savedNow } from './objects.js';
import { doomCopies, expungeEntries, folderAccounts, oweExpunges, settleEntries } from './remove.js';
import { type CopyRow, type EntryRow, type FolderRow, jsonIds, type MailboxRow } from './rows.js';
import type { ReadTx, WriteTx } from './store.js';
import { isUniform, type Journey, type Leg, shownLeg, transferTogether } from './transfer-page.js';

/** Groups that are dealt with by one round of statements. */
const PAGE = 500;

/**
 * A COPY or MOVE of groups into a mailbox; target UIDs in the order of the groups. All is owed upstream afterwards.
 * `kept`: the SHA-256 of contents whose bytes are pinned already, by message.
 */
export async function transferGroups(
  tx: WriteTx,
  book: AccountBook,
  groups: readonly Group[],
  target: MailboxRow,
  mode: 'copy' | 'move',
  reason: string,
  kept: ReadonlyMap<number, string> = new Map(),
): Promise<number[]> {
  const uids: number[] = [];
  const targets = new Map<number, FolderRow>();
  for (const page of chunks(groups, PAGE)) {
    const folders = await folderAccounts(
      tx,
      page.flatMap((group) => group.copies),
    );
    const journeys: Journey[] = [];
    for (const group of page) {
      const legs = await planLegs(tx, book, group, { folders, targets }, target, reason, kept);
      if (mode === 'move' && legs.some((leg) => leg.folder.id === leg.source.folder_id)) {
        throw new MergeboxError('cannot', `move to "${target.name}": the mail is there already`);
      }
      journeys.push({ group, legs });
    }
    const merged = await mergedTarget(tx, target, target.role ?? journeys[0]!.legs[0]!.folder.role);
    if (isUniform(journeys, mode)) {
      for (const uid of await transferTogether(tx, book, journeys, target, merged, mode, reason)) uids.push(uid);
    } else {
      for (const journey of journeys) {
        uids.push(await transferAlone(tx, book, journey, { folders, target, merged, mode, reason }));
      }
    }
  }
  return uids;
}

async function transferAlone(
  tx: WriteTx,
  book: AccountBook,
  journey: Journey,
  way: {
    readonly folders: ReadonlyMap<number, FolderRow>;
    readonly target: MailboxRow;
    readonly merged: MailboxRow | null;
    readonly mode: 'copy' | 'move';
    readonly reason: string;
  },
): Promise<number> {
  const { group, legs } = journey;
  const { folders, target, merged, mode, reason } = way;
  const entry = merged === null ? null : await insertEntry(tx, book, merged, journey);

  const moved = mode === 'move' ? legs.filter((leg) => leg.within).map((leg) => leg.source) : [];
  const rest = mode === 'move' ? group.copies.filter((copy) => !moved.includes(copy)) : [];
  let mirrorUid = 0;
  let upload: number | undefined;
  for (const leg of legs) {
    const made = await insertPendingCopy(tx, leg.folder, {
      messageId: leg.messageId,
      entryId: entry?.id ?? null,
      flags: groupFlags(group),
      size: leg.source.size,
      internalDate: leg.source.internal_date,
    });
    if (leg.folder.id === target.folder_id) mirrorUid = made.mirrorUid;
    if (!leg.within) upload = await oweUpload(tx, leg, made.id, folders, reason);
    else
      await owe(
        tx,
        [{ accountId: leg.folder.account_id, kind: mode, copyId: leg.source.id, targetId: made.id }],
        reason,
      );
  }
  if (mode === 'move') await leaveSource(tx, book, group, { moved, rest, folders, upload }, reason);
  return target.folder_id === null ? entry!.uid : mirrorUid;
}

/** One leg for each account that has a copy; into one folder, that account's copy goes, or else the bytes of any. */
async function planLegs(
  tx: WriteTx,
  book: AccountBook,
  group: Group,
  known: { readonly folders: ReadonlyMap<number, FolderRow>; readonly targets: Map<number, FolderRow> },
  target: MailboxRow,
  reason: string,
  kept: ReadonlyMap<number, string>,
): Promise<Leg[]> {
  const { folders, targets } = known;
  const accountOf = (copy: CopyRow): number => folders.get(copy.folder_id)!.account_id;
  if (target.folder_id !== null) {
    const folder = targets.get(target.folder_id) ?? (await folderById(tx, target.folder_id));
    if (!folder || folder.selectable === 0) throw new MergeboxError('cannot', `"${target.name}" holds no mail`);
    if (!book.pushes(folder.account_id)) throw readOnlyAccount(book.get(folder.account_id));
    targets.set(folder.id, folder);
    const own = group.copies.find((copy) => accountOf(copy) === folder.account_id);
    if (own) return [{ folder, source: own, within: true, messageId: own.message_id }];
    const source = canonicalCopy(group);
    return [{ folder, source, within: false, messageId: await cloneMessage(tx, source.message_id, kept) }];
  }
  const legs: Leg[] = [];
  for (const source of group.copies) {
    const account = book.get(accountOf(source));
    if (!book.pushes(account.id)) continue;
    if (legs.some((leg) => leg.folder.account_id === account.id)) continue;
    const folder = targets.get(account.id) ?? (await targetFolder(tx, account, target.role!, reason));
    targets.set(account.id, folder);
    legs.push({ folder, source, within: true, messageId: source.message_id });
  }
  if (legs.length === 0) throw readOnlyAccount(book.get(accountOf(group.copies[0]!)));
  return legs;
}

/** The account's folder of a role, made if it has none. */
async function targetFolder(tx: WriteTx, account: AccountPolicy, role: Role, reason: string): Promise<FolderRow> {
  await refuseExcluded(tx, account, role);
  return roleFolder(tx, account, role, reason);
}

function readOnlyAccount(account: AccountPolicy): MergeboxError {
  return new MergeboxError(
    'cannot',
    `account "${account.name}" has authority "upstream": Mergebox changes nothing there`,
  );
}

/** The copy whose bytes the entry shows. */
function canonicalCopy(group: Group): CopyRow {
  return group.copies.find((copy) => copy.message_id === group.entry?.message_id) ?? group.copies[0]!;
}

/**
 * An upload to another account; its id. The bytes are kept here first, or whoever destroys the source meanwhile would
 * take an acknowledged copy with it.
 */
async function oweUpload(
  tx: WriteTx,
  { folder, source, messageId }: Leg,
  targetId: number,
  folders: ReadonlyMap<number, FolderRow>,
  reason: string,
): Promise<number> {
  const { pinned } = (await tx.get<{ pinned: string | null }>('SELECT pinned FROM message WHERE id = ?', [messageId]))!;
  const from = folders.get(source.folder_id)!.account_id;
  const [pin] = pinned === null ? await owe(tx, [{ accountId: from, kind: 'pin', copyId: source.id }], reason) : [];
  const [upload] = await owe(
    tx,
    [{ accountId: folder.account_id, kind: 'append', targetId, ...(pin === undefined ? {} : { afterId: pin }) }],
    reason,
  );
  return upload!;
}

/** The contents that a transfer of these groups would upload to another account and whose bytes are not kept here yet. */
export async function unkeptUploads(tx: ReadTx, groups: readonly Group[], target: MailboxRow): Promise<number[]> {
  if (target.folder_id === null) return [];
  const account = (await folderById(tx, target.folder_id))?.account_id;
  const folders = await foldersByIds(tx, new Set(groups.flatMap(({ copies }) => copies.map((copy) => copy.folder_id))));
  const across = groups.filter(
    ({ copies }) => !copies.some((copy) => folders.get(copy.folder_id)!.account_id === account),
  );
  const rows = await tx.all<{ id: number }>(
    'SELECT id FROM message WHERE pinned IS NULL AND id IN (SELECT value FROM json_each(?))',
    [jsonIds(across.map((group) => canonicalCopy(group).message_id))],
  );
  return rows.map((row) => row.id);
}

/** The merged mailbox that shows mail of the target, if one does. */
async function mergedTarget(tx: WriteTx, target: MailboxRow, role: Role | null): Promise<MailboxRow | null> {
  if (target.folder_id === null) return target;
  if (role === null) return null;
  return (await tx.get<MailboxRow>('SELECT * FROM mailbox WHERE role = ?', [role])) ?? null;
}

async function insertEntry(tx: WriteTx, book: AccountBook, mailbox: MailboxRow, journey: Journey): Promise<EntryRow> {
  const { group, legs } = journey;
  const { messageId, source } = shownLeg(journey);
  const accounts = flagText(legs.map((leg) => accountKeyword(book.get(leg.folder.account_id).name)));
  const key = await tx.get<{ merge_key: string | null }>('SELECT merge_key FROM message WHERE id = ?', [messageId]);
  return createEntry(tx, mailbox.id, {
    messageId,
    mergeKey: key?.merge_key ?? null,
    flags: groupFlags(group),
    accounts,
    size: source.size,
    internalDate: source.internal_date,
  });
}

/** A new entry at the end of a merged mailbox. */
export async function createEntry(
  tx: WriteTx,
  mailboxId: number,
  entry: {
    messageId: number;
    mergeKey: string | null;
    flags: string;
    accounts: string;
    size: number;
    internalDate: number;
  },
): Promise<EntryRow> {
  const uid = await allocateUids(tx, mailboxId, 1);
  tx.touch(mailboxId);
  return (await tx.get<EntryRow>(
    `INSERT INTO entry (mailbox_id, uid, message_id, merge_key, flags, accounts, mod_seq, size, internal_date, saved)
     VALUES (?,?,?,?,?,?,?,?,?,?) RETURNING *`,
    [
      mailboxId,
      uid,
      entry.messageId,
      entry.mergeKey,
      entry.flags,
      entry.accounts,
      tx.modSeq,
      entry.size,
      entry.internalDate,
      savedNow(),
    ],
  ))!;
}

/**
 * The far end of a MOVE: what the server moves disappears with its action; of a move across accounts the canonical
 * copy is removed only after the upload; copies of accounts that have no part in it follow their deletion policy.
 */
async function leaveSource(
  tx: WriteTx,
  book: AccountBook,
  group: Group,
  source: {
    moved: CopyRow[];
    rest: readonly CopyRow[];
    folders: ReadonlyMap<number, FolderRow>;
    upload: number | undefined;
  },
  reason: string,
): Promise<void> {
  await doomCopies(tx, source.moved);
  if (source.upload !== undefined) {
    const origin = canonicalCopy(group);
    await doomCopies(tx, [origin]);
    await oweExpunges(tx, book, [origin], source.folders, reason, source.upload);
    await discardCopies(
      tx,
      book,
      source.rest.filter((copy) => copy !== origin),
      source.folders,
      reason,
    );
  } else {
    await discardCopies(tx, book, source.rest, source.folders, reason);
  }
  if (!group.entry) return;
  const left = await tx.get<{ n: number }>("SELECT COUNT(*) AS n FROM copy WHERE entry_id = ? AND state <> 'doomed'", [
    group.entry.id,
  ]);
  if (left!.n === 0) await expungeEntries(tx, [group.entry]);
  else await settleEntries(tx, book, [group.entry.id]);
}

/**
 * What a deletion somewhere else does to copies, by the policy of their account: to its Trash, removed, or kept.
 * Copies that are in Trash or Junk already stay: only their owner empties those.
 */
export async function discardCopies(
  tx: WriteTx,
  book: AccountBook,
  copies: readonly CopyRow[],
  folders: ReadonlyMap<number, FolderRow>,
  reason: string,
): Promise<void> {
  for (const copy of copies) {
    const folder = folders.get(copy.folder_id)!;
    const account = book.get(folder.account_id);
    const how = discardHow({ ...account, onDelete: account.onUpstreamDelete, role: folder.role });
    if (how === null) continue;
    if (how === 'expunge') {
      await doomCopies(tx, [copy]);
      await oweExpunges(tx, book, [copy], folders, reason);
      continue;
    }
    await moveCopyToRole(tx, book, copy, account, 'trash', reason);
  }
}

/**
 * Moves one copy to its account's folder of a role; there it joins the entry of the same mail if one waits for it. The
 * mark \Deleted has served its purpose: in Trash it would let the next EXPUNGE there destroy the mail.
 */
export async function moveCopyToRole(
  tx: WriteTx,
  book: AccountBook,
  copy: CopyRow,
  account: AccountPolicy,
  role: Role,
  reason: string,
): Promise<void> {
  const folder = await roleFolder(tx, account, role, reason);
  const flags = removeFlags(copy.flags, ['\\Deleted']);
  const entryId = await joinEntry(tx, role, { ...copy, flags }, account);
  await doomCopies(tx, [copy]);
  const made = await insertPendingCopy(tx, folder, {
    messageId: copy.message_id,
    entryId,
    flags,
    size: copy.size,
    internalDate: copy.internal_date,
  });
  await owe(tx, [{ accountId: account.id, kind: 'move', copyId: copy.id, targetId: made.id }], reason);
  await agreeOnFlags(tx, book, [entryId], reason);
  await refreshAccounts(tx, book, [entryId]);
}

/** The entry of the same mail that has no copy of this account yet, or a new one. */
async function joinEntry(tx: WriteTx, role: Role, copy: CopyRow, account: AccountPolicy): Promise<number> {
  const mailbox = await mergedMailbox(tx, role);
  const message = await tx.get<{ merge_key: string | null }>('SELECT merge_key FROM message WHERE id = ?', [
    copy.message_id,
  ]);
  const twin = await tx.get<{ id: number }>(
    `SELECT entry.id FROM entry WHERE mailbox_id = ? AND merge_key = ? AND NOT EXISTS (
       SELECT 1 FROM copy JOIN folder ON folder.id = copy.folder_id
       WHERE copy.entry_id = entry.id AND folder.account_id = ?) ORDER BY uid LIMIT 1`,
    [mailbox.id, message?.merge_key ?? null, account.id],
  );
  if (twin) return twin.id;
  const entry = await createEntry(tx, mailbox.id, {
    messageId: copy.message_id,
    mergeKey: message?.merge_key ?? null,
    flags: copy.flags,
    accounts: accountKeyword(account.name),
    size: copy.size,
    internalDate: copy.internal_date,
  });
  return entry.id;
}
