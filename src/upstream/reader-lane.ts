import { backoffDelay } from '../util/backoff.js';
import type { Clock } from '../util/clock.js';
import { errorText, MergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { Mutex } from '../util/mutex.js';
import { abortedError, connectionError } from './errors.js';
import type { ReaderSession } from './reader-session.js';
import { isTooManyConnections, retryHintMs } from './refusals.js';
import type { Timing } from './timing.js';

/** How long a server that has too many connections is not asked for one more, unless it says itself. */
const BARRED_MS = 60_000;
const MAX_BARRED_MS = 3_600_000;

/** Bodies are what a person waits for, so they go before everything else. */
export type Priority = 'body' | 'bulk';

export interface LaneContext {
  readonly timing: Timing;
  readonly log: Log;
  readonly clock: Clock;
}

interface Job {
  readonly run: (session: ReaderSession) => Promise<void>;
  readonly reject: (error: Error) => void;
}

/**
 * One reader connection, made when there is something to do and again after a loss, with a queue of jobs that have it
 * to themselves. It closes itself when nobody needs it.
 */
export class ReaderLane {
  readonly #open: (signal: AbortSignal) => Promise<ReaderSession>;
  readonly #timing: Timing;
  readonly #log: Log;
  readonly #clock: Clock;
  readonly #bodies: Job[] = [];
  readonly #bulk: Job[] = [];
  /** Lets one folder be read at a time, jobs of others in between. */
  readonly reads = new Mutex();
  #session: ReaderSession | null = null;
  #busy = false;
  #usedAt = 0;
  #idle: NodeJS.Timeout | null = null;
  #abort = new AbortController();
  #urgent: (() => void) | null = null;
  /** Reads that hold or await `reads`. */
  readers = 0;
  /** Until when the server takes no connection for it, by the clock, and how often in a row it took none. */
  #barredUntil = 0;
  #refusals = 0;

  constructor(open: (signal: AbortSignal) => Promise<ReaderSession>, { timing, log, clock }: LaneContext) {
    this.#open = open;
    this.#timing = timing;
    this.#log = log;
    this.#clock = clock;
  }

  /** Aborts with the next `disconnect`. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get connected(): boolean {
    return this.#session !== null;
  }

  /** Whether the server had too many connections when this one was asked for, a while ago. */
  get barred(): boolean {
    return this.#session === null && this.#clock.now() < this.#barredUntil;
  }

  /** Jobs that run or wait. */
  get load(): number {
    return this.#bodies.length + this.#bulk.length + (this.#busy ? 1 : 0);
  }

  /** Whether a job of higher priority waits, for which a long one should make room. */
  get hasUrgent(): boolean {
    return this.#bodies.length > 0;
  }

  /** Resolves when `hasUrgent` becomes true; only the latest asker is told. */
  whenUrgent(): Promise<void> {
    if (this.hasUrgent) return Promise.resolve();
    return new Promise((resolve) => {
      this.#urgent = resolve;
    });
  }

  /** Runs `task` alone on the connection. Rejects as the task does, or with why there is no connection. */
  run<T>(priority: Priority, task: (session: ReaderSession) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = async (session: ReaderSession): Promise<void> => {
        try {
          resolve(await task(session));
        } catch (error) {
          // A fault of the server's has closed the connection, whose reason is the better one.
          reject(error);
        }
      };
      (priority === 'body' ? this.#bodies : this.#bulk).push({ run, reject });
      if (priority === 'body') this.#urgent?.();
      void this.#pump();
    });
  }

  /** Closes the connection now; running and waiting jobs reject with `aborted`. It can be used again. */
  disconnect(): void {
    const error = abortedError('read from the server');
    this.#abort.abort(error);
    this.#abort = new AbortController();
    for (const job of this.#takeAll()) job.reject(error);
    this.#drop(error);
  }

  async #pump(): Promise<void> {
    if (this.#busy) return;
    this.#busy = true;
    this.#stopIdling();
    try {
      for (let job = this.#next(); job !== undefined; job = this.#next()) {
        const session = await this.#ready().catch((error: unknown) => connectionError('connect', error));
        if (session instanceof MergeboxError) {
          // One failure answers all: each try may take until the deadline.
          for (const waiting of [job, ...this.#takeAll()]) waiting.reject(session);
        } else {
          await job.run(session);
          this.#usedAt = this.#clock.now();
        }
      }
    } finally {
      this.#busy = false;
      this.#startIdling();
    }
  }

  #takeAll(): Job[] {
    return [...this.#bodies.splice(0), ...this.#bulk.splice(0)];
  }

  #next(): Job | undefined {
    return this.#bodies.shift() ?? this.#bulk.shift();
  }

  async #ready(): Promise<ReaderSession> {
    const known = this.#session;
    if (known !== null && (await this.#stillAlive(known))) return known;
    const { signal } = this.#abort;
    const session = await this.#open(signal).catch((error: unknown) => {
      this.#noteRefusal(error);
      // Being called off breaks whatever step it was at, which then complains of something else.
      throw signal.aborted ? signal.reason : error;
    });
    this.#refusals = 0;
    if (signal.aborted) {
      session.connection.close(signal.reason);
      throw signal.reason;
    }
    session.connection.onClose = (error) => {
      if (this.#session === session) this.#session = null;
      this.#log.debug({ reason: errorText(error) }, 'reader connection closed');
    };
    this.#session = session;
    return session;
  }

  #noteRefusal(error: unknown): void {
    if (!isTooManyConnections(error)) return;
    this.#refusals += 1;
    const delayMs = retryHintMs(error) ?? backoffDelay(this.#refusals, { baseMs: BARRED_MS, maxMs: MAX_BARRED_MS });
    this.#barredUntil = this.#clock.now() + delayMs;
    this.#log.warn({ err: errorText(error), seconds: Math.round(delayMs / 1_000) }, 'doing with fewer connections');
  }

  /** A connection that rested is tried first, since servers and firewalls drop such without a word. */
  async #stillAlive(session: ReaderSession): Promise<boolean> {
    if (session.connection.closed) return false;
    if (this.#clock.now() - this.#usedAt < this.#timing.probeAfterMs) return true;
    const stale = (): void => session.connection.close(new MergeboxError('timeout', 'the connection went stale'));
    const patience = setTimeout(stale, Math.min(10_000, this.#timing.silenceMs));
    try {
      if ((await session.connection.send('try the connection', 'NOOP')).status === 'OK') return true;
      stale();
      return false;
    } catch {
      return false;
    } finally {
      clearTimeout(patience);
    }
  }

  #startIdling(): void {
    if (this.#session === null) return;
    this.#idle = setTimeout(() => this.#drop(new MergeboxError('connection', 'idle')), this.#timing.idleCloseMs);
    this.#idle.unref();
  }

  #stopIdling(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = null;
  }

  #drop(error: MergeboxError): void {
    this.#stopIdling();
    const session = this.#session;
    this.#session = null;
    session?.connection.close(error);
  }
}
