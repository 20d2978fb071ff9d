import MailComposer from 'nodemailer/lib/mail-composer';
import { dateTime } from '../submit/message.js';

/** The two accounts of the demo. */
export type SampleAccountId = 'work' | 'home';

/** Where a copy of a sample lies at the start, and its flags there. */
export interface SamplePlace {
  readonly account: SampleAccountId;
  /** The name at that account's server. */
  readonly mailbox: string;
  readonly flags?: readonly string[];
}

export interface SampleAttachment {
  readonly filename: string;
  readonly contentType: string;
  readonly content: string;
}

/** One sample mail, with its age instead of a date, so that a demo always shows a mailbox of today. */
export interface SampleMail {
  /** Local part of its Message-ID; `replyTo` of another sample names it. */
  readonly id: string;
  readonly minutesAgo: number;
  readonly from: string;
  readonly to: string;
  readonly cc?: string;
  readonly subject: string;
  readonly text: string;
  readonly html?: string;
  /** The sample it answers. */
  readonly replyTo?: string;
  readonly attachments?: readonly SampleAttachment[];
  /** An iCalendar object, sent as an invitation. */
  readonly invitation?: string;
  /** The Subject field as it goes over the wire, where it is encoded in another way than usual today. */
  readonly rawSubject?: string;
  /** Further header fields as they go over the wire. */
  readonly fields?: Readonly<Record<string, string>>;
  readonly places: readonly SamplePlace[];
}

/** The domain that sent a mail, from its From field. */
function domainOf(from: string): string {
  return /@([^>\s]+)/.exec(from)?.[1] ?? 'localhost.example';
}

/** Message-ID of a sample, with its brackets. */
function messageId(mail: Pick<SampleMail, 'id' | 'from'>): string {
  return `<${mail.id}@${domainOf(mail.from)}>`;
}

/** The octets of a sample as its sender's program made them, CRLF line ends; the same for every copy. */
export async function composeSample(mail: SampleMail, all: readonly SampleMail[], now: number): Promise<Buffer> {
  const references = ancestors(mail, all).map(messageId);
  const fields = { ...(mail.rawSubject === undefined ? {} : { Subject: mail.rawSubject }), ...mail.fields };
  const composer = new MailComposer({
    from: mail.from,
    to: mail.to,
    ...(mail.cc === undefined ? {} : { cc: mail.cc }),
    ...(mail.rawSubject === undefined ? { subject: mail.subject } : {}),
    date: new Date(sentAt(mail, now)),
    messageId: messageId(mail),
    ...(references.length === 0 ? {} : { references, inReplyTo: references.at(-1)! }),
    text: mail.text,
    ...(mail.html === undefined ? {} : { html: mail.html }),
    ...(mail.invitation === undefined ? {} : { icalEvent: { method: 'REQUEST', content: mail.invitation } }),
    attachments: (mail.attachments ?? []).map((each) => ({ ...each })),
    headers: Object.entries(fields).map(([key, value]) => ({ key, value: { prepared: true, value } })),
    newline: 'windows',
  });
  return composer.compile().build();
}

/** Milliseconds since the Unix epoch. */
export function sentAt({ minutesAgo }: Pick<SampleMail, 'minutesAgo'>, now: number): number {
  return now - minutesAgo * 60_000;
}

/** The thread above a sample, oldest first. */
function ancestors(mail: SampleMail, all: readonly SampleMail[]): SampleMail[] {
  const chain: SampleMail[] = [];
  let parent = all.find(({ id }) => id === mail.replyTo);
  while (parent !== undefined && chain.length < all.length) {
    chain.unshift(parent);
    const above: string | undefined = parent.replyTo;
    parent = all.find(({ id }) => id === above);
  }
  return chain;
}

export interface Trace {
  /** Envelope sender, empty for the null sender. */
  readonly sender: string;
  readonly recipient: string;
  /** Who handed the mail in, as EHLO said. */
  readonly helo: string;
  /** Milliseconds since the Unix epoch. */
  readonly at: number;
}

/** The fields that a receiving server puts above a mail (RFC 5321 §4.4); they differ from copy to copy. */
export function traceFields({ sender, recipient, helo, at }: Trace): Buffer {
  const host = `mx.${domainOf(recipient)}`;
  const id = Math.floor(at).toString(36);
  return Buffer.from(
    `Return-Path: <${sender}>\r\n` +
      `Delivered-To: ${recipient}\r\n` +
      `Received: from ${helo} by ${host} (sample server) with ESMTPS id ${id}\r\n` +
      ` for <${recipient}>; ${dateTime(new Date(at))}\r\n`,
  );
}

/** The trace of a sample's copy: delivered seconds after it was sent, at home a little later than at work. */
export function sampleTrace(mail: SampleMail, account: SampleAccountId, recipient: string, now: number): Trace {
  const domain = domainOf(mail.from);
  const sender = /<([^>]+)>/.exec(mail.from)?.[1] ?? mail.from;
  const seconds = account === 'work' ? 4 : 37;
  return { sender, recipient, helo: `mail.${domain}`, at: sentAt(mail, now) + seconds * 1_000 };
}
