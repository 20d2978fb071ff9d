import { envelopeWire } from '../mail/envelope.js';
import { flagText } from '../mail/flags.js';
import { mergeKey, messageKeys } from '../mail/identity.js';
import { copiesByUids, countUids, doomedUids } from '../store/copies.js';
import { folderById, type PullEnd, saveCursor, setFlagsOffered, setHeld, setUidValidity } from '../store/folders.js';
import { type Arrival, isNews, recordArrivals, recordFlags, recordReappeared } from '../store/ingest.js';
import { PLACE_BATCH, placeCopies, unplacedCopies } from '../store/place.js';
import type { CopyRow, FolderRow } from '../store/rows.js';
import { lostCopies, movedCount, recordLost, recordVanished } from '../store/vanish.js';
import { saveSkipped, skippedUids } from '../store/window.js';
import type { FolderReader, UpstreamMessage } from '../upstream/port.js';
import { faultPoint } from '../util/fault.js';
import { chunks } from '../util/group.js';
import { type Admission, admit } from './admit.js';
import type { SyncContext } from './context.js';
import { diffFolder, type FolderDiff } from './diff.js';

export interface PullOptions {
  /**
   * Whether clients may see arrivals at once, or the first sync of all accounts is still collecting them; asked when
   * they are recorded, since that may end meanwhile.
   */
  readonly place: () => boolean;
  /** A person released this account: removals are believed. */
  readonly released: boolean;
  /** The pull runs on connections made after the folder was held. */
  readonly fresh: boolean;
}

export interface PullResult {
  /** Whether the store learned anything new. */
  readonly changed: boolean;
  /** Why removals were not believed, when they were not. */
  readonly held: string | null;
}

/**
 * Arrivals that one unit records, and octets of their headers: keys are random, so each commit writes much of their
 * index, and larger commits write it less often; smaller ones let other writes through sooner.
 */
const WRITE_MAILS = 1_000;
const WRITE_OCTETS = 4 << 20;

/** How many flag changes one unit applies. */
const FLAG_BATCH = 2_000;

/** Brings what the store knows of a folder in line with its server. */
export async function pullFolder(context: SyncContext, folderId: number, options: PullOptions): Promise<PullResult> {
  return context.folderLock.run(folderId, async () => {
    const folder = await context.store.read((tx) => folderById(tx, folderId));
    if (!folder || folder.selectable === 0 || folder.state !== 'live') return { changed: false, held: null };
    const cursor =
      folder.uid_validity === null || folder.uid_next === null
        ? null
        : { path: folder.path, uidValidity: folder.uid_validity, modSeq: folder.mod_seq };
    return context.upstream.read(folder.path, cursor, (reader) => pull(context, folder, reader, options));
  });
}

async function pull(
  context: SyncContext,
  row: FolderRow,
  reader: FolderReader,
  options: PullOptions,
): Promise<PullResult> {
  const { store } = context;
  const folder = await bindUidValidity(context, row, reader);
  if (isUnchanged(folder, reader)) return { changed: false, held: null };
  const window = context.window?.() ?? null;
  const diff = await diffFolder(store, folder, reader, await store.read((tx) => skippedUids(tx, folder, window)));
  const flagged = await applyFlags(context, folder, diff);
  const admission = await admit(store, folder, reader, diff.arrivals, window);
  const { arrived, tooOld } = await fetchArrivals(context, folder, reader, admission);
  const lost = await store.read((tx) => lostCopies(tx, folder.id));
  const gone = diff.vanished.length + lost.length;
  const held = await holdReason(context, folder, reader, { diff, lost }, options);
  const end = { ...reader.state, modSeq: reader.state.highestModSeq };
  // Else the next look starts where this one did.
  const news = flagged + arrived + gone > 0 || window !== null || !isAt(folder, end);
  if (held === null && news) {
    await store.write(async (tx) => {
      if (diff.vanished.length > 0) await recordVanished(tx, context.book, folder.id, diff.vanished);
      if (lost.length > 0) await recordLost(tx, context.book, folder.id, lost);
      // What a COPY or MOVE still has to settle is met again by the next look.
      const left = diff.vanished.length > 0 && (await copiesByUids(tx, folder.id, diff.vanished)).some(isDoomed);
      await saveCursor(tx, folder.id, { ...end, exists: left ? -1 : end.exists });
      const skipped = [...diff.skipped, ...admission.skip, ...tooOld];
      await saveSkipped(tx, folder.id, end.uidValidity, window, skipped);
    });
    faultPoint('ingest.saved');
  } else if (held !== null && folder.held !== held) {
    context.log.warn({ folder: folder.path, reason: held }, 'deletions held');
    await store.write((tx) => setHeld(tx, folder.id, held));
    faultPoint('guard.held');
  }
  if (options.place()) await placeFolder(context, folder.id);
  return { changed: flagged + arrived + gone > 0, held };
}

