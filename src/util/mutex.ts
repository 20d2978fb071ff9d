/** A fair lock: callers run one after the other, in the order they asked. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();

  /** Runs `task` when every earlier one has settled; its result or error is the caller's. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(task);
    this.#tail = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }
}

/** One Mutex per key, kept only while somebody holds or awaits it. */
export class KeyedMutex<K> {
  readonly #locks = new Map<K, { mutex: Mutex; users: number }>();

  async run<T>(key: K, task: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { mutex: new Mutex(), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    try {
      return await lock.mutex.run(task);
    } finally {
      lock.users -= 1;
      if (lock.users === 0) this.#locks.delete(key);
    }
  }
}
