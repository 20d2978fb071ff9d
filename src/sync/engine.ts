import { setTimeout as delay } from 'node:timers/promises';
import { actionCounts } from '../store/actions.js';
import { foldersOf, saveNamespacePrefix, syncFolderList } from '../store/folders.js';
import type { FolderRow } from '../store/rows.js';
import type { WriteTx } from '../store/store.js';
import { explainVanished, vanishedCopies } from '../store/vanish.js';
import { reopenWindows } from '../store/window.js';
import type { FolderState } from '../upstream/port.js';
import { backoffDelay } from '../util/backoff.js';
import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { chunks } from '../util/group.js';
import { Mutex } from '../util/mutex.js';
import { chooseFolders, trimFolders } from './choose.js';
import type { SyncContext } from './context.js';
import { drainOnce, nextRetry } from './drain.js';
import { oweRetirements } from './execute-retire.js';
import { keepMail } from './keep-mail.js';
import { isListingKnown } from './known-listing.js';
import { asksForPatience, MAX_RETRY_MS, retryDelay } from './pacing.js';
import { Prefetcher } from './prefetch.js';
import type { PrefetchStatus } from './prefetch-types.js';
import { type PullResult, pullFolder } from './pull.js';
import { refreshQuota } from './refresh-quota.js';
import { followRenames } from './renamed.js';
import { Signal } from './signal.js';

export type EngineState = 'starting' | 'syncing' | 'idle' | 'offline' | 'held' | `failed: ${string}`;

/** Milliseconds between two looks at the quota. */
const QUOTA_MS = 600_000;
/** Mails whose disappearance one unit explains. */
const EXPLAINED = 50;
/** A connection that lasted this long was a good one. */
const LASTING_MS = 60_000;

/**
 * Keeps one account and the store in agreement: one loop pulls (when told by IDLE, on schedule, on demand), one drains
 * the action list (as soon as something is owed). Either fails and retries on its own with backoff; neither holds a
 * transaction while it awaits the server.
 */
export class AccountEngine {
  readonly #context: SyncContext;
  readonly #stop = new AbortController();
  readonly #pullSignal = new Signal();
  readonly #drainSignal = new Signal();
  readonly #keepSignal = new Signal();
  readonly #loops: Promise<void>[] = [];
  readonly #prefetcher: Prefetcher | null;
  readonly #secondLook = new Mutex();
  /** Settles when the first look at the folders that are merged is over, well or not. */
  readonly firstLook: Promise<void>;
  #firstLookDone: () => void = () => undefined;
  #mayPlace: () => boolean;
  #state: EngineState = 'starting';
  #lastSync: number | null = null;
  #lastError: string | null = null;
  #failures = 0;
  /** Until when the server asked to be left alone, ms since the epoch. */
  #pausedUntil = 0;
  #released = false;
  /** When the quota was asked for. */
  #quotaAt = 0;
  #fresh = false;
  #unwatch: (() => void) | null = null;
  #watching = false;
  #inboxEvent = false;
  /** When all folders are looked at next, by the clock of `performance`, however often the watched one is meanwhile. */
  #fullRoundAt = 0;
  /** Connections lost one soon after the other. */
  #losses = 0;
  #missing: ReadonlySet<string> = new Set();
  /** Whether the account has folders that are not synced. */
  #unseen = false;
  #rounds: { promise: Promise<RoundResult>; resolve: (r: RoundResult) => void; reject: (e: unknown) => void } | null =
    null;

  /** `mayPlace` tells whether arrivals may be shown yet (after the first sync of all accounts). */
  constructor(context: SyncContext, mayPlace: () => boolean) {
    this.#context = context;
    this.#prefetcher = context.prefetch === undefined ? null : new Prefetcher(context, context.prefetch);
    this.#mayPlace = mayPlace;
    this.firstLook = new Promise((resolve) => {
      this.#firstLookDone = resolve;
    });
  }

  get accountId(): number {
    return this.#context.account.id;
  }

  get name(): string {
    return this.#context.account.name;
  }

