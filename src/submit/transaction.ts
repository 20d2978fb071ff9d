import type { Clock } from '../util/clock.js';
import type { Content } from './content.js';
import { SUBMIT_LIMITS } from './limits.js';
import { type Header, prepare, type Reception, readHeader } from './message.js';
import type { RelayFeatures } from './relay.js';
import { Refusal, type Reply, refusalOf, succeeded } from './reply.js';
import { type Envelope, Route, type RouteContext } from './route.js';
import type { SenderBook } from './sender.js';
import type { SendingAccount } from './types.js';

export interface TransactionContext extends RouteContext {
  readonly senders: SenderBook;
  readonly clock: Clock;
}

export interface Delivered {
  readonly account: SendingAccount;
  readonly reply: Reply;
  /** What belongs into the Sent folder. */
  readonly filed: Buffer;
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
  readonly #route: Route;
  #commands = 0;

  /** Throws the refusal of a sender that is not the user's to use. */
  constructor(context: TransactionContext, envelope: Envelope) {
    this.#context = context;
    this.#envelope = envelope;
    // RFC 8098 §2: a read receipt has the null sender; whether it may go out is seen from its From field.
    this.#account = envelope.sender === '' ? null : owner(context.senders, envelope.sender, 'envelope sender');
    this.#route = new Route(context, envelope, () => this.#accepted());
  }

  /** Adds a recipient; throws the upstream server's refusal. */
  async recipient(address: string): Promise<void> {
    this.#commands += 1;
    if (this.#commands > SUBMIT_LIMITS.recipientCommands) {
      throw new Refusal(452, '4.5.3', 'too many recipients in one message');
    }
    const key = address.toLowerCase();
    const known = this.#recipients.get(key);
    if (known === undefined) {
      const refusal = this.#account === null ? null : await this.#ask(this.#account, address);
      this.#recipients.set(key, { address, refusal });
      if (refusal !== null) throw refusal;
    } else if (known.refusal !== null) throw known.refusal;
  }

  /** Sends the message to all accepted recipients; resolves once the upstream server has taken it. */
  async deliver(content: Content, reception: Omit<Reception, 'hostname' | 'at'>): Promise<Delivered> {
    const header = readHeader(content.bytes);
    const account = this.#accountOf(header);
    const { hostname, clock } = this.#context;
    const { wire, filed } = prepare(content.bytes, header, { ...reception, hostname, at: new Date(clock.now()) });
    const octets = wire.reduce((sum, part) => sum + part.length, 0);
    const started = await this.#route.ask(account, (relay) => {
      this.#refuseMangling(relay.features, octets, content, header, account);
      return relay.data();
    });
    if (started.code !== 354) throw refusalOf(started, account.id);
    const reply = await this.#route.finish(account, (relay) => relay.content(wire));
    if (!succeeded(reply)) throw refusalOf(reply, account.id);
    this.#route.close();
    return { account, reply, filed };
  }

  /** Ends the upstream transaction; nothing is sent. */
  abort(): void {
    this.#route.close();
  }

  /** Every From address must be the user's; the first one's account sends (RFC 6409 §6.1). */
  #accountOf(header: Header): SendingAccount {
    const owners = header.from.map((address) => owner(this.#context.senders, address, 'From address'));
    const [account] = owners;
    if (account === undefined) throw new Refusal(550, '5.6.0', 'the message has no From address');
    return account;
  }

  /** The server's verdict on one recipient. */
  async #ask(account: SendingAccount, address: string): Promise<Refusal | null> {
    try {
      const reply = await this.#route.ask(account, (relay) => relay.recipient(address, this.#envelope.utf8));
      return succeeded(reply) ? null : refusalOf(reply, account.id);
    } catch (error) {
      if (error instanceof Refusal) return error;
      throw error;
    }
  }

  *#accepted(): Generator<string, void, void> {
    for (const { address, refusal } of this.#recipients.values()) if (refusal === null) yield address;
  }

  /** What the server cannot carry is refused, never re-encoded (RFC 6152 §3, RFC 6531 §3.6, RFC 1870 §6.1). */
  #refuseMangling(
    { size, eightBitMime, smtpUtf8 }: RelayFeatures,
    octets: number,
    content: Content,
    header: Header,
    account: SendingAccount,
  ): void {
    const server = `the server of account ${account.id}`;
    if (size !== null && octets > size) {
      throw new Refusal(552, '5.3.4', `the message has ${octets} octets, ${server} takes ${size}`);
    }
    if (content.eightBit && !eightBitMime) {
      throw new Refusal(554, '5.6.3', `the message holds 8-bit text, which ${server} does not take (no 8BITMIME)`);
    }
    if (this.#envelope.utf8 && header.eightBit && !smtpUtf8) {
      throw new Refusal(554, '5.6.9', `the header holds UTF-8, which ${server} does not take (no SMTPUTF8)`);
    }
  }
}

function owner(senders: SenderBook, address: string, what: string): SendingAccount {
  const account = senders.owner(address);
  if (account === null) throw new Refusal(550, '5.7.1', `the ${what} <${address}> belongs to none of your accounts`);
  if (account.smtp !== null) return account;
  throw new Refusal(550, '5.7.1', `account ${account.id} has no SMTP server configured, so it sends no mail`);
}
