import type { Clock } from '../util/clock.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { Content } from './content.js';
import { type RelayTimeouts, SUBMIT_LIMITS } from './limits.js';
import { type Header, prepare, type Reception, readHeader } from './message.js';
import { Relay } from './relay.js';
import { Refusal, type Reply, refusalOf } from './reply.js';
import type { SenderBook } from './sender.js';
import type { SendingAccount } from './types.js';

export interface TransactionContext {
  readonly user: string;
  readonly senders: SenderBook;
  readonly hostname: string;
  readonly timeouts: RelayTimeouts;
  readonly clock: Clock;
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

export interface Delivered {
  readonly account: SendingAccount;
  readonly reply: Reply;
  /** What belongs into the Sent folder. */
  readonly filed: Buffer;
}

interface Route {
  readonly account: SendingAccount;
  readonly relay: Relay;
}

/**
 * One mail from MAIL FROM to the answer behind its final dot. The upstream transaction runs beside the client's, opened
 * at the first RCPT, so that every recipient gets the verdict of the server that will deliver to it. All refusals are
 * thrown as `Refusal`.
 */
export class Transaction {
  readonly #context: TransactionContext;
  readonly #envelope: Envelope;
  /** The account of the envelope sender; null for the null sender, whose account only the From field tells. */
  readonly #account: SendingAccount | null;
  /** The verdict on every recipient, by address without case; null is acceptance. */
  readonly #recipients = new Map<string, { readonly address: string; readonly refusal: Refusal | null }>();
  #commands = 0;
  #route: Route | null = null;
  #aborted = false;

  /** Throws the refusal of a sender that is not the user's to use. */
  constructor(context: TransactionContext, envelope: Envelope) {
    this.#context = context;
    this.#envelope = envelope;
    // RFC 8098 §2: a read receipt has the null sender; whether it may go out is seen from its From field.
    this.#account = envelope.sender === '' ? null : owner(context.senders, envelope.sender, 'envelope sender');
  }

  /** Adds a recipient; throws the upstream server's refusal. */
  async recipient(address: string): Promise<void> {
    this.#commands += 1;
    if (this.#commands > SUBMIT_LIMITS.recipientCommands) {
      throw new Refusal(452, '4.5.3', 'too many recipients in one message');
    }
    const key = address.toLowerCase();
    const known = this.#recipients.get(key);
    if (known !== undefined) {
      if (known.refusal !== null) throw known.refusal;
      return;
    }
    const refusal = this.#account === null ? null : await this.#ask(this.#account, address);
    this.#recipients.set(key, { address, refusal });
    if (refusal !== null) throw refusal;
  }

