import type { MailboxObject } from 'imapflow';
import type { Clock } from '../util/clock.js';
import { errorText, isMergeboxError, type MergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { abortedError, connectionError } from './errors.js';
import type { MutateClient } from './mutate-client.js';
import type { LaneContext } from './reader-lane.js';
import type { Timing } from './timing.js';

/** How long the connection waits for another task before it goes back to listening; a batch comes task by task. */
const LINGER_MS = 50;
/** Pause after an IDLE that ended by itself at once, as a server does that refuses it. */
const IDLE_PAUSE_MS = 30_000;

interface Watch {
  readonly path: string;
  readonly onEvent: () => void;
  readonly onLost: (error: Error) => void;
  /** How the folder was when a task began that may have left it; null until it is watched. */
  seen: Snapshot | null;
}

interface Snapshot {
  /** Made by the SELECT of that time, and kept up to date until the next one. */
  readonly mailbox: MailboxObject;
  readonly uidValidity: bigint;
  readonly exists: number;
  readonly uidNext: number;
  readonly highestModSeq: bigint | undefined;
}

/**
 * The one connection that changes things: tasks one after the other, made when needed and again after a loss. In
 * between it listens in the watched folder with IDLE (RFC 2177), and tells when something happened there, also while it
 * was away in another folder.
 */
export class MutateLane {
  readonly #open: (signal: AbortSignal) => Promise<MutateClient>;
  readonly #timing: Timing;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #mutex = new Mutex();
  #client: MutateClient | null = null;
  #watch: Watch | null = null;
  #pending = 0;
  /** Counts the tasks so far. */
  #tasks = 0;
  #timer: NodeJS.Timeout | null = null;
  #event: NodeJS.Timeout | null = null;
  #abort = new AbortController();

  constructor(open: (signal: AbortSignal) => Promise<MutateClient>, { timing, log, clock }: LaneContext) {
    this.#open = open;
    this.#timing = timing;
    this.#log = log;
    this.#clock = clock;
  }

  /** Runs `task` alone on the connection, IDLE ended. Rejects as it does, or with why there is no connection. */
  run<T>(task: (client: MutateClient) => Promise<T>): Promise<T> {
    this.#pending += 1;
    this.#stopTimer();
    const { signal } = this.#abort;
    this.#tasks += 1;
    return this.#mutex.run(async () => {
      try {
        if (signal.aborted) throw signal.reason;
        const client = await this.#ready(signal);
        await client.breakIdle();
        this.#compare(client);
        return await task(client);
      } finally {
        this.#pending -= 1;
        if (this.#pending === 0) this.#rest(LINGER_MS);
      }
    });
  }

  /** Listens in `path` from now on, in place of what was watched before. The returned function ends it. */
  async watch(path: string, onEvent: () => void, onLost: (error: Error) => void): Promise<() => void> {
    const watch: Watch = { path, onEvent, onLost, seen: null };
    await this.run(async (client) => {
      watch.seen = snapshot(await client.select(path));
      this.#watch = watch;
    });
    return () => {
      if (this.#watch !== watch) return;
      this.#watch = null;
      this.#stopEvent();
      // Ends the IDLE; the connection then rests.
      this.run(async () => undefined).catch(() => undefined);
    };
  }

  /** Drops the connection; tasks that run or wait reject with `aborted`, a watch just ends. */
  disconnect(): void {
    const error = abortedError('talk to the server');
    this.#watch = null;
    this.#stopTimer();
    this.#stopEvent();
    this.#abort.abort(error);
    this.#abort = new AbortController();
    const client = this.#client;
    this.#client = null;
    client?.close(error);
  }

  async #ready(signal: AbortSignal): Promise<MutateClient> {
    if (this.#client !== null && !this.#client.closed) return this.#client;
    const client = await this.#open(signal).catch((error: unknown) => {
      throw signal.aborted ? signal.reason : connectionError('connect', error);
    });
    if (signal.aborted) {
      client.close(signal.reason);
      throw signal.reason;
    }
    client.onClose = (error) => this.#onClose(client, error);
    client.onEvent = () => this.#onEvent(client);
    this.#client = client;
    return client;
  }

  #onClose(client: MutateClient, error: MergeboxError): void {
    if (this.#client !== client) return;
    this.#client = null;
    this.#stopTimer();
    this.#log.debug({ reason: errorText(error) }, 'connection for changes closed');
    this.#lose(error);
  }

  #lose(error: Error): void {
    const watch = this.#watch;
    this.#watch = null;
    this.#stopEvent();
    watch?.onLost(error);
  }

  /** Tells of events in the watched folder, of several close together once. */
  #onEvent(client: MutateClient): void {
    if (this.#watch !== null && client.selected?.path === this.#watch.path) this.#tell();
  }

  #tell(): void {
    this.#event ??= setTimeout(() => {
      this.#event = null;
      this.#watch?.onEvent();
    }, this.#timing.coalesceMs);
  }

  /** What to do when there is nothing to do: listen, or close what nobody needs. */
  #rest(delayMs: number): void {
    this.#stopTimer();
    if (this.#client === null) return;
    if (this.#watch === null) {
      this.#timer = setTimeout(() => this.#closeIdle(), this.#timing.idleCloseMs);
      this.#timer.unref();
    } else {
      this.#timer = setTimeout(() => void this.#listen(), delayMs);
    }
  }

  #closeIdle(): void {
    const client = this.#client;
    this.#client = null;
    client?.close(abortedError('idle'));
  }

  /** Goes back to the watched folder and listens there until a task or the renewal comes. */
  async #listen(): Promise<void> {
    const client = await this.#mutex
      .run(() => this.#return())
      .catch((error: unknown) => {
        // The folder is gone or denied: without it there is nothing to watch.
        if (isMergeboxError(error) && this.#watch !== null) this.#lose(error);
        return null;
      });
    if (client === null || this.#pending > 0 || this.#watch === null) return;
    this.#stopTimer();
    this.#timer = setTimeout(() => this.#renew(), this.#timing.idleRenewMs);
    const start = this.#clock.now();
    const tasks = this.#tasks;
    await client.idle();
    // A task or the renewal has ended it, and goes on from there or is through already; else it ended by itself.
    if (this.#tasks !== tasks || this.#client !== client || this.#watch === null) return;
    this.#rest(this.#clock.now() - start < 1_000 ? IDLE_PAUSE_MS : LINGER_MS);
  }

  async #return(): Promise<MutateClient | null> {
    const [client, watch] = [this.#client, this.#watch];
    if (client === null || watch === null || this.#pending > 0 || client.idling) return null;
    await client.select(watch.path);
    this.#compare(client);
    return client;
  }

  /** A round trip, which finds a dead connection, and a new IDLE after it. */
  #renew(): void {
    this.run((client) => client.noop()).catch(() => undefined);
  }

  /**
   * Whenever the watched folder is selected between tasks: tells when it was selected anew and is not as it was left. A
   * task may have come back to it by itself, and what SELECT shows is no event.
   */
  #compare(client: MutateClient): void {
    const [watch, mailbox] = [this.#watch, client.selected];
    if (watch === null || mailbox === null || mailbox.path !== watch.path) return;
    if (watch.seen !== null && watch.seen.mailbox !== mailbox && changed(watch.seen, mailbox)) this.#tell();
    watch.seen = snapshot(mailbox);
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #stopEvent(): void {
    if (this.#event !== null) clearTimeout(this.#event);
    this.#event = null;
  }
}

function snapshot(mailbox: MailboxObject): Snapshot {
  const { uidValidity, exists, uidNext, highestModseq } = mailbox;
  return { mailbox, uidValidity, exists, uidNext, highestModSeq: highestModseq };
}

function changed(left: Snapshot, now: MailboxObject): boolean {
  return (
    left.uidValidity !== now.uidValidity ||
    left.exists !== now.exists ||
    left.uidNext !== now.uidNext ||
    left.highestModSeq !== now.highestModseq
  );
}