  status(): EngineStatus {
    return {
      state: this.#state,
      lastSync: this.#lastSync === null ? null : new Date(this.#lastSync).toISOString(),
      lastError: this.#lastError,
      ...(this.#prefetcher === null ? {} : { offline: this.#prefetcher.status() }),
    };
  }

  start(): void {
    this.#loops.push(this.#pullLoop(), this.#drainLoop(), this.#keepLoop());
    if (this.#prefetcher !== null) this.#loops.push(this.#prefetcher.run(this.#stop.signal));
  }

  async stop(): Promise<void> {
    this.#stop.abort(new MergeboxError('aborted', 'the account is being stopped'));
    this.#unwatch?.();
    await this.#context.upstream.disconnect();
    await Promise.all(this.#loops);
    // A loop that was between two steps may have connected again.
    await this.#context.upstream.disconnect();
    this.#rounds?.reject(new MergeboxError('aborted', 'the account is being stopped'));
  }

  /** Actions were added for this account. */
  owed(): void {
    this.#drainSignal.raise();
  }

  /** Believes what its folders show now, whatever the mass-deletion guard says, once. */
  async release(): Promise<void> {
    this.#released = true;
    try {
      await this.round();
    } finally {
      this.#released = false;
    }
  }

  /** A look at all folders that starts after the call; rejects when it fails. */
  round(): Promise<RoundResult> {
    if (!this.#rounds) {
      let resolve: (r: RoundResult) => void = () => undefined;
      let reject: (e: unknown) => void = () => undefined;
      const promise = new Promise<RoundResult>((yes, no) => {
        resolve = yes;
        reject = no;
      });
      promise.catch(() => undefined);
      this.#rounds = { promise, resolve, reject };
    }
    this.#pullSignal.raise();
    return this.#rounds.promise;
  }

  /** Syncs until nothing is owed and a further look changes nothing. */
  async settle(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const { changed, held } = await this.#steadyRound(signal);
      if (held) throw new MergeboxError('refused', `${held}; see "mergebox release"`);
      const counts = (await this.#context.store.read(actionCounts)).get(this.accountId);
      if (counts && counts.parked > 0)
        throw new MergeboxError('refused', `${counts.parked} actions were refused by the server`);
      if (!changed && (counts?.pending ?? 0) === 0) return keepMail(this.#context, signal);
      if ((counts?.pending ?? 0) > 0) {
        this.#drainSignal.raise();
        await abortable(delay(20), signal);
      }
    }
  }

  /** A round; once more when it was called off because the guard's second look renewed the connections meanwhile. */
  async #steadyRound(signal: AbortSignal): Promise<RoundResult> {
    try {
      return await abortable(this.round(), signal);
    } catch (error) {
      if (!isMergeboxError(error, 'aborted') || signal.aborted || this.#stop.signal.aborted) throw error;
      return await abortable(this.round(), signal);
    }
  }

  async #pullLoop(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#pause();
      if (signal.aborted) return;
      const asked = this.#rounds;
      const quick = this.#inboxEvent && this.#watching && asked === null && performance.now() < this.#fullRoundAt;
      this.#rounds = null;
      this.#inboxEvent = false;
      this.#pullSignal.clear();
      try {
        const result = quick ? await this.#inboxRound() : await this.#fullRound();
        if (!quick) {
          await this.#refreshQuota(asked !== null);
          this.#fullRoundAt = performance.now() + this.#context.pollSeconds * 1000;
        }
        asked?.resolve(result);
        this.#succeeded(result);
        // What came before the folder was listened to, and after it was looked at, is told by nobody.
        if (await this.#watch()) this.#inboxEvent = true;
        else await this.#pullSignal.wait(Math.max(0, this.#fullRoundAt - performance.now()), signal);
      } catch (error) {
        asked?.reject(error);
        this.#firstLookDone();
        if (signal.aborted) return;
        const wait = this.#failed(error);
        if (!this.#isPaused) await this.#pullSignal.wait(wait, signal);
      }
    }
  }

  async #drainLoop(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      await this.#pause();
      if (signal.aborted) return;
      try {
        while (!signal.aborted && (await drainOnce(this.#context, (id) => this.#pullNow(id))) > 0) failures = 0;
        const retry = await nextRetry(this.#context);
        const wait = retry === null ? 60_000 : Math.max(100, retry * 1000 - Date.now());
        await this.#drainSignal.wait(Math.min(wait, 60_000), signal);
      } catch (error) {
        if (signal.aborted) return;
        failures += 1;
        this.#context.log.warn({ err: errorText(error) }, 'changes could not be sent upstream');
        const wait = retryDelay(error, failures);
        if (asksForPatience(error)) this.#pauseFor(wait);
        await delay(wait, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  /** Beside the others, since it may take long: what Mergebox decides for is kept here. */
  async #keepLoop(): Promise<void> {
    const { signal } = this.#stop;
    if (this.#context.account.authority !== 'mergebox') return;
    while (!signal.aborted) {
      await this.#keepSignal.wait(this.#context.pollSeconds * 1000, signal);
      await this.#pause();
      if (signal.aborted) return;
      await keepMail(this.#context, signal).catch((error: unknown) => {
        if (!signal.aborted) this.#context.log.warn({ err: errorText(error) }, 'mail could not be kept here');
      });
    }
  }

  /** The folder that IDLE watches, alone; a full round when something vanished there and must be explained. */
  async #inboxRound(): Promise<RoundResult> {
    const inbox = (await this.#folders()).find((folder) => folder.role === 'inbox');
    if (!inbox) return this.#fullRound();
    const result = await this.#pull(inbox);
    if ((await this.#vanished()).length > 0) return this.#fullRound();
    await trimFolders(this.#context, [inbox]);
    return result;
  }

  async #fullRound(): Promise<RoundResult> {
    if (this.#state === 'starting' || this.#state === 'offline') this.#state = 'syncing';
    const { store, upstream, account, book, window } = this.#context;
    const features = await upstream.connect();
    const listed = await upstream.listFolders();
    if (!listed.some((folder) => folder.role === 'inbox')) {
      throw new MergeboxError('protocol', 'list folders: the server shows no INBOX');
    }
    await followRenames(this.#context, listed);
    const settled = await isListingKnown(this.#context, listed, features.prefix);
    const update = async (tx: WriteTx): Promise<string[]> => {
      await saveNamespacePrefix(tx, account.id, features.prefix);
      await reopenWindows(tx, account.id, window?.() ?? null);
      const { folders, unseen } = await chooseFolders(tx, this.#context, listed, features.prefix);
      this.#unseen = unseen;
      return syncFolderList(tx, book, account, folders, this.#missing);
    };
    const missing = settled ? [] : await store.write(update);
    faultPoint('folders.listed');
    this.#missing = new Set(missing);
    // Before the look, so that nothing comes in between; a server that refuses is heard after it.
    await this.#watch().catch(() => undefined);
    const first = await this.#pullChanged();
    // What the guard holds may have come to a folder that was looked at later.
    const looked = first.held === null ? first : await this.#pullChanged();
    // A folder that is missing now is forgotten by the next round.
    const changed = first.changed || looked.changed || missing.length > 0;
    const { held } = looked;
    await oweRetirements(this.#context);
    const vanished = await this.#vanished();
    if (vanished.length === 0) {
      const trimmed = await trimFolders(this.#context, await this.#folders());
      return { changed: changed || trimmed, held };
    }
    // What vanished may have been moved to a folder that was looked at before: all of them are looked at once more.
    const second = await this.#pullChanged();
    // Each takes a while, and clients have something to write as well.
    const taken = new Set<number>();
    for (const page of second.complete ? chunks(vanished, EXPLAINED) : []) {
      await store.write((tx) => explainVanished(tx, book, account.id, page, this.#unseen, taken));
    }
    faultPoint('vanish.explained');
    return { changed: true, held: held ?? second.held };
  }

  /** Now and then, and whenever somebody asks for a sync. */
  async #refreshQuota(asked: boolean): Promise<void> {
    if (!asked && Date.now() - this.#quotaAt < QUOTA_MS) return;
    this.#quotaAt = Date.now();
    await refreshQuota(this.#context);
  }

  #vanished(): Promise<number[]> {
    return this.#context.store.read((tx) => vanishedCopies(tx, this.accountId));
  }

  /**
   * Looks at all folders cheaply and pulls those that differ, merged ones first. Not complete when one that could be
   * looked at before cannot be now.
   */
  async #pullChanged(): Promise<RoundResult & { readonly complete: boolean }> {
    const folders = await this.#folders();
    const states = await this.#context.upstream.status(folders.map((folder) => folder.path));
    let changed = false;
    let held: string | null = null;
    let complete = true;
    const inbox = folders.find((folder) => folder.role === 'inbox');
    const merged = folders.filter((folder) => folder.role !== null);
    for (const folder of [...merged, ...folders.filter((each) => each.role === null)]) {
      if (folder === folders.find((each) => each.role === null)) this.#firstLookDone();
      const state = states.get(folder.path);
      if (!state && folder.uid_validity !== null) complete = false;
      if (!state || isCurrent(folder, state)) continue;
      const told = inbox && inbox !== folder ? await this.#pullTold(inbox) : null;
      changed ||= told?.changed ?? false;
      held ??= told?.held ?? null;
      const result = await this.#pull(folder).catch((error: unknown) => {
        // Denied or gone since it was listed: what it shows stays, and the others are looked at all the same.
        if (folder.role === 'inbox' || !isMergeboxError(error, 'refused', 'nonexistent', 'noperm')) throw error;
        this.#context.log.warn({ folder: folder.path, err: errorText(error) }, 'a folder could not be looked at');
        return null;
      });
      if (result === null) complete = false;
      changed ||= result?.changed ?? false;
      held ??= result?.held ?? null;
    }
    this.#firstLookDone();
    return { changed, held, complete };
  }

  /** Mail that comes while all folders are looked at does not wait for the last of them. */
  async #pullTold(inbox: FolderRow): Promise<PullResult | null> {
    if (!this.#inboxEvent) return null;
    this.#inboxEvent = false;
    return this.#pull(inbox);
  }

  async #pull(folder: Pick<FolderRow, 'id'>): Promise<PullResult> {
    const options = { place: this.#mayPlace, released: this.#released, fresh: this.#fresh };
    const result = await pullFolder(this.#context, folder.id, options);
    if (result.held === null || this.#fresh) return result;
    // The guard's second look: over connections that know nothing of the first. One at a time, for it cuts all others.
    return this.#secondLook.run(async () => {
      await this.#context.upstream.disconnect();
      this.#watching = false;
      await this.#context.upstream.connect();
      faultPoint('guard.renewed');
      return pullFolder(this.#context, folder.id, { ...options, fresh: true });
    });
  }

  /** For the executor: a look that recognises what an earlier try delivered. */
  async #pullNow(folderId: number): Promise<void> {
    await this.#pull({ id: folderId });
  }

  async #folders(): Promise<FolderRow[]> {
    const folders = await this.#context.store.read((tx) => foldersOf(tx, this.accountId));
    const usable = folders.filter((folder) => folder.selectable === 1 && folder.state === 'live');
    return usable.sort((a, b) => Number(b.role === 'inbox') - Number(a.role === 'inbox'));
  }

  /** Listens in the folder that IDLE watches; true when it did not before. */
  async #watch(): Promise<boolean> {
    if (this.#watching) return false;
    const inbox = (await this.#folders()).find((folder) => folder.role === 'inbox');
    if (!inbox) return false;
    this.#watching = true;
    const onEvent = (): void => {
      this.#inboxEvent = true;
      this.#pullSignal.raise();
    };
    const since = Date.now();
    const onLost = (error: Error): void => {
      this.#watching = false;
      this.#context.log.info({ err: errorText(error) }, 'connection lost');
      // A server that hangs up again and again is not to be called back at once each time.
      this.#losses = Date.now() - since > LASTING_MS ? 1 : this.#losses + 1;
      const { signal } = this.#stop;
      delay(backoffDelay(this.#losses, { baseMs: 200, maxMs: MAX_RETRY_MS }), undefined, { signal, ref: false }).then(
        () => this.#pullSignal.raise(),
        () => undefined,
      );
    };
    try {
      this.#unwatch = await this.#context.upstream.watch(inbox.path, onEvent, onLost);
      return true;
    } catch (error) {
      this.#watching = false;
      throw error;
    }
  }

  #succeeded({ held }: RoundResult): void {
    this.#failures = 0;
    this.#lastSync = Date.now();
    if (this.#state !== 'idle' && held === null) this.#context.log.info('in sync');
    this.#state = held === null ? 'idle' : 'held';
    this.#lastError = held;
    this.#drainSignal.raise();
    this.#keepSignal.raise();
    this.#prefetcher?.wake();
  }

  /** Milliseconds to wait. */
  #failed(error: unknown): number {
    this.#failures += 1;
    this.#lastError = errorText(error);
    this.#state = isMergeboxError(error, 'authentication') ? 'failed: authentication' : 'offline';
    this.#context.log.warn({ err: this.#lastError, state: this.#state }, 'sync failed');
    const wait = retryDelay(error, this.#failures);
    if (asksForPatience(error)) this.#pauseFor(wait);
    return wait;
  }

  get #isPaused(): boolean {
    return this.#pausedUntil > Date.now();
  }

  #pauseFor(ms: number): void {
    this.#pausedUntil = Math.max(this.#pausedUntil, Date.now() + ms);
  }

  /** Resolves when a pause that the server asked for is over. */
  async #pause(): Promise<void> {
    const { signal } = this.#stop;
    while (this.#isPaused && !signal.aborted) {
      const left = this.#pausedUntil - Date.now();
      await delay(Math.max(1, left), undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}

export interface EngineStatus {
  readonly state: EngineState;
  /** ISO 8601; null before the first. */
  readonly lastSync: string | null;
  readonly lastError: string | null;
  /** How far fetching ahead has come; absent where nothing is. */
  readonly offline?: PrefetchStatus;
}

export interface RoundResult {
  readonly changed: boolean;
  readonly held: string | null;
}

/** Whether STATUS shows what the last pull ended with; without a MODSEQ flags may have changed unseen. */
function isCurrent(folder: FolderRow, state: FolderState): boolean {
  return (
    folder.held === null &&
    folder.uid_validity === state.uidValidity &&
    folder.uid_next === state.uidNext &&
    folder.exists_count === state.exists &&
    folder.mod_seq !== null &&
    folder.mod_seq === state.highestModSeq
  );
}

async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  let onAbort: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}
