import { hash } from 'node:crypto';
import type { FlagText } from '../mail/flags.js';
import { groupBy } from '../util/group.js';
import type { AccountBook } from './account-book.js';
import { type Arrival, bindCopy } from './bind.js';
import { metadataOf } from './metadata.js';
import { renewCopies } from './renew.js';
import type { CopyRow, FolderRow } from './rows.js';
import type { WriteTx } from './store.js';

interface Waiting extends CopyRow {
  readonly match_key: string;
  readonly message_id_text: string | null;
  readonly pinned: string | null;
}

interface Match {
  readonly copy: Waiting;
  readonly arrival: Arrival;
  /** Nothing tells that these are other bytes than clients were shown under the copy's UIDs. */
  readonly exact: boolean;
}

/**
 * Gives copies that wait for a UID the one they are found under: those whose upload, COPY or MOVE was tried, and those
 * that lost theirs in a UIDVALIDITY reset. Returns the arrivals that are none of them, and by UID the flags under which
 * the latter were found.
 */
export async function adoptPending(
  tx: WriteTx,
  book: AccountBook,
  folder: FolderRow,
  arrivals: readonly Arrival[],
): Promise<{ fresh: readonly Arrival[]; found: ReadonlyMap<number, FlagText> }> {
  const waiting = await tx.all<Waiting>(
    `SELECT copy.*, message.match_key, message.message_id AS message_id_text, message.pinned FROM copy
     JOIN message ON message.id = copy.message_id WHERE copy.folder_id = ? AND copy.uid IS NULL AND NOT EXISTS (
       SELECT 1 FROM action WHERE action.target_id = copy.id AND action.attempts = 0) ORDER BY copy.id`,
    [folder.id],
  );
  const anchored = new Map<number, FlagText>();
  if (waiting.length === 0) return { fresh: arrivals, found: anchored };
  const byKey = groupBy(waiting, (copy) => copy.match_key);
  const fresh: Arrival[] = [];
  const renewals: { id: number; arrival: Arrival }[] = [];
  const sorted = [...arrivals].sort((a, b) => a.uid - b.uid);
  for (const [key, found] of groupBy(sorted, ({ message }) => message.matchKey)) {
    const matches = await pair(tx, byKey.get(key) ?? [], found);
    for (const { copy, arrival, exact } of matches) {
      // What a re-anchored copy agreed on before the reset is still its base; a delivered one arrives with its flags.
      await bindCopy(tx, book, copy.id, arrival.uid, copy.state === 'pending' ? arrival.flags : copy.base);
      if (copy.state !== 'pending') anchored.set(arrival.uid, arrival.flags);
      // Of an upload the bytes are held, and compared before they are given up.
      if (!exact && copy.pinned === null) renewals.push({ id: copy.id, arrival });
    }
    const adopted = new Set(matches.map(({ arrival }) => arrival));
    fresh.push(...found.filter((arrival) => !adopted.has(arrival)));
  }
  await renewCopies(tx, book, renewals);
  return { fresh, found: anchored };
}

/**
 * Pairs mails of one identity. The same mail may have come by several routes, and mail without a Message-ID may be
 * another one of the same shape: the whole header, the size and the date decide. What only its text could tell apart
 * is told apart by nobody here, and a copy that has a UID with clients is never given another mail's.
 */
async function pair(tx: WriteTx, waiting: readonly Waiting[], found: readonly Arrival[]): Promise<Match[]> {
  if (waiting.length === 0) return [];
  const headers = await metadataOf(
    tx,
    waiting.map((copy) => copy.message_id),
    { header: true },
  );
  const contents = new Map(
    waiting.map((copy) => [copy, contentOf(headers.get(copy.message_id)?.header, copy.message_id_text, copy.size)]),
  );
  const contentsFound = new Map(
    found.map((each) => [each, contentOf(each.message.header, each.message.messageId, each.message.size)]),
  );
  const shapes = groupBy(waiting, (copy) => `${contents.get(copy)} ${copy.internal_date}`);
  const isClear = (copy: Waiting, shape: string): boolean =>
    copy.message_id_text !== null || new Set(shapes.get(shape)!.map((each) => each.message_id)).size === 1;
  const matches: Match[] = [];
  let left = waiting;
  let open = found;
  const take = (
    copyKey: (copy: Waiting) => string,
    arrivalKey: (arrival: Arrival) => string,
    exact: (copy: Waiting, key: string) => boolean,
  ): void => {
    const byKey = groupBy(open, arrivalKey);
    left = left.filter((copy) => {
      const key = copyKey(copy);
      const sure = exact(copy, key);
      const arrival = sure || copy.state === 'pending' ? byKey.get(key)?.shift() : undefined;
      if (arrival) matches.push({ copy, arrival, exact: sure });
      return !arrival;
    });
    open = [...byKey.values()].flat();
  };
  take(
    (copy) => `${contents.get(copy)} ${copy.internal_date}`,
    (arrival) => `${contentsFound.get(arrival)} ${arrival.internalDate}`,
    isClear,
  );
  take(
    (copy) => contents.get(copy)!,
    (arrival) => contentsFound.get(arrival)!,
    (copy) => copy.message_id_text !== null,
  );
  take(
    () => '',
    () => '',
    () => false,
  );
  return matches;
}

/** Sizes of parts stand in the identity already; that of the whole is a lie at some servers. */
function contentOf(header: Buffer | undefined, messageId: string | null, size: number): string {
  return `${header === undefined ? '' : hash('sha256', header, 'base64')} ${messageId === null ? size : ''}`;
}
