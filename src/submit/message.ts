import { randomUUID } from 'node:crypto';
import { fieldName, headerEnd, headerFields, unfoldedValue } from '../mail/header.js';
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
  readonly messageId: string | null;
  readonly hasDate: boolean;
  /** `[start, end)` of the fields that must not leave (RFC 5322 §3.6.3): Bcc and Resent-Bcc. */
  readonly hidden: readonly (readonly [number, number])[];
  /** Offset of the blank line, or of the end. */
  readonly end: number;
  /** True when a field holds an octet above 127, which takes SMTPUTF8 (RFC 6532). */
  readonly eightBit: boolean;
}

/** Reads the header; throws the refusal for one that cannot be sent. */
export function readHeader(message: Buffer): Header {
  const end = headerEnd(message, 0, Math.min(message.length, SUBMIT_LIMITS.headerBytes + 1));
  if (end > SUBMIT_LIMITS.headerBytes) {
    throw new Refusal(554, '5.6.0', `the header is larger than ${SUBMIT_LIMITS.headerBytes} octets`);
  }
  const from: string[] = [];
  const hidden: (readonly [number, number])[] = [];
  let messageId: string | null = null;
  let hasDate = false;
  let received = 0;
  for (const field of headerFields(message, 0, end)) {
    const name = fieldName(message, field);
    if (name === '') throw new Refusal(554, '5.6.0', 'a line of the header has no field name (RFC 5322 section 2.2)');
    if (name === 'from') from.push(unfoldedValue(message, field));
    else if (name === 'bcc' || name === 'resent-bcc') hidden.push([field.start, field.end]);
    else if (name === 'message-id') messageId = unfoldedValue(message, field);
    else if (name === 'date') hasDate = true;
    else if (name === 'received') received += 1;
  }
  if (received >= SUBMIT_LIMITS.received) throw new Refusal(554, '5.4.6', 'too many Received fields: a mail loop');
  return { from: readFrom(from), messageId, hasDate, hidden, end, eightBit: !isSevenBit(message.subarray(0, end)) };
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

export interface Prepared {
  /** The octets for the upstream server, in order, before dot-stuffing. */
  readonly wire: readonly Buffer[];
  /** The octets for the Sent folder: what the client handed in, Bcc included, with Message-ID and Date. */
  readonly filed: Buffer;
}

/** Adds what RFC 6409 §8 lets a submission server add, and takes out what must not leave; nothing else changes. */
export function prepare(message: Buffer, header: Header, reception: Reception): Prepared {
  const added = Buffer.from(
    (header.hasDate ? '' : `Date: ${dateTime(reception.at)}\r\n`) +
      (header.messageId ? '' : `Message-ID: <${randomUUID()}@${reception.hostname}>\r\n`),
  );
  const wire: Buffer[] = [Buffer.from(receivedField(reception)), added];
  let at = 0;
  for (const [start, end] of header.hidden) {
    wire.push(message.subarray(at, start));
    at = end;
  }
  wire.push(message.subarray(at));
  return {
    wire: wire.filter((part) => part.length > 0),
    filed: added.length === 0 ? message : Buffer.concat([added, message]),
  };
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
