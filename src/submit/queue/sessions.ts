import { SUBMIT_LIMITS } from '../limits.js';
import type { Relay } from '../relay.js';

interface Idle {
  readonly relay: Relay;
  readonly timer: NodeJS.Timeout;
}

/** The sessions with one upstream server: one that did well is kept for the next mail. */
export class Sessions {
  readonly #open: () => Promise<Relay>;
  readonly #idle: Idle[] = [];
  readonly #mails = new WeakMap<Relay, number>();
  readonly #busy = new Set<Relay>();
  #closed = false;

  constructor(open: () => Promise<Relay>) {
    this.#open = open;
  }

  /** Rejects as `Relay.open`. `used` is true for a session that may have died since. */
  async take(): Promise<{ readonly relay: Relay; readonly used: boolean }> {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      if (idle.relay.usable) return { relay: this.#lend(idle.relay), used: true };
    }
    return { relay: this.#lend(await this.#open()), used: false };
  }

  /** Gives a session back behind a transaction. */
  give(relay: Relay): void {
    this.#busy.delete(relay);
    const mails = (this.#mails.get(relay) ?? 0) + 1;
    const most = Math.min(relay.features.mails ?? SUBMIT_LIMITS.sessionMails, SUBMIT_LIMITS.sessionMails);
    if (this.#closed || mails >= most || !relay.usable) {
      relay.close();
      return;
    }
    this.#mails.set(relay, mails);
    const timer = setTimeout(() => {
      const at = this.#idle.findIndex((each) => each.relay === relay);
      if (at >= 0) this.#idle.splice(at, 1);
      relay.close();
    }, SUBMIT_LIMITS.sessionIdleMs);
    this.#idle.push({ relay, timer });
  }

  /** Ends what is under way: it is as if the server had hung up. */
  abort(): void {
    this.#closed = true;
    for (const relay of this.#busy) relay.abort();
  }

  #lend(relay: Relay): Relay {
    for (const other of this.#busy) if (!other.usable) this.#busy.delete(other);
    this.#busy.add(relay);
    if (this.#closed) relay.abort();
    return relay;
  }

  close(): void {
    this.#closed = true;
    for (const { relay, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      relay.close();
    }
  }
}
