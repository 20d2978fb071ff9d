import type { StoredBody } from '../cache/stored-body.js';
import { keptMails, type OfflinePlace, offlinePlace, wishedPage } from '../store/offline.js';
import { type Clock, systemClock } from '../util/clock.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import { chunks } from '../util/group.js';
import type { SyncContext } from './context.js';
import type { Prefetch, PrefetchStatus } from './prefetch-types.js';
import { Signal } from './signal.js';

/** Copies looked at in one query, and files in one. */
const PAGE = 5_000;
const FILES = 500;
/** What is no longer wished for is removed, and all is counted anew, this often. */
const SWEEP_MS = 3_600_000;
const RETRY_MS = 60_000;
/** The longest that a timer takes. */
const LONG_MS = 2_147_483_647;
/** Of the budget: what is made free at once when newer mail needs the room of older. */
const EVICTED_SHARE = 0.05;
/** Copying from the cache goes in steps of this many octets. */
const STEP = 1 << 18;

interface Wanted {
  readonly copyId: number;
  readonly messageId: number;
  readonly internalDate: number;
}

/**
 * Fetches the bodies of one account ahead, newest first. What is on disk is the progress, so that a restart goes on where
 * it was. One mail at a time, at a bounded rate, over the connection that pulls use, and not while a client waits.
 */
export class Prefetcher {
  readonly #context: SyncContext;
  readonly #options: Prefetch;
  readonly #clock: Clock;
  readonly #wake = new Signal();
  /** By date; the newest is last. */
  #backlog: Wanted[] = [];
  #seen = 0;
  #wanted = 0;
  #sweptAt = Number.NEGATIVE_INFINITY;
  #full = false;
  #woken = false;

  constructor(context: SyncContext, options: Prefetch) {
    this.#context = context;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
  }

  /** The account was synced: there may be more to fetch, and its server answers. */
  wake(): void {
    this.#woken = true;
    this.#wake.raise();
  }

  status(): PrefetchStatus {
    const { policy, bodies } = this.#options;
    const kept = Math.max(0, this.#wanted - this.#backlog.length);
    return { policy, wanted: this.#wanted, kept, octets: bodies.octets, full: this.#full };
  }

  /** Until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    // Nothing before the first complete sync: that is what people wait for then.
    await this.#wake.wait(LONG_MS, signal);
    while (!signal.aborted) {
      try {
        await this.#pass(signal);
        await this.#wake.wait(SWEEP_MS, signal);
      } catch (error) {
        if (signal.aborted) return;
        this.#context.log.debug({ err: errorText(error) }, 'bodies could not be fetched ahead');
        await this.#wake.wait(RETRY_MS, signal);
      }
    }
  }

  async #pass(signal: AbortSignal): Promise<void> {
    do {
      this.#woken = false;
      if (this.#clock.now() - this.#sweptAt >= SWEEP_MS) await this.#sweep();
      await this.#look();
      // A mail that arrives meanwhile comes before the older ones.
      while (!this.#woken && !signal.aborted) {
        const next = this.#backlog.at(-1);
        if (next === undefined) break;
        if (!(await this.#fetch(next, signal))) return;
        this.#backlog.pop();
      }
    } while (this.#woken && !signal.aborted);
  }

  /** Adds to the backlog what has come since the last look. */
  async #look(): Promise<void> {
    const { wish, bodies } = this.#options;
    const found: Wanted[] = [];
    for (;;) {
      const { mails, last } = await this.#context.store.read((tx) =>
        wishedPage(tx, this.#context.account.id, wish(), this.#seen, PAGE),
      );
      if (last === null) break;
      this.#seen = last;
      this.#wanted += mails.length;
      found.push(...mails.filter(({ messageId }) => !bodies.has(String(messageId))));
    }
    if (found.length > 0) this.#backlog = byDate([...this.#backlog, ...found]);
  }

  /** False when there is no room for it. */
  async #fetch({ copyId, internalDate }: Wanted, signal: AbortSignal): Promise<boolean> {
    const { bodies, quiet, bytesPerSecond, cached, fetch } = this.#options;
    const place = await this.#context.store.read((tx) => offlinePlace(tx, copyId));
    if (!place || bodies.has(String(place.messageId))) return true;
    for (let rest = quiet.rest; rest > 0; rest = quiet.rest) await this.#clock.sleep(rest, signal);
    this.#full = !(await this.#makeRoom(place.size, internalDate));
    if (this.#full) return false;
    const started = this.#clock.now();
    const known = await cached(place.messageId);
    if (known !== null) {
      await this.#copy(place, known);
      return true;
    }
    try {
      await bodies.save(String(place.messageId), (sink) =>
        fetch({ ...place, accountId: this.#context.account.id }, sink),
      );
    } catch (error) {
      // It has gone or moved, which the next pull tells; any other failure ends this pass.
      if (isMergeboxError(error, 'nonexistent', 'uidvalidity')) return true;
      throw error;
    }
    const due = (place.size / bytesPerSecond) * 1_000 - (this.#clock.now() - started);
    if (due > 0) await this.#clock.sleep(due, signal);
    return true;
  }

  async #copy({ messageId }: OfflinePlace, known: StoredBody): Promise<void> {
    await this.#options.bodies.save(String(messageId), async (sink) => {
      sink.start(known.size);
      for (let at = 0; at < known.size; at += STEP) await sink.chunk(await known.read(at, at + STEP));
    });
  }

  /** Gives up the oldest bodies for one that is newer. */
  async #makeRoom(size: number, internalDate: number): Promise<boolean> {
    const { bodies } = this.#options;
    if (bodies.octets + size <= bodies.budget) return true;
    if (size > bodies.budget) return false;
    const kept = await this.#kept();
    const goal = Math.min(bodies.budget - size, bodies.budget * (1 - EVICTED_SHARE));
    for (const { key, date } of kept) {
      if (bodies.octets <= goal) break;
      if (date >= internalDate) break;
      await bodies.delete(key);
    }
    return bodies.octets + size <= bodies.budget;
  }

