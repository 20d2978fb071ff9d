import type { SMTPServerSession } from 'smtp-server';
import { SUBMIT_LIMITS } from './limits.js';
import type { Outcome, Ticket } from './queue/ticket.js';
import type { Transaction } from './transaction.js';

/** The part of smtp-server's connection that is used here. */
export interface ServerConnection {
  readonly session: SMTPServerSession;
  send(code: number, data?: string | string[] | null, context?: string | false): void;
  close(): void;
}

const ENHANCED = /^[245]\.\d{1,3}\.\d{1,3}(?: |$)/;

/** What one connected client has done so far; its timers end with `end`. */
export class Client {
  transaction: Transaction | null = null;
  /** True from DATA until its answer: the server waits for it when it closes. */
  delivering = false;
  readonly #connection: ServerConnection;
  #failedLogins = 0;
  #badReplies = 0;
  #deadline: NodeJS.Timeout | null = null;
  #ticket: Ticket | null = null;
  readonly #keywords: () => readonly string[];

  /** `keywords` are those that the EHLO reply has to name besides smtp-server's own. */
  constructor(connection: ServerConnection, keywords: () => readonly string[]) {
    this.#connection = connection;
    this.#keywords = keywords;
    this.#wrapSend();
    this.#within(SUBMIT_LIMITS.loginMs, 'no login in time');
  }

  /** The client logged in: the time for that is no concern any more. */
  loggedIn(): void {
    this.#clearDeadline();
  }

  /** Counts a failed login; false when it was the last one allowed. */
  failedLogin(): boolean {
    this.#failedLogins += 1;
    return this.#failedLogins < SUBMIT_LIMITS.failedLogins;
  }

  startDelivery(): void {
    this.delivering = true;
    this.#within(SUBMIT_LIMITS.dataMs, 'the message took too long');
  }

  endDelivery(): void {
    this.delivering = false;
    this.transaction = null;
    this.#clearDeadline();
  }

  /** The content is complete; from here on the client waits for us. */
  contentRead(): void {
    this.#clearDeadline();
  }

  /** What became of the mail within the time a client waits; a client that leaves before leaves it to the queue. */
  async outcome(ticket: Ticket, waitMs: number): Promise<Outcome> {
    this.#ticket = ticket;
    const timer = setTimeout(() => ticket.leave('not sent yet'), waitMs);
    try {
      return await ticket.outcome;
    } finally {
      clearTimeout(timer);
      this.#ticket = null;
    }
  }

  /** The server is closing: what the client waits for goes on without it. */
  answerNow(): void {
    this.#ticket?.leave('Mergebox is stopping');
  }

  /** Says 421 and closes (RFC 5321 §3.8). */
  dismiss(text: string): void {
    this.#connection.send(421, `4.3.2 ${text}`);
  }

  /** The connection is gone. */
  end(): void {
    this.#clearDeadline();
    // Nobody could be told of a refusal any more.
    this.#ticket?.leave('the client left');
    this.transaction = null;
  }

  /**
   * smtp-server puts its own enhanced status code in front of every reply; where our text starts with one (an upstream
   * server's, for instance), that is the one that counts. Bad replies are counted here because this sees all of them,
   * among them those to malformed AUTH exchanges, which smtp-server lets go on for ever.
   */
  #wrapSend(): void {
    const send = this.#connection.send.bind(this.#connection);
    this.#connection.send = (code, data, context) => {
      // Only EHLO is answered with several lines.
      if (code === 250 && Array.isArray(data)) {
        send(code, [...data, ...this.#keywords()], context);
        return;
      }
      const ownCode = typeof data === 'string' && ENHANCED.test(data);
      send(code, data, ownCode ? false : context);
      if (code < 400 || code === 421) return;
      this.#badReplies += 1;
      if (this.#badReplies >= SUBMIT_LIMITS.badReplies) send(421, '4.7.0 too many errors', false);
    };
  }

  #within(ms: number, text: string): void {
    this.#clearDeadline();
    this.#deadline = setTimeout(() => this.dismiss(text), ms);
  }

  #clearDeadline(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline);
    this.#deadline = null;
  }
}
