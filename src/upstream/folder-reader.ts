import { MergeboxError } from '../util/errors.js';
import type { FetchItems } from '../wire/response-fetch.js';
import { spreadRanges } from '../wire/response-set.js';
import { formatSet } from '../wire/set-builder.js';
import { RefusedError, refusal } from './errors.js';
import { MAX_MESSAGES, PAGE_BYTES, PAGE_MAX, PAGE_MIN, PAGE_START, PAGES_IN_FLIGHT } from './limits.js';
import { METADATA_ITEMS, PageCollector } from './page-collector.js';
import type { FolderReader, FolderRef, UidFlags, UpstreamMessage } from './port.js';
import type { ReaderLane } from './reader-lane.js';
import type { Opened, ReaderSession } from './reader-session.js';

type OnPage = (page: readonly UpstreamMessage[]) => Promise<void>;

/**
 * A folder opened on a lane. Its methods are jobs of their own, so that between them, and between pages, the lane can
 * serve bodies from other folders; coming back, the folder is opened again and must be the same.
 */
export class LaneFolderReader implements FolderReader {
  readonly state: FolderReader['state'];
  readonly flagsOffered: FolderReader['flagsOffered'];
  readonly resync: FolderReader['resync'];
  readonly #lane: ReaderLane;
  readonly #session: ReaderSession;
  readonly #ref: FolderRef;

  constructor(lane: ReaderLane, session: ReaderSession, path: string, opened: Opened) {
    this.#lane = lane;
    this.#session = session;
    this.#ref = { path, uidValidity: opened.state.uidValidity };
    this.state = opened.state;
    this.flagsOffered = opened.flagsOffered;
    this.resync = opened.resync;
  }

  uids(since?: number): Promise<Uint32Array> {
    // RFC 9051 §6.4.4: SINCE disregards time and zone, so that a day more makes up for any zone.
    const criterion = since === undefined ? 'ALL' : `SINCE ${imapDate(Math.max(0, since - 86_400))}`;
    return this.#run(async (session) => {
      if (session.exists === 0) return new Uint32Array(0);
      const uids = await search(session, this.#ref.path, criterion);
      if (!isAscending(uids)) uids.sort();
      return uids;
    });
  }

  flags(changedSince: string | null): Promise<readonly UidFlags[]> {
    return this.#run(async (session) => {
      if (session.exists === 0) return [];
      const found: UidFlags[] = [];
      const since = changedSince === null || this.state.highestModSeq === null ? '' : ` (CHANGEDSINCE ${changedSince})`;
      const fetch = (bytes: Buffer, items: FetchItems): boolean => {
        // An unsolicited one without UID tells nothing that can be kept; it comes again with the next pull.
        if (items.uid < 1 || items.flagsStart === -1) return true;
        found.push({ uid: items.uid, flags: session.flags.at(bytes, items.flagsStart, items.flagsEnd) });
        session.checkCount(found.length);
        return true;
      };
      await session.connection.run(`list flags of ${this.#ref.path}`, `UID FETCH 1:* (UID FLAGS)${since}`, { fetch });
      return found;
    });
  }

  async messages(uids: readonly number[], onPage: OnPage): Promise<void> {
    const fetching = new PageFetching(uids, this.#ref.path);
    let delivered = Promise.resolve();
    const deliver = (page: readonly UpstreamMessage[]): void => {
      delivered = delivered.then(() => onPage(page));
      // Awaited below; until then a failure must not count as unhandled.
      delivered.catch(() => undefined);
    };
    while (!fetching.done) {
      await this.#run((session) => fetching.run(session, this.#lane, deliver, () => delivered));
      // Outside the job: a page's owner may itself wait for a body on this lane.
      await delivered;
    }
  }

  /** A job on the connection that the folder was opened on; another one would have to be read from the start. */
  #run<T>(job: (session: ReaderSession) => Promise<T>): Promise<T> {
    const lost = this.#session.connection.failure;
    if (lost !== null) return Promise.reject(lost);
    return this.#lane.run('bulk', async (session) => {
      if (session !== this.#session) {
        throw this.#session.connection.failure ?? new MergeboxError('connection', 'the connection was replaced');
      }
      await session.ensure(this.#ref);
      return job(session);
    });
  }
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function imapDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  return `${date.getUTCDate()}-${MONTHS[date.getUTCMonth()]}-${date.getUTCFullYear()}`;
}

