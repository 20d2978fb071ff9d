import { addFlags } from '../mail/flags.js';
import { type Group, groupFlags, groupsOfEntries, setGroupFlags } from '../store/groups.js';
import type { CopyRow } from '../store/rows.js';
import type { ReadTx, WriteTx } from '../store/store.js';
import { appendMessages } from './append.js';
import type { MailContext } from './context.js';

/** Where a copy of a sent mail was found, and who put it there. */
export type SentCopy = 'server' | 'ours' | 'absent';

/** Copies of a mail that one flags on behalf of its answer: more than these few have no business with it. */
const MOST_MARKED = 50;

/** What sending mail does in the mailboxes of its user. */
export class OutgoingMail {
  readonly #context: MailContext;

  constructor(context: MailContext) {
    this.#context = context;
  }

  /** Files a mail that was sent into the account's Sent folder; unless it is there already; with `always` the server's own copy does not count. */
  async fileSent(account: string, message: Buffer, always: boolean): Promise<void> {
    const reason = `submission: sent by ${this.#context.user}`;
    await appendMessages(this.#context, 'Sent', [{ bytes: message, flags: ['\\Seen'] }], { account, reason, always });
  }

  /** Who put a mail with this Message-ID (without brackets) into the account's Sent, as far as it is known here. */
  async sentCopy(account: string, messageId: string): Promise<SentCopy> {
    const id = this.#context.book.named(account)?.id;
    if (id === undefined) return 'absent';
    const rows = await this.#context.store.read((tx) =>
      tx.all<{ ours: number }>(
        `SELECT EXISTS (SELECT 1 FROM filed_here WHERE copy_id = copy.id) AS ours
         FROM message JOIN copy ON copy.message_id = message.id JOIN folder ON folder.id = copy.folder_id
         WHERE message.message_id = ? AND folder.account_id = ? AND folder.role = 'sent' AND copy.state IN ('live', 'pending')`,
        [messageId, id],
      ),
    );
    if (rows.length === 0) return 'absent';
    return rows.some(({ ours }) => ours === 0) ? 'server' : 'ours';
  }

  /**
   * Puts a report into the account's INBOX, and into the merged one by that; when nothing may be written there, into
   * that of another account. False when there is none. One that is there already is not put again.
   */
  async report(account: string, message: Buffer, messageId: string): Promise<boolean> {
    const { book, store } = this.#context;
    const own = book.named(account);
    const writable = [own, book.default(), ...book.all()].find((each) => each !== undefined && book.pushes(each.id));
    if (writable === undefined) return false;
    const there = await store.read((tx) =>
      tx.get('SELECT 1 FROM message JOIN copy ON copy.message_id = message.id WHERE message.message_id = ? LIMIT 1', [
        messageId,
      ]),
    );
    if (there === undefined) {
      await this.#append('INBOX', writable.name, message, [], `submission: report to ${this.#context.user}`);
    }
    return true;
  }

  /** Sets \Answered on the mail with these Message-IDs, and $Forwarded, wherever a client sees it. */
  async mark(answered: readonly string[], forwarded: readonly string[]): Promise<void> {
    const reason = `submission: answered or forwarded by ${this.#context.user}`;
    await this.#context.store.write(async (tx) => {
      for (const [ids, flag] of [
        [answered, '\\Answered'],
        [forwarded, '$Forwarded'],
      ] as const) {
        const changes = (await groupsWithIds(tx, ids))
          .map((group) => ({ group, flags: addFlags(groupFlags(group), [flag]) }))
          .filter(({ group, flags }) => flags !== groupFlags(group));
        if (changes.length > 0) await setGroupFlags(tx, this.#context.book, changes, reason);
      }
    });
  }

  async #append(mailbox: string, account: string, bytes: Buffer, flags: string[], reason: string): Promise<void> {
    await appendMessages(this.#context, mailbox, [{ bytes, flags }], { account, reason });
  }
}

async function groupsWithIds(tx: ReadTx | WriteTx, messageIds: readonly string[]): Promise<Group[]> {
  if (messageIds.length === 0) return [];
  const copies = await tx.all<CopyRow>(
    `SELECT copy.* FROM message JOIN copy ON copy.message_id = message.id
     WHERE message.message_id IN (SELECT value FROM json_each(?)) AND copy.state IN ('live', 'pending', 'vanished')
     ORDER BY copy.id LIMIT ${MOST_MARKED}`,
    [JSON.stringify(messageIds)],
  );
  const merged = await groupsOfEntries(
    tx,
    copies.flatMap((copy) => copy.entry_id ?? []),
  );
  const alone = copies.filter((copy) => copy.entry_id === null).map((copy): Group => ({ entry: null, copies: [copy] }));
  return [...merged.values(), ...alone];
}
