import { backoffDelay } from '../../util/backoff.js';
import type { Clock } from '../../util/clock.js';
import type { SendWhen } from '../types.js';
import { Heap } from './heap.js';

/** A mail as scheduling sees it; times are milliseconds since the Unix epoch. */
export interface Job {
  readonly id: number;
  readonly sender: string;
  priority: number;
  nextTry: number;
  /** It waited for its server: mail of one sender that did leaves one after the other, in the order it came. */
  ordered: boolean;
  /** Taken out while it was in a heap. */
  gone: boolean;
  /** A person or a sync said: now. */
  released: boolean;
  /** What a new mail is sent from, as long as its client waits: nothing has to be read back. */
  fresh: unknown;
}

/** What became of a job. `unreachable`: its server could not be used at all, for this mail or any other. */
export type JobResult =
  | { readonly kind: 'finished' }
  | { readonly kind: 'again'; readonly at: number }
  | { readonly kind: 'unreachable'; readonly patience: 'short' | 'long' };

export interface LaneOptions {
  readonly run: (job: Job) => Promise<JobResult>;
  readonly clock: Clock;
  /** Jobs at once. */
  readonly width: number;
  readonly when: SendWhen;
  /** Whether the account was reachable lately. */
  readonly reachable: () => boolean;
  /** First wait for a server that cannot be reached, in milliseconds. */
  readonly retryMs: number;
  /** Told whenever the server turned out to be of no use for now. */
  readonly onDown: () => void;
}

/** The longest wait for a server that cannot be reached, and for one that refuses our login. */
const MAX_DOWN_MS = 300_000;
const LONGEST_TIMER_MS = 86_400_000;
/** How soon after a failure a new mail is reason enough to try the server again. */
const NEW_MAIL_MS = 1_000;

/**
 * Which mail goes next to one server, and when: by priority, then in the order it came. Pure scheduling; `run` does the
 * work. While the server cannot be reached nothing is tried but one mail at a time, at growing intervals; what waited
 * meanwhile then leaves in order per sender.
 */
export class Lane {
  readonly #options: LaneOptions;
  readonly #ready = new Heap<Job>((a, b) => (a.priority === b.priority ? a.id < b.id : a.priority > b.priority));
  readonly #later = new Heap<Job>((a, b) => a.nextTry < b.nextTry);
  /** Of a lane that sends when reachable or synced: what waits for that. */
  readonly #parked = new Set<Job>();
  readonly #jobs = new Map<number, Job>();
  readonly #active = new Set<number>();
  /** Ordered jobs under way and those that wait for them, by sender. */
  readonly #busy = new Set<string>();
  readonly #behind = new Map<string, Heap<Job>>();
  readonly #ordered = new Map<string, number>();
  #failures = 0;
  #downUntil = 0;
  #failedAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #closed = false;
  #idle: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** A job is under way, or one could be. */
  get busy(): boolean {
    return this.#active.size > 0 || (this.#ready.size > 0 && this.#options.clock.now() >= this.#downUntil);
  }

