import { MergeboxError } from '../util/errors.js';

/** Lets `width` tasks run at once and `queue` more wait; a further one is refused with `unavailable`. */
export class Gate {
  readonly #width: number;
  readonly #queue: number;
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(width: number, queue: number) {
    this.#width = width;
    this.#queue = queue;
  }

  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running < this.#width) this.#running += 1;
    else await this.#wait();
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#running -= 1;
      // The place is handed on without being freed, so that nobody slips in between.
      else next();
    }
  }

  #wait(): Promise<void> {
    if (this.#waiting.length >= this.#queue) {
      throw new MergeboxError('unavailable', 'checking a login: too many at once; try again in a moment');
    }
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
