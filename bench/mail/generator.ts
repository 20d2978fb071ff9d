import { anyBody } from './bodies.js';
import { headerText, mailbox } from './encode.js';
import { Random } from './random.js';
import { anyTongue, phrase, type Tongue } from './words.js';

export interface GeneratorOptions {
  /** The same seed and sizes give the same mail, octet for octet. */
  readonly seed: number;
  /** Mails in each account, the common ones among them. */
  readonly mails: number;
  /** Mails that arrived in every account. */
  readonly common: number;
  readonly accounts?: number;
  /** Largest attachment, octets of its base64; default 200,000. */
  readonly maxAttachment?: number;
}

export interface GeneratedCopy {
  /** From 0. */
  readonly account: number;
  /** The mail with `\n` line ends. */
  readonly octets: Buffer;
  /** INTERNALDATE, seconds since the Unix epoch; a little later than the Date field. */
  readonly received: number;
}

/** One mail with the copy of each account that received it; they differ in trace fields only. */
export interface GeneratedMail {
  /** With its brackets; null for the few mails without one, which are never common. */
  readonly messageId: string | null;
  /** The text of the Subject before encoding. */
  readonly subject: string;
  /** System flags, the same in every copy. */
  readonly flags: readonly string[];
  readonly copies: readonly GeneratedCopy[];
}

interface Thread {
  readonly subject: string;
  readonly tongue: Tongue;
  readonly ids: string[];
}

const FIRST_DATE = Date.UTC(2018, 0, 8, 7) / 1000;
const SPAN = 7 * 365 * 86_400;
const LIST = { id: 'announce.lists.example', address: 'announce@lists.example' };

/** Distinct mails over all accounts, in order of arrival. */
export function distinctMails({ mails, common, accounts = 2 }: GeneratorOptions): number {
  return mails * accounts - common * (accounts - 1);
}

/** The mails one by one, in order of arrival over seven years; nothing is kept but a few open threads. */
export function* generateMails(options: GeneratorOptions): Generator<GeneratedMail> {
  const { seed, mails, common, accounts = 2, maxAttachment = 200_000 } = options;
  if (common > mails) throw new RangeError(`generate mail: ${common} common mails among ${mails}`);
  const random = new Random(seed);
  const threads: Thread[] = [];
  const left = { common, own: Array.from({ length: accounts }, () => mails - common) };
  const total = distinctMails(options);
  for (let number = 0; number < total; number += 1) {
    const owners = takeOwners(random, left);
    const sent = Math.floor(FIRST_DATE + (SPAN * number) / total) + random.int(0, 120);
    yield makeMail({ random, threads, owners, sent, number, seed, maxAttachment });
  }
}

/** Draws without replacement, so that the numbers come out exactly. */
function takeOwners(random: Random, left: { common: number; own: number[] }): number[] {
  let at = random.int(1, left.common + left.own.reduce((sum, count) => sum + count, 0)) - left.common;
  if (at <= 0) {
    left.common -= 1;
    return left.own.map((_, account) => account);
  }
  for (const [account, count] of left.own.entries()) {
    if (at <= count) {
      left.own[account] = count - 1;
      return [account];
    }
    at -= count;
  }
  throw new Error('generate mail: more drawn than there are');
}

interface Draft {
  readonly random: Random;
  readonly threads: Thread[];
  readonly owners: readonly number[];
  readonly sent: number;
  readonly number: number;
  readonly seed: number;
  readonly maxAttachment: number;
}

function makeMail(draft: Draft): GeneratedMail {
  const { random, threads, owners, sent, number } = draft;
  const thread = openThread(random, threads);
  const earlier = thread.ids.length > 0;
  const subject = earlier ? `${thread.tongue.reply}${thread.subject}` : thread.subject;
  const missing = owners.length === 1 && random.chance(0.004);
  const messageId = missing ? null : `<${draft.seed}.${number}.${random.token(12)}@mail${random.int(1, 40)}.example>`;
  const listed = random.chance(0.1);
  const quote = earlier ? `\n> ${phrase(random, thread.tongue, 4, 9)}\n> ${phrase(random, thread.tongue, 4, 9)}\n` : '';
  const entity = anyBody(random, thread.tongue, quote, draft.maxAttachment);
  const header = [
    ...hops(random, sent),
    ...ownFields(random, thread, subject, messageId, listed, sent),
    'MIME-Version: 1.0',
    ...entity.fields,
  ];
  const rest = Buffer.from(`${header.join('\n')}\n\n${entity.body}`, 'latin1');
  if (messageId !== null) thread.ids.push(messageId);
  return {
    messageId,
    subject,
    flags: anyFlags(random),
    copies: owners.map((account) => {
      const received = sent + random.int(1, 30) + account * random.int(0, 40);
      return { account, received, octets: Buffer.concat([traceFields(random, account, received), rest]) };
    }),
  };
}

