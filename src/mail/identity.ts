import { hash } from 'node:crypto';
import { headerEnd, MAX_HEADER_OCTETS } from './header.js';
import { parseAddresses } from './header-address.js';
import { parseMessageDate } from './header-date.js';
import { HeaderPicker, type PickedField, pickedValue } from './header-pick.js';
import { structureLeaves } from './mime-structure-reader.js';

/**
 * When two copies are one message (ARCHITECTURE.md, Identity). A Message-ID alone proves nothing: it may be missing,
 * used twice, or forged to make a real mail disappear behind another. So copies in different accounts are merged only
 * when Message-ID, From, Date and Subject agree and so does the content. The keys are hashes of what must agree, in a
 * form that does not depend on the server: folding, other fields (Received, Delivered-To, spam scores) and how a server
 * writes its BODYSTRUCTURE make no difference; a mailing list's footer does, since it changes the size of a part.
 *
 * All keys are 132 bits of SHA-256 in base64url: a sender who can make two mails with one key gains nothing, and to hit
 * the key of somebody else's mail is out of reach.
 */
export interface MessageKeys {
  /** The first Message-ID without brackets and white space; null when there is none. */
  readonly messageId: string | null;
  /** Over Message-ID, From, Date and Subject. */
  readonly headerKey: string;
  /** Over type, transfer encoding and octets of each leaf part; null when the structure is unknown. */
  readonly contentKey: string | null;
  /**
   * Recognises a mail again in one account, after a move, an upload or a UIDVALIDITY reset. Never null, so it is no
   * proof that two copies are one message: mail without a Message-ID may share it.
   */
  readonly matchKey: string;
  /** Which of Message-ID, From and Date there are. */
  readonly present: { readonly messageId: boolean; readonly from: boolean; readonly date: boolean };
}

/** How a user wants copies in different accounts to be told one message. */
export type DedupePolicy = 'content' | 'messageId' | 'off';

const KEY_LENGTH = 22;
/** More of one field than this does not tell mails apart that all the rest does not. */
const MAX_TEXT = 2000;

/**
 * The keys of a mail. `header` is its whole header (more behind the blank line is ignored), `structure` the `(…)` of
 * its BODYSTRUCTURE as any server wrote it, null when the server told none.
 */
export function messageKeys(header: Buffer, structure: Buffer | null): MessageKeys {
  const looked = header.length > MAX_HEADER_OCTETS ? header.subarray(0, MAX_HEADER_OCTETS) : header;
  const { values, received } = readFields(looked);
  const [id, sender, sent, subject, to] = values as readonly [Value, Value, Value, Value, Value];
  const messageId = normalMessageId(id);
  const from = normalFrom(sender);
  const date = normalDate(sent);
  const headerKey = key('h', messageId ?? '', from, date, normalText(subject));
  const contentKey = structure === null ? null : contentKeyOf(structure);
  // Without a Message-ID, cron jobs and devices send the same again and again: the way it came tells them apart.
  const route =
    messageId === null
      ? received
          .slice(0, MAX_RECEIVED)
          .map((field) => normalText(pickedValue(looked, field)))
          .join('\n')
      : '';
  const matchKey = key('m', headerKey, contentKey ?? '', normalText(to), route);
  const present = { messageId: messageId !== null, from: from !== '', date: date !== '' };
  return { messageId, headerKey, contentKey, matchKey, present };
}

/**
 * The key under which copies of different accounts are merged, or null when this copy must stay alone. `bodyHash`
 * (`bodyHashOf`) is proof of the content where the structure is unknown or the header too poor to stand for the mail;
 * it is used only then, so that a copy whose bytes are at hand still meets one whose bytes are not.
 */
export function mergeKey(keys: MessageKeys, policy: DedupePolicy, bodyHash: string | null = null): string | null {
  if (policy === 'off') return null;
  const { messageId, headerKey, contentKey, present } = keys;
  if (policy === 'messageId') return messageId === null ? null : key('i', messageId);
  const known = Number(present.messageId) + Number(present.from) + Number(present.date);
  if (known === 3 && contentKey !== null) return key('c', headerKey, contentKey);
  // Two of the three and every octet of the body: a mail from nobody, at no time, is never merged.
  if (known >= 2 && bodyHash !== null) return key('b', headerKey, bodyHash);
  return null;
}

/** SHA-256 (hex) over everything behind the header. */
export function bodyHashOf(bytes: Buffer): string {
  return hash('sha256', bytes.subarray(headerEnd(bytes)), 'hex');
}

/** The content key of a BODYSTRUCTURE, or null when it cannot be read. */
export function contentKeyOf(structure: Buffer): string | null {
  const leaves = structureLeaves(structure);
  if (leaves === null) return null;
  return key('s', ...leaves.map(({ type, encoding, octets }) => `${type} ${encoding} ${octets}`));
}

/** Parts are joined with NUL, which none of them holds. */
function key(kind: string, ...parts: readonly string[]): string {
  return hash('sha256', `${kind}\0${parts.join('\0')}`, 'base64url').slice(0, KEY_LENGTH);
}

const NAMES = ['message-id', 'from', 'date', 'subject', 'to', 'received'] as const;
const RECEIVED = NAMES.indexOf('received');
const PICKER = new HeaderPicker(NAMES);
/** Received fields that tell mails without a Message-ID apart. */
const MAX_RECEIVED = 5;

/** A field's unfolded value; null when there is no such field. */
type Value = string | null;

/** The first of each field that identity looks at, and where Received stands, which is rarely needed. */
interface IdentityFields {
  readonly values: readonly Value[];
  readonly received: readonly PickedField[];
}

function readFields(header: Buffer): IdentityFields {
  const values: Value[] = [null, null, null, null, null];
  const received: PickedField[] = [];
  for (const field of PICKER.pick(header)) {
    if (field.index === RECEIVED) received.push(field);
    else values[field.index] ??= pickedValue(header, field);
  }
  return { values, received };
}

/** RFC 5322 §3.6.4: the msg-id itself; folding and white space inside are no part of it. */
export function normalMessageId(value: string | null): string | null {
  if (value === null) return null;
  const open = value.indexOf('<');
  const close = value.indexOf('>', open + 1);
  const id = open >= 0 && close > open ? value.slice(open + 1, close) : value;
  const bare = (/[\s\0]/.test(id) ? id.replace(/[\s\0]+/g, '') : id).slice(0, MAX_TEXT);
  return bare === '' ? null : bare;
}

/** The addresses of From; names are left out, for servers decode and rewrite them. The domain has no case. */
function normalFrom(value: string | null): string {
  if (value === null || value === '') return '';
  const addresses = parseAddresses(value.slice(0, MAX_TEXT)).filter(({ domain }) => domain !== null);
  return addresses.map(({ mailbox, domain }) => `${mailbox}@${domain?.toLowerCase()}`).join(',');
}

/** The instant when it can be read: the same moment in another zone, with or without the day's name, is the same. */
function normalDate(value: string | null): string {
  if (value === null || value === '') return '';
  const date = parseMessageDate(value);
  return date === null ? normalText(value) : String(date.instant);
}

/** White space collapsed, so that folding makes no difference. */
function normalText(value: string | null): string {
  if (value === null) return '';
  const text = value.length > MAX_TEXT ? value.slice(0, MAX_TEXT) : value;
  // Most have nothing but single spaces between words.
  return UNEVEN.test(text) ? text.replace(/[\s\0]+/g, ' ').trim() : text;
}

const UNEVEN = /^\s|\s$|\s\s|[^\S ]|\0/;
