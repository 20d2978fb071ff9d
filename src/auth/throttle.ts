import { LRUCache } from 'lru-cache';

export interface ThrottleOptions {
  /** Attempts that may fail before delays begin. */
  readonly free: number;
  /** Milliseconds that the first attempt after the free ones waits; it doubles from there. */
  readonly baseMs: number;
  /** Longest distance between two attempts, in milliseconds. */
  readonly maxMs: number;
  /** Milliseconds without an attempt after which a key is forgotten. */
  readonly forgetMs: number;
  /** Keys kept at most; the least recently used go first. */
  readonly keys: number;
}

interface Record {
  /** Attempts that failed or are not decided yet. */
  failures: number;
  /** When the next attempt may run, in the clock's milliseconds. */
  nextAt: number;
  lastAt: number;
}

/**
 * Spaces out the attempts made under a key. An attempt is counted as failed when it is admitted and taken back when it
 * succeeds, so that a thousand parallel guesses wait like a thousand sequential ones.
 */
export class Throttle {
  readonly #options: ThrottleOptions;
  readonly #records: LRUCache<string, Record>;

  constructor(options: ThrottleOptions) {
    this.#options = options;
    this.#records = new LRUCache({ max: options.keys });
  }

  /** Milliseconds until an attempt made now would run. */
  delay(key: string, now: number): number {
    const record = this.#current(key, now);
    return record === undefined ? 0 : Math.max(0, record.nextAt - now);
  }

  /** Takes the next slot and returns the milliseconds until it begins. */
  admit(key: string, now: number): number {
    const record = this.#current(key, now) ?? { failures: 0, nextAt: now, lastAt: now };
    const startsAt = Math.max(now, record.nextAt);
    record.failures += 1;
    record.lastAt = startsAt;
    record.nextAt = startsAt + this.#spacing(record.failures);
    this.#records.set(key, record);
    return startsAt - now;
  }

  /** The attempt was no failure: its count is taken back, and with it the wait that it caused. */
  forgive(key: string, now: number): void {
    const record = this.#records.get(key);
    if (record === undefined) return;
    record.failures -= 1;
    if (record.failures <= 0) this.#records.delete(key);
    else record.nextAt = Math.min(record.nextAt, now + this.#spacing(record.failures));
  }

  /** Forgets everything about the key. */
  clear(key: string): void {
    this.#records.delete(key);
  }

  #current(key: string, now: number): Record | undefined {
    const record = this.#records.get(key);
    return record !== undefined && now - record.lastAt < this.#options.forgetMs ? record : undefined;
  }

  #spacing(failures: number): number {
    const over = failures - this.#options.free;
    return over < 0 ? 0 : Math.min(this.#options.maxMs, this.#options.baseMs * 2 ** Math.min(over, 30));
  }
}