  /** Takes a mail; a `fresh` one is tried at once unless older mail of its sender waits for the server. */
  add(job: Job): void {
    if (this.#jobs.has(job.id)) return;
    this.#jobs.set(job.id, job);
    const now = this.#options.clock.now();
    if (job.fresh !== null) {
      if (this.#downUntil > now) this.#downUntil = Math.max(now, this.#failedAt + NEW_MAIL_MS);
      if (this.#failures > 0 || this.#ordered.has(job.sender)) this.#order(job);
    } else if (job.nextTry <= now) this.#order(job);
    this.#place(job);
    this.#pump();
  }

  /** Takes a mail out; false when it is being sent this moment. */
  remove(id: number): boolean {
    if (this.#active.has(id)) return false;
    const job = this.#jobs.get(id);
    if (job === undefined) return true;
    this.#forget(job);
    return true;
  }

  /** Tries these mails now, whatever they waited for; all of them without `id`. */
  retry(id?: number): void {
    this.#downUntil = 0;
    for (const job of id === undefined ? this.#jobs.values() : [this.#jobs.get(id)]) {
      if (job === undefined || this.#active.has(job.id)) continue;
      job.released = true;
      job.nextTry = 0;
    }
    for (const job of this.#later.clear()) this.#place(job);
    this.#release((job) => job.released);
  }

  /** The account was synced: what waited for that may go. */
  synced(): void {
    if (this.#parked.size > 0) this.#release(() => true);
  }

  /** Starts nothing more; resolves when what is under way has ended. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#active.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#idle = resolve;
    });
  }

  #release(which: (job: Job) => boolean): void {
    for (const job of [...this.#parked]) {
      if (!which(job)) continue;
      this.#parked.delete(job);
      job.released = true;
      this.#place(job);
    }
    this.#pump();
  }

  #place(job: Job): void {
    const { clock, when, reachable } = this.#options;
    if (job.gone) return;
    if (job.nextTry > clock.now()) this.#later.push(job);
    else if (when === 'now' || job.released || (when === 'reachable' && reachable())) this.#ready.push(job);
    else this.#parked.add(job);
  }

  #pump(): void {
    if (this.#closed) return;
    const now = this.#options.clock.now();
    while ((this.#later.peek()?.nextTry ?? Number.POSITIVE_INFINITY) <= now) this.#place(this.#later.pop()!);
    const width = this.#failures > 0 ? 1 : this.#options.width;
    while (now >= this.#downUntil && this.#active.size < width) {
      const job = this.#ready.pop();
      if (job === undefined) break;
      if (!job.gone) this.#start(job);
    }
    this.#arm(now);
  }

  #start(job: Job): void {
    if (job.ordered) {
      if (this.#busy.has(job.sender)) {
        const line = this.#behind.get(job.sender) ?? new Heap<Job>((a, b) => a.id < b.id);
        line.push(job);
        this.#behind.set(job.sender, line);
        return;
      }
      this.#busy.add(job.sender);
    }
    this.#active.add(job.id);
    void this.#options.run(job).then(
      (result) => this.#ended(job, result),
      // What is not foreseen waits like any failure; `run` has logged it.
      () => this.#ended(job, { kind: 'again', at: this.#options.clock.now() + MAX_DOWN_MS }),
    );
  }

  #ended(job: Job, result: JobResult): void {
    this.#active.delete(job.id);
    job.fresh = null;
    if (job.ordered) this.#unblock(job.sender);
    if (result.kind === 'unreachable') this.#down(job, result.patience);
    else {
      this.#failures = 0;
      this.#disorder(job);
      job.released = false;
      if (result.kind === 'finished') this.#forget(job);
      else {
        job.nextTry = result.at;
        this.#place(job);
      }
    }
    if (this.#active.size === 0) this.#idle?.();
    this.#pump();
  }

  #down(job: Job, patience: 'short' | 'long'): void {
    const { clock, retryMs, onDown } = this.#options;
    this.#failures += 1;
    this.#failedAt = clock.now();
    const baseMs = patience === 'long' ? MAX_DOWN_MS : retryMs;
    this.#downUntil = this.#failedAt + backoffDelay(this.#failures, { baseMs, maxMs: Math.max(baseMs, MAX_DOWN_MS) });
    this.#order(job);
    this.#place(job);
    // What comes later is ordered when it comes.
    if (this.#failures === 1) for (const each of this.#ready) this.#order(each);
    onDown();
  }

  /** Lets the next one of a sender go. */
  #unblock(sender: string): void {
    this.#busy.delete(sender);
    const line = this.#behind.get(sender);
    let next = line?.pop();
    while (next?.gone) next = line?.pop();
    if (next !== undefined) this.#ready.push(next);
    if (line?.size === 0) this.#behind.delete(sender);
  }

  #order(job: Job): void {
    if (job.ordered) return;
    job.ordered = true;
    this.#ordered.set(job.sender, (this.#ordered.get(job.sender) ?? 0) + 1);
  }

  #disorder(job: Job): void {
    if (!job.ordered) return;
    job.ordered = false;
    const left = (this.#ordered.get(job.sender) ?? 1) - 1;
    if (left > 0) this.#ordered.set(job.sender, left);
    else this.#ordered.delete(job.sender);
  }

  #forget(job: Job): void {
    job.gone = true;
    this.#disorder(job);
    this.#jobs.delete(job.id);
    this.#parked.delete(job);
  }

  #arm(now: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const due = Math.min(
      this.#later.peek()?.nextTry ?? Number.POSITIVE_INFINITY,
      this.#ready.size > 0 && this.#downUntil > now ? this.#downUntil : Number.POSITIVE_INFINITY,
    );
    if (due === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#pump(), Math.min(Math.max(due - now, 1), LONGEST_TIMER_MS));
  }
}