function openThread(random: Random, threads: Thread[]): Thread {
  if (threads.length > 0 && random.chance(0.45)) return random.pick(threads);
  const tongue = anyTongue(random);
  const thread = { subject: phrase(random, tongue, 2, 8), tongue, ids: [] };
  threads.push(thread);
  if (threads.length > 60) threads.splice(random.int(0, threads.length - 2), 1);
  return thread;
}

function ownFields(
  random: Random,
  { tongue, ids }: Thread,
  subject: string,
  messageId: string | null,
  listed: boolean,
  sent: number,
): string[] {
  const [name, address] = random.pick(tongue.people);
  const recipients = Array.from({ length: random.int(1, 4) }, () => {
    const [toName, toAddress] = random.pick(tongue.people);
    return mailbox(toName, toAddress, tongue.charset, random);
  });
  const references = ids.slice(-12);
  return [
    `From: ${mailbox(name, address, tongue.charset, random)}`,
    `To: ${recipients.slice(0, 2).join(',\n ')}`,
    ...(recipients.length > 2 ? [`Cc: ${recipients.slice(2).join(',\n ')}`] : []),
    `Subject: ${headerText(subject, tongue.charset, random)}`,
    `Date: ${dateField(sent, random.pick(['+0000', '+0100', '-0500', '+0900', '+0530']))}`,
    ...(messageId === null ? [] : [`Message-ID: ${messageId}`]),
    ...(references.length > 0 ? [`In-Reply-To: ${references.at(-1)}`, `References: ${references.join('\n ')}`] : []),
    ...(random.chance(0.4) ? [`X-Mailer: ${random.pick(['Mailer 12.3', 'Thunderlike 115.2', 'Webmail/4.1'])}`] : []),
    ...(random.chance(0.1) ? ['X-Priority: 3 (Normal)'] : []),
    ...(random.chance(0.1) ? [`Reply-To: ${address}`] : []),
    ...(listed
      ? [
          `List-Id: <${LIST.id}>`,
          `List-Post: <mailto:${LIST.address}>`,
          `List-Unsubscribe: <https://lists.example/u/${random.token(16)}>`,
          'Precedence: list',
        ]
      : []),
  ];
}

/** What the sender's side added: the same in every copy. */
function hops(random: Random, sent: number): string[] {
  return [
    ...Array.from({ length: random.int(1, 4) }, (_, hop) => received(random, `relay${hop}.sender.example`, sent + hop)),
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=sender.example; s=s1;\n h=from:to:subject:date; bh=${random.token(43)}=;\n b=${random.token(60)}\n ${random.token(60)}`,
  ];
}

/** What the account's own server added: different in every copy. */
function traceFields(random: Random, account: number, at: number): Buffer {
  const host = `mx.account${account}.example`;
  const fields = [
    `Return-Path: <bounce-${random.token(6)}@sender.example>`,
    `Delivered-To: user@account${account}.example`,
    received(random, host, at),
    ...(random.chance(0.5) ? [`X-Spam-Status: No, score=${random.int(-20, 20) / 10} host=${host}`] : []),
  ];
  return Buffer.from(`${fields.join('\n')}\n`, 'latin1');
}

function received(random: Random, by: string, at: number): string {
  const address = Array.from({ length: 4 }, () => random.int(1, 254)).join('.');
  return `Received: from host${random.int(1, 99)}.example ([${address}])\n by ${by} with ESMTPS id ${random.token(12)}\n for <user@example.org>; ${dateField(at, '+0000')}`;
}

function anyFlags(random: Random): string[] {
  if (random.chance(0.15)) return [];
  return ['\\Seen', ...(random.chance(0.12) ? ['\\Answered'] : []), ...(random.chance(0.04) ? ['\\Flagged'] : [])];
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** RFC 5322 date-time of `seconds` in a zone such as `+0530`. */
function dateField(seconds: number, zone: string): string {
  const sign = zone.startsWith('-') ? -1 : 1;
  const offset = sign * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5)));
  const date = new Date((seconds + offset * 60) * 1000);
  const two = (n: number): string => String(n).padStart(2, '0');
  const time = `${two(date.getUTCHours())}:${two(date.getUTCMinutes())}:${two(date.getUTCSeconds())}`;
  return `${DAYS[date.getUTCDay()]}, ${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()} ${time} ${zone}`;
}
