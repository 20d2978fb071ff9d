import { randomUUID } from 'node:crypto';
import { fieldName, headerEnd, headerFields, unfoldedValue } from '../mail/header.js';
import { decodeHeader } from '../mail/text.js';
import { SUBMIT_LIMITS } from './limits.js';
import { mailboxList } from './mailbox-list.js';
import { Refusal } from './reply.js';

/** How a message came in, for its Received field. */
export interface Reception {
  /** What the client called itself in EHLO. */
  readonly helo: string;
  readonly peer: string;
  /** This host's name. */
  readonly hostname: string;
  /** `ESMTPSA` and the like (RFC 3848). */
  readonly protocol: string;
  readonly id: string;
  readonly at: Date;
}

/** What the header of a submitted message says, as far as sending it depends on it. */
export interface Header {
  /** Addresses of the From field, in its order; at least one. */
  readonly from: readonly string[];
  /** The Message-ID field as it is, but on one line. */
  readonly messageId: string | null;
  readonly hasDate: boolean;
  readonly subject: string;
  /** Message-IDs of the mail this one answers. */
  readonly answers: readonly string[];
  /** Message-IDs of mail that this one says it forwards. */
  readonly forwards: readonly string[];
  /** From -9 to 9, as its priority fields say; 0 when they say nothing. */
  readonly priority: number;
  /** `[start, end)` of the fields that must not leave (RFC 5322 §3.6.3): Bcc and Resent-Bcc. */
  readonly hidden: readonly (readonly [number, number])[];
  /** Offset of the blank line, or of the end. */
  readonly end: number;
  /** True when a field holds an octet above 127, which takes SMTPUTF8 (RFC 6532). */
  readonly eightBit: boolean;
}

/** Fields by name; a name that comes again keeps its first value. */
type FieldValues = ReadonlyMap<string, string>;

/**
 * Reads the header at the start of `message`, whose body may be cut off; throws the refusal for one that cannot be sent.
 * `hostname` is ours: a mail that has passed here too often is in a loop.
 */
export function readHeader(message: Buffer, hostname: string): Header {
  const end = headerEnd(message, 0, Math.min(message.length, SUBMIT_LIMITS.headerBytes + 1));
  if (end > SUBMIT_LIMITS.headerBytes) {
    throw new Refusal(554, '5.6.0', `the header is larger than ${SUBMIT_LIMITS.headerBytes} octets`);
  }
  const from: string[] = [];
  const hidden: (readonly [number, number])[] = [];
  const values = new Map<string, string>();
  let received = 0;
  let ours = 0;
  for (const field of headerFields(message, 0, end)) {
    const name = fieldName(message, field);
    // A first line that starts with a space would go on with the field put in front of it, which is ours.
    if (!/^[!-9;-~]+$/.test(name)) {
      throw new Refusal(554, '5.6.0', 'a line of the header has no field name (RFC 5322 section 2.2)');
    }
    if (name === 'from') from.push(unfoldedValue(message, field));
    else if (name === 'bcc' || name === 'resent-bcc') hidden.push([field.start, field.end]);
    else if (name === 'received') {
      received += 1;
      if (unfoldedValue(message, field).includes(` by ${hostname} (Mergebox) `)) ours += 1;
    } else if (name === REPORT_FIELD) throw new Refusal(554, '5.4.6', 'this is a report made here: a mail loop');
    else if (READ.has(name) && !values.has(name)) values.set(name, unfoldedValue(message, field));
  }
  if (received >= SUBMIT_LIMITS.received || ours >= SUBMIT_LIMITS.passes) {
    throw new Refusal(554, '5.4.6', 'too many Received fields: a mail loop');
  }
  return {
    from: readFrom(from),
    messageId: values.get('message-id') ?? null,
    hasDate: values.has('date'),
    subject: decodeHeader(values.get('subject')?.slice(0, SUBMIT_LIMITS.subject) ?? ''),
    ...references(values),
    priority: priorityOf(values),
    hidden,
    end,
    eightBit: !isSevenBit(message.subarray(0, end)),
  };
}

/** Marks the reports made here; one that is submitted again goes round in circles. */
export const REPORT_FIELD = 'x-mergebox-report';

const READ: ReadonlySet<string> = new Set([
  'message-id',
  'date',
  'subject',
  'in-reply-to',
  'references',
  'x-forwarded-message-id',
  'x-priority',
  'priority',
  'importance',
  'precedence',
]);

/** RFC 5322 §3.6.4; X-Forwarded-Message-Id is what Thunderbird and others write into a forwarded mail. */
function references(values: FieldValues): Pick<Header, 'answers' | 'forwards'> {
  const forwards = messageIds(values.get('x-forwarded-message-id'));
  if (forwards.length > 0) return { answers: [], forwards };
  const answers = messageIds(values.get('in-reply-to'));
  return { answers: answers.length > 0 ? answers : messageIds(values.get('references')).slice(-1), forwards };
}