function isAt(folder: FolderRow, end: PullEnd): boolean {
  return (
    folder.held === null &&
    folder.uid_next === end.uidNext &&
    folder.exists_count === end.exists &&
    folder.mod_seq === end.modSeq
  );
}

function isDoomed({ state }: CopyRow): boolean {
  return state === 'doomed';
}

/** A folder's first UIDVALIDITY, or a new one: then every copy is looked for again by content. */
async function bindUidValidity(context: SyncContext, folder: FolderRow, reader: FolderReader): Promise<FolderRow> {
  const { uidValidity } = reader.state;
  const offered = reader.flagsOffered === null ? folder.flags_offered : flagText(reader.flagsOffered);
  if (offered !== folder.flags_offered) {
    await context.store.write((tx) => setFlagsOffered(tx, folder.id, offered));
  }
  // What lives here is known by nothing but its UIDs: they are never given up.
  const local = context.account.local === true;
  const back = !local && folder.uid_validity === uidValidity && wentBack(folder, reader);
  if (folder.uid_validity === uidValidity && !back) return { ...folder, flags_offered: offered };
  if (folder.uid_validity !== null) {
    context.log.warn(
      { folder: folder.path, from: folder.uid_validity, to: uidValidity },
      back
        ? 'UIDNEXT or HIGHESTMODSEQ fell: looking for all mail again'
        : 'UIDVALIDITY changed: looking for all mail again',
    );
  }
  await context.store.write((tx) => setUidValidity(tx, folder.id, uidValidity));
  faultPoint('ingest.bound');
  return {
    ...folder,
    flags_offered: offered,
    uid_validity: uidValidity,
    uid_next: null,
    mod_seq: null,
    exists_count: null,
  };
}

/**
 * Whether a counter fell that only rises (RFC 9051 §2.3.1.1, RFC 7162 §3.1.1), as after a server was set back to a backup:
 * the UIDs that it gave away since may stand for other mail by now.
 */
function wentBack(folder: FolderRow, { state }: FolderReader): boolean {
  const fell = (before: string | number | null, now: string | number | null): boolean =>
    isCounter(before) && isCounter(now) && BigInt(now) < BigInt(before);
  return fell(folder.uid_next, state.uidNext) || fell(folder.mod_seq, state.highestModSeq);
}

/** Accounts without MODSEQs put another mark of the state in their place. */
function isCounter(value: string | number | null): value is string | number {
  return value !== null && /^\d+$/.test(String(value));
}

function isUnchanged(folder: FolderRow, { state, resync }: FolderReader): boolean {
  return (
    folder.mod_seq !== null &&
    isAt(folder, { ...state, modSeq: state.highestModSeq }) &&
    (resync === null || (resync.changed.length === 0 && resync.vanished.length === 0))
  );
}

async function applyFlags(context: SyncContext, folder: FolderRow, diff: FolderDiff): Promise<number> {
  let changed = 0;
  for (const page of chunks([...diff.flags], FLAG_BATCH)) {
    if (!(await context.store.read((tx) => isNews(tx, folder, new Map(page))))) continue;
    await context.store.write(async (tx) => {
      await recordReappeared(
        tx,
        folder.id,
        page.map(([uid]) => uid),
      );
      changed += await recordFlags(tx, context.book, folder, new Map(page));
    });
    faultPoint('ingest.flags');
  }
  return changed;
}

/**
 * Newest first, so that a first sync cut short has what people read; the next page is fetched while one is written.
 * Returns how many the server gave (it may list what it cannot fetch), and the UIDs of those that are not kept.
 */
