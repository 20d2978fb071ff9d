/**
 * Octets of messages that clients are sending or that are being stored, over all connections. Half of it is the most that
 * one user gets, so that nobody can keep the others from storing mail.
 */
export class LiteralRoom {
  readonly #most: number;
  readonly #byUser = new Map<string, number>();
  #used = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** False, and nothing taken, when there is no room for so many more. */
  take(user: string, octets: number): boolean {
    const own = (this.#byUser.get(user) ?? 0) + octets;
    if (this.#used + octets > this.#most || own > this.#most / 2) return false;
    this.#used += octets;
    this.#byUser.set(user, own);
    return true;
  }

  give(user: string, octets: number): void {
    this.#used -= octets;
    const own = (this.#byUser.get(user) ?? 0) - octets;
    if (own > 0) this.#byUser.set(user, own);
    else this.#byUser.delete(user);
  }
}
