import { createHash, hash } from 'node:crypto';
import { messageKeys } from '../../mail/identity.js';
import { fieldName, headerFields } from '../../mail/header.js';
import { inWindow } from './in-window.js';
import type { Pop3Session } from './session.js';

/** What the server shows of one mail in this session. */
export interface Shown {
  /** Means something in this session only. */
  readonly number: number;
  /** What names the mail in every session: its unique-id, or a name made from its content. */
  readonly uidl: string;
}

export interface Listing {
  readonly mails: readonly Shown[];
  /** Whether the names are made here, for want of UIDL. */
  readonly made: boolean;
  /** Over all names in order, and over the number of octets that the server tells. */
  readonly digest: string;
  readonly octets: number;
}

/** Fields that servers add to a mail, or change, between two sessions. */
const VOLATILE = new Set(['status', 'x-status', 'x-uid', 'x-uidl', 'x-keywords', 'x-mozilla-status', 'x-imapbase']);

/**
 * Every mail of the maildrop with its name. A server without UIDL has its mails named by their headers and sizes, or
 * without TOP by all their bytes: that costs a look at each of them, and mails that do not differ there get their names
 * in order. So where as many mails with as many octets are shown as in `last`, that is taken for true.
 */
export async function listMails(session: Pop3Session, last: Listing | null = null): Promise<Listing> {
  const [{ octets, count }, ids] = session.pipelining
    ? await Promise.all([session.stat(), session.uidl()])
    : [await session.stat(), await session.uidl()];
  if (ids === null && last?.made && last.mails.length === count && last.octets === octets) return last;
  const mails = ids === null ? await madeNames(session, count) : [...ids].map(([number, uidl]) => ({ number, uidl }));
  const named = distinct(mails.sort((a, b) => a.number - b.number));
  const digest = createHash('sha256');
  digest.update(`${octets}`);
  for (const { number, uidl } of named) digest.update(`\n${number} ${uidl}`);
  return { mails: named, made: ids === null, digest: digest.digest('base64url'), octets };
}

/** Some servers give the same id to mails that do not differ: no space can be in one, so this is none of theirs. */
function distinct(mails: readonly Shown[]): Shown[] {
  const seen = new Map<string, number>();
  return mails.map((mail) => {
    const before = seen.get(mail.uidl) ?? 0;
    seen.set(mail.uidl, before + 1);
    return before === 0 ? mail : { ...mail, uidl: `${mail.uidl} ${before + 1}` };
  });
}

async function madeNames(session: Pop3Session, count: number): Promise<Shown[]> {
  if (count === 0) return [];
  const numbers = [...(await session.list()).keys()];
  const named: Shown[] = [];
  await inWindow(session.pipelining, numbers, async (number) => {
    named.push({ number, uidl: await madeName(session, number) });
  });
  return named;
}

async function madeName(session: Pop3Session, number: number): Promise<string> {
  const header = await session.top(number);
  if (header !== null) return `header ${hash('sha256', stableHeader(header), 'hex')}`;
  const digest = createHash('sha256');
  await session.retr(number, (bytes) => void digest.update(bytes));
  return `content ${digest.digest('hex')}`;
}

/** A header without what servers write into it. */
function stableHeader(header: Buffer): Buffer {
  const kept: Buffer[] = [];
  for (const field of headerFields(header)) {
    if (!VOLATILE.has(fieldName(header, field))) kept.push(header.subarray(field.start, field.end));
  }
  return Buffer.concat(kept);
}

/** Recognises a mail by what its sender wrote into the header. */
export function headerKeyOf(header: Buffer): string {
  return messageKeys(header, null).headerKey;
}