/** UID SEARCH, as ranges where the server has ESEARCH (RFC 4731), which tells nothing when nothing was found. */
async function search(session: ReaderSession, path: string, criterion: string): Promise<Uint32Array> {
  const esearch = session.capabilities.names.has('ESEARCH');
  const command = esearch ? `UID SEARCH RETURN (ALL) ${criterion}` : `UID SEARCH ${criterion}`;
  let found: Uint32Array | null = null;
  await session.connection.run(`list UIDs of ${path}`, command, {
    untagged: (response) => {
      if (response.kind === 'search') {
        session.checkCount(response.numbers.length + (found?.length ?? 0));
        // One answer may come in several lines.
        found = concat(found, Uint32Array.from(response.numbers));
      } else if (response.kind === 'esearch') {
        found = spreadRanges(response.all, 'ESEARCH', Math.min(MAX_MESSAGES * 2, session.exists + MAX_MESSAGES));
        session.checkCount(found.length);
      }
    },
  });
  if (found === null) throw new MergeboxError('protocol', `list UIDs of ${path}: the server gave no result`);
  return found;
}

function concat(a: Uint32Array | null, b: Uint32Array): Uint32Array {
  if (a === null || a.length === 0) return b;
  const both = new Uint32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}

function isAscending(numbers: Uint32Array): boolean {
  for (let at = 1; at < numbers.length; at += 1) if (numbers[at]! <= numbers[at - 1]!) return false;
  return true;
}

interface Page {
  readonly collector: PageCollector;
  readonly count: number;
  readonly done: Promise<void>;
}

/** Fetches metadata page by page with several commands in flight, and can stop between pages and go on later. */
class PageFetching {
  readonly #uids: readonly number[];
  readonly #path: string;
  #next = 0;
  #pageSize = PAGE_START;

  constructor(uids: readonly number[], path: string) {
    this.#uids = uids;
    this.#path = path;
  }

  get done(): boolean {
    return this.#next >= this.#uids.length;
  }

  /** Goes on until all is fetched or the lane has something more urgent to do. */
  async run(
    session: ReaderSession,
    lane: ReaderLane,
    deliver: OnPageNow,
    delivered: () => Promise<void>,
  ): Promise<void> {
    const inFlight: Page[] = [];
    try {
      for (;;) {
        while (inFlight.length < PAGES_IN_FLIGHT && !this.done && !lane.hasUrgent) inFlight.push(this.#send(session));
        const page = inFlight.shift();
        if (page === undefined) return;
        await page.done;
        this.#adapt(page);
        deliver(page.collector.page());
        // Whoever takes the pages sets the pace, unless somebody waits for a body.
        await Promise.race([delivered(), lane.whenUrgent()]);
      }
    } finally {
      await Promise.allSettled(inFlight.map((page) => page.done));
    }
  }

  #send(session: ReaderSession): Page {
    const uids = this.#uids.slice(this.#next, this.#next + this.#pageSize);
    this.#next += uids.length;
    const set = formatSet([...uids].sort((a, b) => a - b));
    const collector = new PageCollector(uids, session.flags);
    const doing = `fetch metadata from ${this.#path}`;
    const done = session.connection.send(doing, `UID FETCH ${set} ${METADATA_ITEMS}`, collector).then((answer) => {
      const refused = { status: 'NO', code: answer.code?.name ?? null, text: answer.text } as const;
      if (answer.status !== 'OK' && !isExpungeIssued(refused)) {
        throw refusal(doing, { ...refused, status: answer.status });
      }
    });
    done.catch(() => undefined);
    return { collector, count: uids.length, done };
  }

  #adapt({ collector, count }: Page): void {
    const fitting = Math.floor(PAGE_BYTES / Math.max(1, collector.size / count));
    this.#pageSize = Math.min(PAGE_MAX, Math.max(PAGE_MIN, fitting));
  }
}

type OnPageNow = (page: readonly UpstreamMessage[]) => void;

/**
 * RFC 2180 §4.1, RFC 5530 §3: some of the messages are gone, the others were told. Nothing else of what NO may mean
 * counts as messages being gone.
 */
export function isExpungeIssued(refused: { readonly code: string | null; readonly text: string }): boolean {
  return (
    refused.code === 'EXPUNGEISSUED' ||
    (refused.code === null && /^some of the requested messages no longer exist/i.test(refused.text))
  );
}

/** As `isExpungeIssued` for an error. */
export function saysExpunged(error: unknown): boolean {
  return error instanceof RefusedError && isExpungeIssued({ code: error.responseCode, text: error.serverText });
}