  /** Every body with the date of its newest copy, the oldest first. */
  async #kept(): Promise<{ key: string; date: number }[]> {
    const dates = new Map<string, number>();
    for (const page of chunks(this.#options.bodies.keys(), FILES)) {
      for (const key of page) dates.set(key, 0);
      for (const { messageId, internalDate } of await this.#copiesOf(page)) {
        dates.set(String(messageId), Math.max(internalDate, dates.get(String(messageId)) ?? 0));
      }
    }
    return [...dates].map(([key, date]) => ({ key, date })).sort((a, b) => a.date - b.date);
  }

  /** Removes bodies of mail that is gone, and of this account's that is not wished for any more; counts anew. */
  async #sweep(): Promise<void> {
    const { bodies, wish } = this.#options;
    const { since, maxBytes } = wish();
    for (const page of chunks(bodies.keys(), FILES)) {
      const copies = await this.#copiesOf(page);
      const needed = new Set(
        copies
          .filter(
            ({ accountId, internalDate, size }) =>
              accountId !== this.#context.account.id || (internalDate >= (since ?? 0) && size <= maxBytes),
          )
          .map(({ messageId }) => String(messageId)),
      );
      for (const key of page) if (!needed.has(key)) await bodies.delete(key);
    }
    this.#sweptAt = this.#clock.now();
    [this.#seen, this.#wanted, this.#backlog] = [0, 0, []];
  }

  #copiesOf(keys: readonly string[]): ReturnType<typeof keptMails> {
    return this.#context.store.read((tx) => keptMails(tx, keys.map(Number)));
  }
}

/** Sorted as numbers, since a hundred thousand comparisons by a function of ours would hold everything else up. */
function byDate(mails: readonly Wanted[]): Wanted[] {
  const keys = Float64Array.from(mails, ({ internalDate }, index) => Math.max(0, internalDate) * 4_194_304 + index);
  keys.sort();
  return Array.from(keys, (key) => mails[key % 4_194_304]!);
}
