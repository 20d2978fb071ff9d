import { parseAddresses } from '../mail/header-address.js';
import { parseMessageDate } from '../mail/header-date.js';
import { HeaderPicker, pickedValue } from '../mail/header-pick.js';
import { messageIds } from '../mail/message-ids.js';
import { sortYielding } from '../mail/sort-merge.js';
import { baseSubject } from '../mail/sort-subject.js';
import { decodeHeader } from '../mail/text.js';
import type { ThreadMail } from '../mail/thread.js';
import type { SortCriterion, SortKey } from '../wire/sort.js';
import type { Breathe } from './search-run.js';
import { foldText } from './search-text.js';
import type { Selected } from './selected.js';
import { SortCache, type SortValue } from './sort-cache.js';

/** Header fields by sort key; the others are in the listing. */
const FIELDS: Readonly<Partial<Record<SortKey, string>>> = {
  CC: 'cc',
  DATE: 'date',
  FROM: 'from',
  SUBJECT: 'subject',
  TO: 'to',
  DISPLAYFROM: 'from',
  DISPLAYTO: 'to',
};

interface Row {
  readonly uid: number;
  readonly values: readonly SortValue[];
}

/** The UIDs, ascending, in the order RFC 5256 §3 asks for; those that are gone meanwhile are left out. */
export async function sortUids(
  selected: Selected,
  uids: readonly number[],
  criteria: readonly SortCriterion[],
  breathe: Breathe,
): Promise<number[]> {
  const rows = await sortRows(selected, uids, criteria, breathe);
  const signs = criteria.map(({ reverse }) => (reverse ? -1 : 1));
  const compare = (a: Row, b: Row): number => {
    for (let i = 0; i < signs.length; i += 1) {
      const [left, right] = [a.values[i]!, b.values[i]!];
      if (left !== right) return left < right ? -signs[i]! : signs[i]!;
    }
    // RFC 5256 §3: among equals, the order of the sequence numbers, which REVERSE leaves alone.
    return a.uid - b.uid;
  };
  return (await sortYielding(rows, compare, breathe)).map(({ uid }) => uid);
}

/** Messages looked at before others may run. */
const SLICE = 4_096;

async function sortRows(
  selected: Selected,
  uids: readonly number[],
  criteria: readonly SortCriterion[],
  breathe: Breathe,
): Promise<Row[]> {
  const { listing } = selected;
  const keys = criteria.map(({ key }) => key);
  const cache = SortCache.of(listing);
  const known = keys.map((key) => (FIELDS[key] === undefined ? null : cache.values(key)));
  await learnValues(selected, uids, keys, known, breathe);
  const rows: Row[] = [];
  for (const [index, uid] of uids.entries()) {
    if (index % SLICE === SLICE - 1) await breathe();
    const at = listing.indexOf(uid);
    if (at < 0) continue;
    const values = keys.map((key, i) => known[i]?.get(uid) ?? sortValue(key, selected, at, undefined));
    rows.push({ uid, values });
  }
  cache.trim();
  return rows;
}

/** Reads the headers of those whose values are not all known. */
async function learnValues(
  selected: Selected,
  uids: readonly number[],
  keys: readonly SortKey[],
  known: readonly (Map<number, SortValue> | null)[],
  breathe: Breathe,
): Promise<void> {
  const names = [...new Set(keys.flatMap((key) => FIELDS[key] ?? []))];
  const places = keys.map((key) => names.indexOf(FIELDS[key] ?? ''));
  const unknown = uids.filter((uid) => known.some((values) => values !== null && !values.has(uid)));
  if (unknown.length === 0) return;
  await readFields(selected, unknown, names, breathe, (uid, at, fields) => {
    for (const [i, key] of keys.entries()) known[i]?.set(uid, sortValue(key, selected, at, fields[places[i]!]));
  });
}

function sortValue(key: SortKey, { listing }: Selected, at: number, value: string | undefined): SortValue {
  switch (key) {
    case 'ARRIVAL':
      return listing.dates[at]!;
    case 'SIZE':
      return listing.sizes[at]!;
    case 'DATE':
      return sentDate(value, listing.dates[at]!);
    case 'SUBJECT':
      return foldText(baseSubject(decoded(value ?? '')).base);
    case 'CC':
    case 'FROM':
    case 'TO':
      return firstMailbox(value);
    case 'DISPLAYFROM':
    case 'DISPLAYTO':
      return firstName(value);
  }
}

/** RFC 5256 §2.2: in UTC; INTERNALDATE when there is none. */
function sentDate(value: string | undefined, internal: number): number {
  return (value === undefined ? null : parseMessageDate(value))?.instant ?? internal;
}

/** Characters of an address field in which its first address is looked for. */
const MAX_ADDRESS = 2_000;

/** The local part of the first address (RFC 5256 §3: `addr-mailbox`); empty without one. */
function firstMailbox(value: string | undefined): string {
  const first = value === undefined ? undefined : parseAddresses(value.slice(0, MAX_ADDRESS))[0];
  return foldText(decoded(first?.mailbox ?? ''));
}

/** RFC 5957 §3: the display name, else the address. */
function firstName(value: string | undefined): string {
  const first = value === undefined ? undefined : parseAddresses(value.slice(0, MAX_ADDRESS))[0];
  if (first === undefined) return '';
  if (first.name !== null && first.name !== '') return foldText(decoded(first.name));
  return foldText(decoded(first.domain === null ? (first.mailbox ?? '') : `${first.mailbox ?? ''}@${first.domain}`));
}

const THREAD_FIELDS = ['date', 'subject', 'message-id', 'references', 'in-reply-to'];

/** What THREAD needs of these mails; `number` is the UID or the sequence number. */
export async function threadMails(
  selected: Selected,
  uids: readonly number[],
  byUid: boolean,
  breathe: Breathe,
): Promise<ThreadMail[]> {
  const mails: ThreadMail[] = [];
  await readFields(selected, uids, THREAD_FIELDS, breathe, (uid, at, [date, subject, messageId, chain, replied]) => {
    const { base, isReply } = baseSubject(decoded(subject ?? ''));
    const references = messageIds(chain);
    mails.push({
      number: byUid ? uid : selected.tracker.sequence(uid),
      messageId: messageIds(messageId)[0] ?? null,
      // RFC 5256 §3 step 1: without References, the first of In-Reply-To.
      references: references.length > 0 ? references : messageIds(replied).slice(0, 1),
      date: sentDate(date, selected.listing.dates[at]!),
      arrival: selected.listing.dates[at]!,
      subject: foldText(base),
      isReply,
    });
  });
  return mails;
}

/** The first value of each wanted field, at the place of its name among the wanted ones. */
type Fields = readonly (string | undefined)[];

async function readFields(
  selected: Selected,
  uids: readonly number[],
  names: readonly string[],
  breathe: Breathe,
  visit: (uid: number, at: number, fields: Fields) => void,
): Promise<void> {
  const { listing, mailbox } = selected;
  const picker = new HeaderPicker(names);
  for await (const page of mailbox.metadata(uids, { header: true })) {
    for (const { uid, header } of page) {
      const at = listing.indexOf(uid);
      if (at < 0 || header === undefined) continue;
      const fields = new Array<string | undefined>(names.length);
      for (const field of picker.pick(header)) fields[field.index] ??= pickedValue(header, field);
      visit(uid, at, fields);
    }
    await breathe();
  }
}

/** Most values are plain ASCII, of which nothing has to be decoded. */
function decoded(raw: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: plain ASCII is what this is about
  return /^[\x00-\x7f]*$/.test(raw) && !raw.includes('=?') ? raw : decodeHeader(raw);
}
