import { accountKeyword, flagText, isAccountKeyword } from '../mail/flags.js';
import { fieldValue } from '../mail/header.js';
import { deriveLargeMetadata } from '../mail/metadata.js';
import type { AccountPolicy } from '../store/account-book.js';
import { APPEND_ALWAYS, owe } from '../store/actions.js';
import { insertPendingCopy } from '../store/copies.js';
import { folderById, refuseExcluded, roleFolder } from '../store/folders.js';
import { mailboxNamed, mergedMailbox } from '../store/mailboxes.js';
import { insertMessages } from '../store/messages.js';
import type { FolderRow, MailboxRow, NewMessage } from '../store/rows.js';
import type { WriteTx } from '../store/store.js';
import { createEntry } from '../store/transfer.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { byWhom, type MailContext } from './context.js';
import { requireFlagRoom } from './flag-room.js';
import { crlfLines } from './line-ends.js';

export interface AppendMessage {
  readonly bytes: Buffer;
  readonly flags: readonly string[];
  /** Seconds since the Unix epoch. */
  readonly internalDate?: number;
}

/** What stands beside the bytes until they are at their server: enough to do the APPEND again without a database. */
export interface AppendNote {
  readonly mailbox: string;
  readonly account: string | null;
  /** A canonical flag text. */
  readonly flags: string;
  readonly internalDate: number;
  readonly reason: string;
}

interface Prepared {
  readonly bytes: Buffer;
  readonly message: NewMessage;
  readonly from: string | null;
  readonly flags: string;
  readonly internalDate: number;
}

/**
 * APPEND (RFC 9051 §6.3.12): the bytes are fsynced, then one transaction shows all messages and owes their upload.
 * `account` overrides the choice by mailbox and From address.
 */
export async function appendMessages(
  context: MailContext,
  name: string,
  messages: readonly AppendMessage[],
  options: {
    account?: string;
    reason?: string;
    /** Files into Sent what its server has put there as well. */
    always?: boolean;
    /** Runs first in the same transaction. */
    before?: (tx: WriteTx) => Promise<void>;
    /** Runs last in it. */
    after?: (tx: WriteTx) => Promise<void>;
  } = {},
): Promise<{ uidValidity: number; uids: number[] }> {
  const prepared: Prepared[] = [];
  for (const each of messages) prepared.push(await prepare(context, each));
  const reason = options.reason ?? `client: APPEND to ${name} by ${byWhom(context)}`;
  const commit = (): Promise<{ uidValidity: number; uids: number[] }> =>
    context.store.write(async (tx) => {
      const mailbox = await target(tx, name);
      await options.before?.(tx);
      const uids: number[] = [];
      for (const each of prepared)
        uids.push(await appendOne(tx, context, mailbox, each, options.account, reason, options.always ?? false));
      await options.after?.(tx);
      return { uidValidity: mailbox.uid_validity, uids };
    });
  // No sweep may take a file before it is referred to.
  const appended = await context.pinned.lease(async (lease) => {
    for (const { bytes, flags, internalDate } of prepared) {
      const note: AppendNote = { mailbox: name, account: options.account ?? null, flags, internalDate, reason };
      await lease.note(await lease.add(bytes), JSON.stringify(note));
    }
    await lease.settle();
    return commit();
  });
  faultPoint('append.committed');
  return appended;
}

async function prepare(context: MailContext, append: AppendMessage): Promise<Prepared> {
  if (append.bytes.length > context.maxMessageBytes) {
    throw new MergeboxError(
      'toobig',
      `message of ${append.bytes.length} octets; at most ${context.maxMessageBytes} are allowed`,
    );
  }
  const bytes = await crlfLines(append.bytes);
  const meta = await deriveLargeMetadata(bytes, context.dedupe);
  return {
    bytes,
    message: { ...meta.message, pinned: meta.sha256 },
    from: fromAddress(fieldValue(meta.message.header, 'From')),
    flags: appendFlags(append.flags),
    internalDate: append.internalDate ?? Math.floor(Date.now() / 1000),
  };
}

function appendFlags(flags: readonly string[]): string {
  const text = flagText(flags.filter((flag) => !isAccountKeyword(flag)));
  requireFlagRoom(text);
  return text;
}

/** The addr-spec of a From field, lower case; null when there is none to be sure of. */
function fromAddress(value: string | null): string | null {
  const match = /<([^<>\s]+@[^<>\s]+)>\s*$/.exec(value ?? '') ?? /^\s*([^\s<>,;"]+@[^\s<>,;"]+)\s*$/.exec(value ?? '');
  return match ? match[1]!.toLowerCase() : null;
}

