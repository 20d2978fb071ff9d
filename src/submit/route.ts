import { errorText, isMergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { RelayTimeouts } from './limits.js';
import { Relay } from './relay.js';
import { Refusal, refusalOf, succeeded } from './reply.js';
import type { SendingAccount } from './types.js';

export interface RouteContext {
  readonly hostname: string;
  readonly timeouts: RelayTimeouts;
  readonly log: Log;
}

export interface Envelope {
  /** Empty for the null sender. */
  readonly sender: string;
  /** The octets the client announced (RFC 1870). */
  readonly size: number | null;
  /** Whether the client asked for SMTPUTF8. */
  readonly utf8: boolean;
}

/**
 * The way of one mail to the server of an account: the connection with MAIL FROM and the accepted recipients given, made
 * when it is first needed and again when it was lost while the client took its time. Failures are thrown as `Refusal`.
 */
export class Route {
  readonly #context: RouteContext;
  readonly #envelope: Envelope;
  readonly #accepted: () => Iterable<string>;
  #relay: Relay | null = null;
  #account: SendingAccount | null = null;
  /** Why the account's server cannot be used for this mail; asked once, not once per recipient. */
  #refusal: Refusal | null = null;
  #closed = false;

  /** `accepted` yields the recipients that were accepted so far. */
  constructor(context: RouteContext, envelope: Envelope, accepted: () => Iterable<string>) {
    this.#context = context;
    this.#envelope = envelope;
    this.#accepted = accepted;
  }

  /** One exchange that sends nothing yet, so that it may be repeated over a new connection when the old one is dead. */
  async ask<T>(account: SendingAccount, exchange: (relay: Relay) => Promise<T>): Promise<T> {
    if (this.#account !== account) this.#switchTo(account);
    if (this.#refusal !== null) throw this.#refusal;
    if (this.#relay?.usable) {
      try {
        return await exchange(this.#relay);
      } catch (error) {
        if (!isMergeboxError(error, 'connection')) throw this.#heldUp(account, error);
      }
    }
    const relay = await this.#open(account);
    return await this.#talk(account, () => exchange(relay));
  }

  /** The one exchange that must not be repeated: the content. */
  async finish<T>(account: SendingAccount, exchange: (relay: Relay) => Promise<T>): Promise<T> {
    const relay = this.#relay;
    if (relay === null) throw new Refusal(451, '4.4.1', 'the connection to the upstream server is gone');
    return await this.#talk(account, () => exchange(relay));
  }

  /** Ends the upstream transaction; what was not finished is not sent. */
  close(): void {
    this.#closed = true;
    this.#relay?.close();
    this.#relay = null;
  }

  #switchTo(account: SendingAccount): void {
    this.#relay?.close();
    this.#relay = null;
    this.#refusal = null;
    this.#account = account;
  }

  async #open(account: SendingAccount): Promise<Relay> {
    this.#relay = null;
    try {
      const relay = await this.#connect(account);
      this.#relay = relay;
      return relay;
    } catch (error) {
      if (error instanceof Refusal) this.#refusal = error;
      throw error;
    }
  }

  async #connect(account: SendingAccount): Promise<Relay> {
    const { smtp, id } = account;
    if (smtp === null)
      throw new Refusal(550, '5.7.1', `account ${id} has no SMTP server configured, so it sends no mail`);
    const { hostname, timeouts } = this.#context;
    const relay = await this.#talk(account, () => Relay.open(smtp, hostname, timeouts));
    try {
      if (this.#closed) throw new Refusal(451, '4.4.1', 'the transaction was ended');
      await this.#introduce(relay, account);
      return relay;
    } catch (error) {
      relay.close();
      throw error;
    }
  }

  async #introduce(relay: Relay, account: SendingAccount): Promise<void> {
    const { sender, size, utf8 } = this.#envelope;
    const mail = await this.#talk(account, () => relay.mail(sender, { size, utf8 }));
    if (!succeeded(mail)) throw refusalOf(mail, account.id);
    for (const address of this.#accepted()) {
      const reply = await this.#talk(account, () => relay.recipient(address, utf8));
      // The client was told that this one is fine, so nobody gets the message, and the answer names who does not.
      if (!succeeded(reply)) throw refusalOf({ ...reply, text: `${address}: ${reply.text}` }, account.id);
    }
  }

  async #talk<T>(account: SendingAccount, exchange: () => Promise<T>): Promise<T> {
    try {
      return await exchange();
    } catch (error) {
      throw this.#heldUp(account, error);
    }
  }

  /** Whatever goes wrong with the connection is so for now: 451, and the client keeps the mail. */
  #heldUp(account: SendingAccount, error: unknown): unknown {
    if (!isMergeboxError(error)) return error;
    const text = errorText(error);
    this.#context.log.warn({ account: account.id, code: error.code, error: text }, 'sending is held up');
    if (error.code === 'authentication') {
      return new Refusal(451, '4.7.0', `the SMTP server of account ${account.id} refuses the configured login`);
    }
    return new Refusal(451, '4.4.1', `the SMTP server of account ${account.id} cannot be used now: ${text}`);
  }
}