/** The Message-IDs in a field, at most 20, without angle brackets. */
export function messageIds(value: string | undefined): readonly string[] {
  const ids = (value ?? '').slice(0, 20_000).match(/<[^<>\s]{1,998}>/g) ?? [];
  return ids.slice(0, 20).map((id) => id.slice(1, -1));
}

/** Priority (RFC 2156 §5.3.6), and what mail programs write: X-Priority from 1 to 5, Importance; lists and bulk come last. */
function priorityOf(values: FieldValues): number {
  const says = (name: string, pattern: RegExp): boolean => pattern.test(values.get(name) ?? '');
  if (says('precedence', /^(?:bulk|list|junk)/i)) return -4;
  if (says('priority', /^urgent/i) || says('x-priority', /^[12]/) || says('importance', /^high/i)) return 4;
  if (says('priority', /^non-urgent/i) || says('x-priority', /^[45]/) || says('importance', /^low/i)) return -4;
  return 0;
}

function readFrom(fields: readonly string[]): readonly string[] {
  // RFC 5322 §3.6: From must be there once.
  const [value] = fields;
  if (value === undefined) throw new Refusal(550, '5.6.0', 'the message has no From field');
  if (fields.length > 1) throw new Refusal(550, '5.6.0', 'the message has more than one From field');
  const list = value.length > SUBMIT_LIMITS.fromBytes ? null : mailboxList(value, SUBMIT_LIMITS.fromMailboxes);
  if (list === null || list.length === 0) throw new Refusal(550, '5.6.0', 'the From field holds no usable address');
  return list.map((address) => Buffer.from(address, 'latin1').toString('utf8'));
}

/** What RFC 6409 §8 lets a submission server add. */
export interface Additions {
  /** The Received field; in front of everything, on the wire only. */
  readonly trace: string;
  /** Date and Message-ID where the client gave none; on the wire and in Sent. */
  readonly added: string;
  /** With angle brackets; the client's or ours. */
  readonly messageId: string;
}

export function additions(header: Header, reception: Reception): Additions {
  const messageId = header.messageId || `<${randomUUID()}@${reception.hostname}>`;
  const date = header.hasDate ? '' : `Date: ${dateTime(reception.at)}\r\n`;
  return {
    trace: receivedField(reception),
    added: date + (header.messageId ? '' : `Message-ID: ${messageId}\r\n`),
    messageId,
  };
}

/** The octets that leave, in order, before dot-stuffing: what was added, and the content without what must not leave. */
export async function* wireBlocks(
  { trace, added, hidden }: Pick<Additions, 'trace' | 'added'> & Pick<Header, 'hidden'>,
  content: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<Buffer, void, void> {
  yield Buffer.from(trace + added);
  let offset = 0;
  for await (const block of content) {
    yield* visible(block, offset, hidden);
    offset += block.length;
  }
}

function* visible(block: Buffer, offset: number, hidden: Header['hidden']): Generator<Buffer, void, void> {
  let at = 0;
  for (const [start, end] of hidden) {
    if (end <= offset + at || start >= offset + block.length) continue;
    if (start > offset + at) yield block.subarray(at, start - offset);
    at = Math.min(end - offset, block.length);
  }
  if (at < block.length) yield block.subarray(at);
}

/** Octets that leave, for SIZE (RFC 1870). */
export function wireSize(
  { trace, added, hidden }: Pick<Additions, 'trace' | 'added'> & Pick<Header, 'hidden'>,
  size: number,
): number {
  const cut = hidden.reduce((sum, [start, end]) => sum + end - start, 0);
  return Buffer.byteLength(trace) + Buffer.byteLength(added) + size - cut;
}

/** RFC 5321 §4.4, folded so that no line comes near 78 characters. */
function receivedField({ helo, peer, hostname, protocol, id, at }: Reception): string {
  const name = /^(?:[A-Za-z0-9._-]{1,255}|\[[A-Za-z0-9:._-]{1,64}\])$/.test(helo) ? helo : 'unknown';
  const address = peer.includes(':') ? `IPv6:${peer}` : peer;
  return `Received: from ${name} ([${address}])\r\n by ${hostname} (Mergebox) with ${protocol} id ${id};\r\n ${dateTime(at)}\r\n`;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** RFC 5322 §3.3 date-time, in UTC. */
export function dateTime(at: Date): string {
  const time = at.toISOString().slice(11, 19);
  return `${DAYS[at.getUTCDay()]}, ${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]} ${at.getUTCFullYear()} ${time} +0000`;
}

function isSevenBit(bytes: Buffer): boolean {
  for (const byte of bytes) if (byte > 127) return false;
  return true;
}
