import type { Clock } from '../util/clock.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import type { Content } from './content.js';
import { attachedIds } from './forwarded.js';
import { SUBMIT_LIMITS } from './limits.js';
import { additions, type Header, type Reception, readHeader } from './message.js';
import type { Recipient } from './queue/mail.js';
import type { NewMail } from './queue/options.js';
import type { OutgoingQueue } from './queue/queue.js';
import type { SpoolFile } from './queue/spool.js';
import type { Ticket } from './queue/ticket.js';
import { Refusal } from './reply.js';
import type { Sender, SenderBook } from './sender.js';

export interface TransactionContext {
  readonly hostname: string;
  readonly senders: SenderBook;
  readonly queue: OutgoingQueue;
  readonly clock: Clock;
}

/** What MAIL FROM said. */
export interface MailRequest {
  /** Empty for the null sender. */
  readonly sender: string;
  /** Whether the client asked for SMTPUTF8. */
  readonly utf8: boolean;
  readonly requireTls: boolean;
  readonly ret: 'FULL' | 'HDRS' | null;
  readonly envid: string | null;
  readonly mtPriority: number | null;
  /** Milliseconds since the Unix epoch before which it must not leave; 0: at once. */
  readonly releaseAt: number;
}

/** One mail from MAIL FROM until the queue has it. All refusals are thrown as `Refusal`. */
export class Transaction {
  readonly #context: TransactionContext;
  readonly #request: MailRequest;
  /** By address without case. */
  readonly #recipients = new Map<string, Recipient>();
  #commands = 0;

  /** Throws the refusal of a sender that is not the user's to use. */
  constructor(context: TransactionContext, request: MailRequest) {
    this.#context = context;
    this.#request = request;
    // RFC 8098 §2: a read receipt has the null sender; whether it may go out is seen from its From field.
    if (request.sender !== '') owner(context.senders, request.sender, 'envelope sender');
  }

  /** Adds a recipient; of one given twice the first counts, its wish for reports included. */
  recipient(address: string, { notify, orcpt }: Pick<Recipient, 'notify' | 'orcpt'>): void {
    this.#commands += 1;
    if (this.#commands > SUBMIT_LIMITS.recipientCommands) {
      throw new Refusal(452, '4.5.3', 'too many recipients in one message');
    }
    const key = address.toLowerCase();
    if (this.#recipients.has(key)) return;
    this.#recipients.set(key, {
      address,
      state: 'waiting',
      ...(notify === undefined ? {} : { notify }),
      ...(orcpt === undefined ? {} : { orcpt }),
    });
  }

  /** A file for content that is too large for memory. */
  createFile(): Promise<SpoolFile> {
    return this.#context.queue.createFile();
  }

  /** Hands the message to the queue; resolves once it is durable. What cannot be queued leaves nothing behind. */
  async submit(content: Content, reception: Omit<Reception, 'hostname' | 'at'>): Promise<Ticket> {
    let mail: NewMail;
    try {
      mail = this.#mail(content, reception);
    } catch (error) {
      await content.file?.discard();
      throw error;
    }
    try {
      return await this.#context.queue.accept(mail, content);
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      if (error.code === 'overquota') throw new Refusal(452, '4.3.1', 'the disk is full here; try again later');
      throw new Refusal(451, '4.3.0', `the message could not be kept: ${errorText(error)}`);
    }
  }

  #mail(content: Content, reception: Omit<Reception, 'hostname' | 'at'>): NewMail {
    const { hostname, clock } = this.#context;
    const { utf8, requireTls, ret, envid, mtPriority, releaseAt, sender } = this.#request;
    const header = readHeader(content.head, hostname);
    const { account, viaRelay } = this.#senderOf(header);
    const added = additions(header, { ...reception, hostname, at: new Date(clock.now()) });
    const attached = header.forwards.length + header.answers.length > 0 ? [] : attachedIds(content.head);
    return {
      account: account.id,
      viaRelay,
      sender,
      priority: mtPriority ?? header.priority,
      size: content.size,
      recipients: [...this.#recipients.values()],
      releaseAt,
      envelope: {
        ...added,
        from: header.from[0] ?? '',
        subject: header.subject,
        utf8,
        eightBit: content.eightBit,
        headerUtf8: header.eightBit,
        requireTls,
        ret,
        envid,
        mtPriority,
        hidden: header.hidden,
        headerEnd: header.end,
        spool: content.file?.name ?? null,
        answers: header.answers,
        forwards: [...header.forwards, ...attached],
      },
    };
  }

  /** Every From address must be the user's; the first one's account sends (RFC 6409 §6.1). */
  #senderOf(header: Header): Sender {
    const owners = header.from.map((address) => owner(this.#context.senders, address, 'From address'));
    const [sender] = owners;
    if (sender === undefined) throw new Refusal(550, '5.6.0', 'the message has no From address');
    return sender;
  }
}

function owner(senders: SenderBook, address: string, what: string): Sender {
  const sender = senders.owner(address);
  if (sender === null) throw new Refusal(550, '5.7.1', `the ${what} <${address}> belongs to none of your accounts`);
  if (sender.target !== null) return sender;
  throw new Refusal(550, '5.7.1', `account ${sender.account.id} has no SMTP server configured, so it sends no mail`);
}
