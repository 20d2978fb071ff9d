/** Counts connections by key (a user, an address) up to a cap. */
export class SessionCounter {
  readonly #cap: number;
  readonly #counts = new Map<string, number>();

  constructor(cap: number) {
    this.#cap = cap;
  }

  /** False, and nothing counted, when the cap is reached. */
  admit(key: string): boolean {
    const count = this.#counts.get(key) ?? 0;
    if (count >= this.#cap) return false;
    this.#counts.set(key, count + 1);
    return true;
  }

  release(key: string): void {
    const count = (this.#counts.get(key) ?? 0) - 1;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }
}
