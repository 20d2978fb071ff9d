import type { Log } from '../../util/log.js';
import { INBOX, LOCAL_UIDVALIDITY } from '../local.js';
import type { KeptFiles, Shelf } from '../local-parts.js';
import type { FolderState } from '../port.js';
import type { KnownMail, MailBook } from './book.js';
import { type Downloaded, download } from './download.js';
import { inWindow } from './in-window.js';
import { headerKeyOf, type Listing, listMails } from './listing.js';
import { forgettable, type Match, matchNames, recogniseRenamed, updateMissing } from './match.js';
import type { Pop3Session } from './session.js';

/** What the parts of a POP3 account share. */
export interface Pop3Parts {
  readonly shelf: Shelf;
  readonly files: KeptFiles;
  readonly book: MailBook;
  readonly log: Log;
  /** What the server shows no more stays in INBOX all the same. */
  readonly keepsMissing: boolean;
}

/** INBOX as it is after a look at the maildrop. */
export interface View {
  readonly state: FolderState;
  /** UIDs in INBOX, ascending. */
  readonly listed: readonly number[];
  /** Those that have not been recorded yet. */
  readonly arrived: readonly number[];
  readonly rows: ReadonlyMap<number, KnownMail>;
  /** Message numbers and octets in this session, by UID. */
  readonly numbers: ReadonlyMap<number, number>;
  readonly sizes: ReadonlyMap<number, number>;
  readonly listing: Listing;
}

/**
 * Looks at the maildrop and brings the message id store in line: new mails get their UIDs, mails under new names are
 * recognised by their content, and a name that means another mail now is taken from its old one. Nothing is downloaded
 * but what that needs. Where nothing changed since `last`, one UIDL tells.
 */
export async function lookAt(session: Pop3Session, parts: Pop3Parts, last: View | null): Promise<View> {
  const listing = await listMails(session, last?.listing ?? null);
  if (last !== null && listing.digest === last.listing.digest) return last;
  const { shelf, book } = parts;
  const now = Math.floor(Date.now() / 1000);
  const sizes = await session.list();
  await freeReusedNames(session, parts, listing, sizes);
  const fresh = matchNames(await book.all(), listing.mails).fresh;
  const first = await shelf.take(INBOX, fresh.length);
  await book.save(fresh.map(({ number, uidl }, index) => newRow(first + index, uidl, sizes.get(number) ?? null, now)));
  const live = new Set(await shelf.uids(INBOX));
  const match = await settleNames(session, parts, { listing, sizes, live });
  const missing = updateMissing(match, now);
  if (missing.length > 0) await shelf.take(INBOX, 1);
  await book.save(missing, forgettable(match.absent, live, now));
  return viewOf(parts, await book.all(), { listing, sizes, live });
}

interface Looked {
  readonly listing: Listing;
  readonly sizes: ReadonlyMap<number, number>;
  /** UIDs of INBOX that have a copy in the store. */
  readonly live: ReadonlySet<number>;
}

function newRow(uid: number, uidl: string, octets: number | null, seen: number): KnownMail {
  const unread = { content: null, headerKey: null, matchKey: null };
  return { uid, uidl, octets, ...unread, seen, missing: null, state: 'here' };
}

/**
 * A known name with another size: servers that write into headers do that, and servers that use a name again. The
 * header tells which; without TOP the mail counts as another one, to be recognised by its content.
 */
async function freeReusedNames(
  session: Pop3Session,
  { book, log }: Pop3Parts,
  listing: Listing,
  sizes: ReadonlyMap<number, number>,
): Promise<void> {
  const { present, numbers } = matchNames(await book.all(), listing.mails);
  const doubtful = present.filter((row) => {
    const octets = sizes.get(numbers.get(row.uid)!);
    return octets !== undefined && row.octets !== null && octets !== row.octets && row.headerKey !== null;
  });
  const changed: KnownMail[] = [];
  await inWindow(session.pipelining, doubtful, async (row) => {
    const number = numbers.get(row.uid)!;
    const header = await session.top(number);
    const same = header !== null && headerKeyOf(header) === row.headerKey;
    if (!same) log.warn({ uid: row.uid }, 'the server has given the UIDL of a mail to another one');
    changed.push(same ? { ...row, octets: sizes.get(number)! } : { ...row, uidl: null });
  });
  await book.save(changed);
}

/** Reads what is new when something known is lost at the same time, since it may be that. */
async function settleNames(session: Pop3Session, parts: Pop3Parts, looked: Looked): Promise<Match> {
  const { book } = parts;
  const match = matchNames(await book.all(), looked.listing.mails);
  const lost = match.absent.filter(
    ({ uid, content, missing, state }) =>
      content !== null && (missing === null || (state === 'here' && looked.live.has(uid))),
  );
  const arrived = match.present.filter(({ uid, state }) => state === 'here' && !looked.live.has(uid));
  if (lost.length === 0 || arrived.length === 0) return match;
  await readAll(session, parts, arrived, match.numbers, looked.sizes);
  const uids = new Set(arrived.map(({ uid }) => uid));
  const read = (await book.all()).filter((row) => uids.has(row.uid));
  const { renamed, superseded } = recogniseRenamed(lost, read);
  if (renamed.length > 0) parts.log.warn({ mails: renamed.length }, 'the server has given known mails other UIDLs');
  await book.save(renamed, superseded);
  return matchNames(await book.all(), looked.listing.mails);
}

async function readAll(
  session: Pop3Session,
  { files, book, log }: Pop3Parts,
  rows: readonly KnownMail[],
  numbers: ReadonlyMap<number, number>,
  sizes: ReadonlyMap<number, number>,
): Promise<void> {
  const byUid = new Map(rows.map((row) => [row.uid, row]));
  const wanted = rows
    .filter(({ content }) => content === null)
    .map(({ uid }) => ({ uid, number: numbers.get(uid)!, octets: sizes.get(numbers.get(uid)!) ?? 0 }));
  await files.lease((lease) =>
    download(session, lease, wanted, log, (page) => book.save(page.map((mail) => readRow(byUid.get(mail.uid)!, mail)))),
  );
}

/** The row of a mail whose bytes were read. */
export function readRow(row: KnownMail, { message, headerKey, matchKey }: Downloaded): KnownMail {
  return { ...row, content: message.content, headerKey, matchKey };
}

async function viewOf({ shelf, keepsMissing }: Pop3Parts, rows: readonly KnownMail[], looked: Looked): Promise<View> {
  const { listing, sizes, live } = looked;
  const { numbers } = matchNames(rows, listing.mails);
  const byUid = new Map(rows.map((row) => [row.uid, row]));
  const listed = rows
    .filter(({ uid, state }) => state === 'retired' || (state === 'here' && (keepsMissing || numbers.has(uid))))
    // A name that no mail was ever read under is nothing to keep.
    .filter(({ uid, content }) => numbers.has(uid) || content !== null)
    .map(({ uid }) => uid);
  // Mail that was brought here has no row: it never was at the server, or is there no more.
  for (const uid of live) if (!byUid.has(uid)) listed.push(uid);
  listed.sort((a, b) => a - b);
  const folder = (await shelf.folders()).find(({ path }) => path === INBOX);
  const uidNext = folder?.uidNext ?? 1;
  return {
    // A UID is taken for whatever changes, so UIDNEXT counts the changes too.
    state: { uidValidity: LOCAL_UIDVALIDITY, uidNext, exists: listed.length, highestModSeq: String(uidNext) },
    ...{ listed, arrived: listed.filter((uid) => !live.has(uid)) },
    ...{ rows: byUid, numbers, sizes, listing },
  };
}
