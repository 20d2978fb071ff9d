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
  #closed = false;

  constructor(open: () => Promise<Relay>) {
    this.#open = open;
  }

  /** Rejects as `Relay.open`. `used` is true for a session that may have died since. */
  async take(): Promise<{ readonly relay: Relay; readonly used: boolean }> {
    for (let idle = this.#idle.pop(); idle !== undefined; idle = this.#idle.pop()) {
      clearTimeout(idle.timer);
      if (idle.relay.usable) return { relay: idle.relay, used: true };
    }
    return { relay: await this.#open(), used: false };
  }

  /** Gives a session back behind a transaction. */
  give(relay: Relay): void {
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

  close(): void {
    this.#closed = true;
    for (const { relay, timer } of this.#idle.splice(0)) {
      clearTimeout(timer);
      relay.close();
    }
  }
}
