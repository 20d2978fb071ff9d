import { setTimeout as delay } from 'node:timers/promises';
import type { AccountBook } from '../store/account-book.js';
import { pruneExpunged } from '../store/feed.js';
import { PLACE_BATCH, placeCopies, unplacedCopies } from '../store/place.js';
import type { Store } from '../store/store.js';
import { faultPoint } from '../util/fault.js';
import { chunks } from '../util/group.js';
import type { Log } from '../util/log.js';
import type { SyncContext } from './context.js';
import { AccountEngine } from './engine.js';

const DAY_MS = 86_400_000;

/**
 * All accounts of one user. The very first sync collects the mail of every account before any of it is shown, so that
 * UIDs follow the dates across accounts; a slow account holds that up only until a deadline, and an account that fails
 * not at all.
 */
export class UserSync {
  readonly engines: readonly AccountEngine[];
  readonly #store: Store;
  readonly #book: AccountBook;
  readonly #log: Log;
  readonly #deadlineMs: number;
  readonly #stop = new AbortController();
  #open = false;
  #opening: Promise<void> = Promise.resolve();
  #tidying: Promise<void> = Promise.resolve();

  constructor(
    store: Store,
    book: AccountBook,
    contexts: readonly SyncContext[],
    options: { log: Log; firstSyncSeconds: number },
  ) {
    this.#store = store;
    this.#book = book;
    this.#log = options.log;
    this.#deadlineMs = options.firstSyncSeconds * 1000;
    this.engines = contexts.map((context) => new AccountEngine(context, () => this.#open));
    const byId = new Map(this.engines.map((engine) => [engine.accountId, engine]));
    store.onCommit(({ accounts }) => {
      for (const id of accounts) byId.get(id)?.owed();
    });
  }

  async start(): Promise<void> {
    const opened = await this.#store.read((tx) => tx.get("SELECT value FROM meta WHERE key = 'opened'"));
    this.#open = opened !== undefined;
    for (const engine of this.engines) engine.start();
    this.#tidying = this.#tidy();
    this.#opening = this.#openMailboxes().catch((error: unknown) => {
      if (!this.#stop.signal.aborted) this.#log.error({ err: error }, 'first sync could not be shown');
    });
  }

  /** Once a day: what no client comes back for is forgotten. */
  async #tidy(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#store
        .write((tx) => pruneExpunged(tx))
        .catch((error: unknown) => this.#log.warn({ err: error }, 'old removals were not forgotten'));
      await delay(DAY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** Whether the merged mailboxes show what the first sync found. */
  get opened(): boolean {
    return this.#open;
  }

  /** Resolves when they do. */
  whenOpened(): Promise<void> {
    return this.#opening;
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.engines.map((engine) => engine.stop()));
    await this.#opening;
    await this.#tidying;
  }

  /** Shows everything collected so far in the order of its dates; from then on arrivals are shown as they come. */
  async #openMailboxes(): Promise<void> {
    if (!this.#open) {
      const looks = Promise.all(this.engines.map((engine) => engine.firstLook));
      const late = new AbortController();
      const deadline = delay(this.#deadlineMs, undefined, {
        signal: AbortSignal.any([late.signal, this.#stop.signal]),
      });
      deadline.catch(() => undefined);
      await Promise.race([looks, deadline]);
      late.abort();
    }
    await this.#placeAll();
    if (this.#open) return;
    await this.#store.write((tx) => tx.run("INSERT INTO meta (key, value) VALUES ('opened', '1')"));
    faultPoint('ingest.opened');
    this.#open = true;
    // What came in between the two.
    await this.#placeAll();
  }

  async #placeAll(): Promise<void> {
    const ids = await this.#store.read((tx) => unplacedCopies(tx, null));
    for (const page of chunks(ids, PLACE_BATCH)) {
      await this.#store.write((tx) => placeCopies(tx, this.#book, page));
      faultPoint('ingest.placed');
    }
  }
}
