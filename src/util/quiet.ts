/** Tells background work when nobody is waiting for anything. */
export class Quiet {
  readonly #ms: number;
  #running = 0;
  #endedAt = Number.NEGATIVE_INFINITY;

  /** Quiet is when no work has run for `ms`. */
  constructor(ms: number) {
    this.#ms = ms;
  }

  /** Runs work that somebody waits for. */
  async during<T>(task: () => Promise<T>): Promise<T> {
    this.#running += 1;
    try {
      return await task();
    } finally {
      this.#running -= 1;
      this.#endedAt = performance.now();
    }
  }

  /** Milliseconds until it may be quiet; 0 when it is. */
  get rest(): number {
    if (this.#running > 0) return this.#ms;
    return Math.max(0, Math.ceil(this.#endedAt + this.#ms - performance.now()));
  }
}