async function fetchArrivals(
  context: SyncContext,
  folder: FolderRow,
  reader: FolderReader,
  { fetch, keeps }: Pick<Admission, 'fetch' | 'keeps'>,
): Promise<{ arrived: number; tooOld: number[] }> {
  const tooOld: number[] = [];
  if (fetch.length === 0) return { arrived: 0, tooOld };
  let arrived = 0;
  let octets = 0;
  let waiting: Arrival[] = [];
  let writing: Promise<void> = Promise.resolve();
  const write = async (): Promise<void> => {
    const arrivals = waiting;
    [waiting, octets] = [[], 0];
    await writing;
    writing = context.store
      .write((tx) => recordArrivals(tx, context.book, folder, arrivals))
      .then(() => faultPoint('ingest.recorded'));
    // A failure is reported by the next write or below; until then it must not count as unhandled.
    writing.catch(() => undefined);
  };
  await reader.messages(
    [...fetch].sort((a, b) => b - a),
    async (page) => {
      for (const message of page) {
        if (!keeps(message)) {
          tooOld.push(message.uid);
          continue;
        }
        waiting.push(arrivalOf(context.dedupe, message));
        octets += message.header.length;
        arrived += 1;
      }
      if (waiting.length >= WRITE_MAILS || octets >= WRITE_OCTETS) await write();
    },
  );
  await write();
  await writing;
  return { arrived, tooOld };
}

const EMPTY = Buffer.alloc(0);

/** A BODYSTRUCTURE that the server did not give is made from the bytes when a client asks for it. */
export function arrivalOf(dedupe: SyncContext['dedupe'], message: UpstreamMessage): Arrival {
  const keys = message.keys ?? messageKeys(message.header, message.structure);
  return {
    uid: message.uid,
    flags: message.flags,
    internalDate: message.internalDate ?? Math.floor(Date.now() / 1000),
    message: {
      matchKey: keys.matchKey,
      mergeKey: mergeKey(keys, dedupe),
      messageId: keys.messageId,
      size: message.size,
      envelope: message.envelope ?? envelopeWire(message.header),
      structure: message.structure ?? EMPTY,
      header: message.header,
      pinned: message.content ?? null,
    },
  };
}

/** Shows a folder's arrivals to clients, oldest first. */
export async function placeFolder(context: SyncContext, folderId: number | null): Promise<void> {
  const ids = await context.store.read((tx) => unplacedCopies(tx, folderId));
  for (const page of chunks(ids, PLACE_BATCH)) {
    await context.store.write((tx) => placeCopies(tx, context.book, page));
    faultPoint('ingest.placed');
  }
}

/**
 * The mass-deletion guard: removals of more than a safe share of a folder, or of all of it, wait until a pull over a
 * fresh connection shows them again with the server's own word for each (VANISHED), or a person releases them. What we
 * remove ourselves does not count, nor does what has come to another folder of the account, nor a folder that did not
 * become smaller. Trash and Junk are emptied all the time, and nothing follows from it elsewhere.
 */
async function holdReason(
  context: SyncContext,
  folder: FolderRow,
  reader: FolderReader,
  seen: { readonly diff: FolderDiff; readonly lost: readonly number[] },
  options: PullOptions,
): Promise<string | null> {
  const { diff, lost } = seen;
  if (options.released || diff.vanished.length + lost.length === 0) return null;
  const { leaving, moved, present } = await context.store.read(async (tx) => ({
    leaving: new Set(await doomedUids(tx, folder.id)),
    moved: await movedCount(tx, folder, diff.vanished, lost),
    present: await countUids(tx, folder.id),
  }));
  // After a UIDVALIDITY reset nothing is known by its UID: what was found again counts.
  const known = (lost.length === 0 ? diff.known : lost.length + present) - leaving.size;
  const gone = diff.vanished.filter((uid) => !leaving.has(uid)).length + lost.length - moved;
  const many = gone > context.guard.count && gone > known * context.guard.share;
  const emptied = gone > 0 && gone + moved >= known && reader.state.exists < known;
  const usual = folder.role === 'trash' || folder.role === 'junk';
  if (!many && (!emptied || usual)) return null;
  if (options.fresh && diff.explicit && reader.resync !== null) return null;
  return `${gone} of ${known} mails vanished from "${folder.path}" at once`;
}