async function target(tx: WriteTx, name: string): Promise<MailboxRow> {
  return mailboxNamed(tx, name).catch((error: unknown) => {
    if (isMergeboxError(error, 'nonexistent')) throw new MergeboxError('trycreate', `no mailbox "${name}"`);
    throw error;
  });
}

async function appendOne(
  tx: WriteTx,
  context: MailContext,
  mailbox: MailboxRow,
  append: Prepared,
  accountName: string | undefined,
  reason: string,
  always: boolean,
): Promise<number> {
  const { account, folder } = await place(tx, context, mailbox, append, accountName, reason);
  if (folder.role === 'sent') {
    const filed = await filedAlready(tx, mailbox, folder, append.message, always);
    if (filed !== null) return filed;
  }
  const [messageId] = await insertMessages(tx, [append.message]);
  const content = {
    messageId: messageId!,
    flags: append.flags,
    size: append.message.size,
    internalDate: append.internalDate,
  };
  const merged = folder.role === null || folder.virtual === 1 ? null : await mergedMailbox(tx, folder.role);
  const entry =
    merged &&
    (await createEntry(tx, merged.id, {
      ...content,
      mergeKey: append.message.mergeKey,
      accounts: accountKeyword(account.name),
    }));
  const copy = await insertPendingCopy(tx, folder, { ...content, entryId: entry?.id ?? null });
  const detail = always ? { detail: APPEND_ALWAYS } : {};
  await owe(tx, [{ accountId: account.id, kind: 'append', targetId: copy.id, ...detail }], reason);
  return mailbox.folder_id === null ? entry!.uid : copy.mirrorUid;
}

/** The account and folder an appended message belongs to: by From in Drafts and Sent, else the default account. */
async function place(
  tx: WriteTx,
  context: MailContext,
  mailbox: MailboxRow,
  append: Prepared,
  accountName: string | undefined,
  reason: string,
): Promise<{ account: AccountPolicy; folder: FolderRow }> {
  const { book } = context;
  if (mailbox.folder_id !== null) {
    const folder = await folderById(tx, mailbox.folder_id);
    if (!folder || folder.selectable === 0) throw new MergeboxError('cannot', `"${mailbox.name}" holds no mail`);
    const account = book.get(folder.account_id);
    requireWritable(account);
    return { account, folder };
  }
  const byFrom = mailbox.role === 'drafts' || mailbox.role === 'sent' ? append.from : null;
  const account =
    (accountName === undefined ? undefined : book.named(accountName)) ??
    (byFrom === null ? undefined : book.owning(byFrom)) ??
    book.default();
  if (!account) throw new MergeboxError('cannot', `"${mailbox.name}" has no account that could hold mail`);
  requireWritable(account);
  await refuseExcluded(tx, account, mailbox.role!);
  return { account, folder: await roleFolder(tx, account, mailbox.role!, reason) };
}

function requireWritable(account: AccountPolicy): void {
  if (account.authority === 'upstream') {
    throw new MergeboxError(
      'cannot',
      `account "${account.name}" has authority "upstream": Mergebox changes nothing there`,
    );
  }
}

/**
 * A sent mail is filed once, whoever files it first: the server, Mergebox or the client. With `here` the server's copy
 * does not count, but one that came through Mergebox does: filing is repeated after a crash.
 */
async function filedAlready(
  tx: WriteTx,
  mailbox: MailboxRow,
  folder: FolderRow,
  message: NewMessage,
  here: boolean,
): Promise<number | null> {
  if (message.messageId === null) return null;
  const found = await tx.get<{ mirror_uid: number | null; uid: number | null }>(
    `SELECT copy.mirror_uid, entry.uid FROM message JOIN copy ON copy.message_id = message.id LEFT JOIN entry ON entry.id = copy.entry_id
     WHERE message.match_key = ? AND copy.folder_id = ? AND copy.state IN ('live', 'pending') AND copy.mirror_uid IS NOT NULL
     ${here ? 'AND EXISTS (SELECT 1 FROM filed_here WHERE copy_id = copy.id)' : ''} LIMIT 1`,
    [message.matchKey, folder.id],
  );
  if (!found) return null;
  return mailbox.folder_id === null ? found.uid : found.mirror_uid;
}
