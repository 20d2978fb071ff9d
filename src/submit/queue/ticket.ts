import type { Verdict } from './attempt.js';

/** What the client of a new mail is answered. */
export type Outcome =
  | { readonly kind: 'delivered'; readonly reply: string }
  /** Nobody gets it and the queue has forgotten it: it is the client's again. */
  | { readonly kind: 'refused'; readonly verdict: Verdict }
  | { readonly kind: 'queued'; readonly why: string };

/** A client that waits for the first try of its mail. */
export class Ticket {
  readonly outcome: Promise<Outcome>;
  #resolve: (outcome: Outcome) => void = () => undefined;
  #waiting = true;

  constructor() {
    this.outcome = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Whether the client still waits. */
  get waiting(): boolean {
    return this.#waiting;
  }

  /**
   * The mail is about to be handed back: from here on the client waits for `settle`, whatever the clock says. False when
   * it was answered already: then the mail is the queue's to see to.
   */
  claim(): boolean {
    const waiting = this.#waiting;
    this.#waiting = false;
    return waiting;
  }

  /** The client waits no longer, or is gone: whatever comes now is the queue's to see to. */
  leave(why: string): void {
    if (this.#waiting) this.settle({ kind: 'queued', why });
  }

  /** Only the first one counts. */
  settle(outcome: Outcome): void {
    this.#waiting = false;
    this.#resolve(outcome);
  }
}