  /** Sends the message to all accepted recipients; resolves once the upstream server has taken it. */
  async deliver(content: Content, reception: Omit<Reception, 'hostname' | 'at'>): Promise<Delivered> {
    const header = readHeader(content.bytes);
    const account = this.#accountOf(header);
    const { hostname, clock } = this.#context;
    const { wire, filed } = prepare(content.bytes, header, { ...reception, hostname, at: new Date(clock.now()) });
    const relay = await this.#routeFor(account);
    refuseMangling(relay, wire, content, header, this.#envelope.utf8, account);
    const reply = await this.#talk(account, () => relay.data(wire));
    if (reply.code < 200 || reply.code >= 300) throw refusalOf(reply, account.id);
    relay.close();
    return { account, reply, filed };
  }

  /** Ends the upstream transaction; nothing is sent. */
  abort(): void {
    this.#aborted = true;
    this.#route?.relay.close();
  }

  /** Every From address must be the user's; the first one's account sends (RFC 6409 §6.1). */
  #accountOf(header: Header): SendingAccount {
    const owners = header.from.map((address) => owner(this.#context.senders, address, 'From address'));
    const [account] = owners;
    if (account === undefined) throw new Refusal(550, '5.6.0', 'the message has no From address');
    return account;
  }

  /** The running upstream transaction when it is with that account's server and still alive, else a new one. */
  async #routeFor(account: SendingAccount): Promise<Relay> {
    if (this.#route?.account === account && this.#route.relay.usable) return this.#route.relay;
    this.#route?.relay.close();
    const relay = await this.#open(account);
    for (const { address, refusal } of this.#recipients.values()) {
      if (refusal !== null) continue;
      const reply = await this.#talk(account, () => relay.recipient(address, this.#envelope.utf8));
      if (reply.code >= 200 && reply.code < 300) continue;
      relay.close();
      const verdict = refusalOf(reply, account.id);
      // The client was told that this recipient is fine, so nobody gets the message and the answer names who does not.
      throw new Refusal(verdict.responseCode, verdict.message.split(' ')[0] ?? '5.0.0', `${address}: ${reply.text}`);
    }
    return relay;
  }

  /** The server's verdict on one recipient. */
  async #ask(account: SendingAccount, address: string): Promise<Refusal | null> {
    try {
      const relay = await this.#routeFor(account);
      const reply = await this.#talk(account, () => relay.recipient(address, this.#envelope.utf8));
      return reply.code >= 200 && reply.code < 300 ? null : refusalOf(reply, account.id);
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }

  /** Connects and gives MAIL FROM. */
  async #open(account: SendingAccount): Promise<Relay> {
    const { hostname, timeouts } = this.#context;
    const { smtp } = account;
    if (smtp === null) throw noServer(account);
    const relay = await this.#talk(account, () => Relay.open(smtp, hostname, timeouts));
    if (this.#aborted) {
      relay.close();
      throw new Refusal(451, '4.4.1', 'the transaction was ended');
    }
    this.#route = { account, relay };
    const { sender, size, utf8 } = this.#envelope;
    const reply = await this.#talk(account, () => relay.mail(sender, { size, utf8 }));
    if (reply.code < 200 || reply.code >= 300) {
      relay.close();
      throw refusalOf(reply, account.id);
    }
    return relay;
  }

  /** Runs one exchange with the upstream server; whatever goes wrong with the connection is for now: 451. */
  async #talk<T>(account: SendingAccount, exchange: () => Promise<T>): Promise<T> {
    try {
      return await exchange();
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      this.#context.log.warn({ account: account.id, code: error.code, error: errorText(error) }, 'sending is held up');
      if (error.code === 'authentication') {
        const text = `the SMTP server of account ${account.id} refuses the configured login; try again later`;
        throw new Refusal(451, '4.7.0', text);
      }
      throw new Refusal(
        451,
        '4.4.1',
        `the SMTP server of account ${account.id} cannot be used now: ${errorText(error)}`,
      );
    }
  }
}

function owner(senders: SenderBook, address: string, what: string): SendingAccount {
  const account = senders.owner(address);
  if (account === null) {
    throw new Refusal(550, '5.7.1', `the ${what} <${address}> belongs to none of your accounts`);
  }
  if (account.smtp === null) throw noServer(account);
  return account;
}

function noServer(account: SendingAccount): Refusal {
  return new Refusal(550, '5.7.1', `account ${account.id} has no SMTP server configured, so it sends no mail`);
}

/** What the server cannot carry is refused, never re-encoded (RFC 6152 §3, RFC 6531 §3.6, RFC 1870 §6.1). */
function refuseMangling(
  relay: Relay,
  wire: readonly Buffer[],
  content: Content,
  header: Header,
  utf8: boolean,
  account: SendingAccount,
): void {
  const { size, eightBitMime, smtpUtf8 } = relay.features;
  const octets = wire.reduce((sum, part) => sum + part.length, 0);
  const server = `the server of account ${account.id}`;
  if (size !== null && octets > size) {
    throw new Refusal(552, '5.3.4', `the message has ${octets} octets, ${server} takes ${size}`);
  }
  if (content.eightBit && !eightBitMime) {
    throw new Refusal(554, '5.6.3', `the message holds 8-bit text, which ${server} does not take (no 8BITMIME)`);
  }
  if (utf8 && header.eightBit && !smtpUtf8) {
    throw new Refusal(554, '5.6.9', `the header holds UTF-8, which ${server} does not take (no SMTPUTF8)`);
  }
}
