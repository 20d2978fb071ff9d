import { type HeaderField, headerFields, MAX_HEADER_OCTETS, unfoldedValue } from './header.js';
import { type Address, MAX_ADDRESSES, parseAddresses } from './header-address.js';
import { humanString, nstring } from './mime-wire.js';

/** The fields an envelope is made of, by lower-case name. */
const TEXT_FIELDS = ['date', 'subject', 'in-reply-to', 'message-id'] as const;
const ADDRESS_FIELDS = ['from', 'sender', 'reply-to', 'to', 'cc', 'bcc'] as const;
type TextField = (typeof TEXT_FIELDS)[number];
type AddressField = (typeof ADDRESS_FIELDS)[number];

const LONGEST_NAME = 'in-reply-to'.length;
const NAMES = new Map<string, TextField | AddressField>(
  [...TEXT_FIELDS, ...ADDRESS_FIELDS].map((name) => [name, name]),
);

/** What ENVELOPE tells, before it is wire form. Binary strings, unfolded. */
export interface Envelope {
  readonly text: Readonly<Partial<Record<TextField, string>>>;
  readonly addresses: Readonly<Partial<Record<AddressField, readonly Address[]>>>;
}

/**
 * Reads the envelope fields of a header. Of repeated text fields the last one counts; repeated address fields are one
 * list, so that an address hidden in a second From is shown.
 */
export function readEnvelope(header: Buffer): Envelope {
  const text: Partial<Record<TextField, string>> = {};
  const addresses: Partial<Record<AddressField, Address[]>> = {};
  for (const field of headerFields(header, 0, Math.min(header.length, MAX_HEADER_OCTETS))) {
    const name = envelopeField(header, field);
    if (name === undefined) continue;
    const value = unfoldedValue(header, field);
    if (isTextField(name)) text[name] = value;
    else addresses[name] = joined(addresses[name], parseAddresses(value));
  }
  return { text, addresses };
}

function envelopeField(header: Buffer, field: HeaderField): TextField | AddressField | undefined {
  const length = field.nameEnd - field.start;
  if (length < 2 || length > LONGEST_NAME) return undefined;
  return NAMES.get(header.toString('latin1', field.start, field.nameEnd).toLowerCase());
}

function isTextField(name: TextField | AddressField): name is TextField {
  return (TEXT_FIELDS as readonly string[]).includes(name);
}

function joined(before: Address[] | undefined, more: Address[]): Address[] {
  if (before === undefined) return more;
  return before.length >= MAX_ADDRESSES ? before : before.concat(more);
}

/**
 * The `(…)` of ENVELOPE (RFC 9051 §7.5.2), ready to send. Sender and Reply-To default to From when they are missing or
 * empty; any other missing field is NIL.
 */
export function envelopeWire(header: Buffer): Buffer {
  return Buffer.from(envelopeText(header), 'latin1');
}

/** `envelopeWire` as a binary string. */
export function envelopeText(header: Buffer): string {
  const { text, addresses } = readEnvelope(header);
  const from = addressList(addresses.from);
  const orFrom = (list: readonly Address[] | undefined): string =>
    list === undefined || list.length === 0 ? from : addressList(list);
  return `(${[
    nstring(text.date ?? null),
    humanString(text.subject ?? null),
    from,
    orFrom(addresses.sender),
    orFrom(addresses['reply-to']),
    addressList(addresses.to),
    addressList(addresses.cc),
    addressList(addresses.bcc),
    nstring(text['in-reply-to'] ?? null),
    nstring(text['message-id'] ?? null),
  ].join(' ')})`;
}

function addressList(list: readonly Address[] | undefined): string {
  if (list === undefined || list.length === 0) return 'NIL';
  return `(${list.map(address).join('')})`;
}

function address({ name, route, mailbox, domain }: Address): string {
  return `(${humanString(name)} ${nstring(route)} ${nstring(mailbox)} ${nstring(domain)})`;
}
