import { createHash } from 'node:crypto';
import { simpleParser } from 'mailparser';
import t from 'tap';
import { distinctMails, type GeneratedMail, generateMails } from '../../bench/mail/generator.js';

const OPTIONS = { seed: 7, mails: 300, common: 60, maxAttachment: 20_000 };

const digest = (seed: number): string => {
  const hash = createHash('sha256');
  for (const mail of generateMails({ ...OPTIONS, seed })) for (const { octets } of mail.copies) hash.update(octets);
  return hash.digest('hex');
};

/** Everything but what the receiving server added. */
const withoutTrace = (octets: Buffer): string => {
  const text = octets.toString('latin1');
  return text.slice(text.indexOf('Received: from', text.indexOf(' by mx.account') + 1));
};

t.test('generateMails gives the same octets for the same seed and others for another', async (t) => {
  t.equal(digest(7), digest(7));
  t.not(digest(7), digest(8));
});

t.test('generateMails gives each account its number and the common ones to all', async (t) => {
  const mails = [...generateMails(OPTIONS)];
  t.equal(mails.length, distinctMails(OPTIONS));
  for (const account of [0, 1]) {
    t.equal(mails.filter((mail) => mail.copies.some((copy) => copy.account === account)).length, OPTIONS.mails);
  }
  const common = mails.filter((mail) => mail.copies.length === 2);
  t.equal(common.length, OPTIONS.common);
  t.ok(common.every((mail) => mail.messageId !== null));
  for (const { copies } of common) {
    if (copies[0]!.octets.equals(copies[1]!.octets)) t.fail('trace fields differ');
    if (withoutTrace(copies[0]!.octets) !== withoutTrace(copies[1]!.octets)) t.fail('nothing but trace fields differs');
  }
  const ids = mails.flatMap((mail) => (mail.messageId === null ? [] : [mail.messageId]));
  t.equal(new Set(ids).size, ids.length);
});

interface Seen {
  attachments: number;
  replies: number;
  html: number;
  withoutMessageId: number;
  readonly charsets: Set<string>;
  readonly faults: string[];
}

t.test('generateMails writes mail that a MIME parser reads back', async (t) => {
  const seen: Seen = { attachments: 0, replies: 0, html: 0, withoutMessageId: 0, charsets: new Set(), faults: [] };
  for (const mail of generateMails({ ...OPTIONS, mails: 500 })) await inspect(mail, seen);
  t.same(seen.faults, []);
  t.ok(seen.attachments > 50, `${seen.attachments} attachments`);
  t.ok(seen.replies > 200, `${seen.replies} replies`);
  t.ok(seen.html > 150, `${seen.html} with HTML`);
  t.ok(seen.withoutMessageId > 0, `${seen.withoutMessageId} without Message-ID`);
  t.same([...seen.charsets].sort(), ['gb18030', 'iso-2022-jp', 'iso-8859-1', 'koi8-r', 'us-ascii', 'utf-8']);
});

async function inspect(mail: GeneratedMail, seen: Seen): Promise<void> {
  const { octets } = mail.copies[0]!;
  const parsed = await simpleParser(octets);
  if (parsed.subject !== mail.subject) seen.faults.push(`${parsed.subject} for ${mail.subject}`);
  if ((parsed.messageId ?? null) !== mail.messageId) seen.faults.push(`${parsed.messageId} for ${mail.messageId}`);
  if (parsed.from?.value[0]?.address === undefined) seen.faults.push(`${mail.messageId}: no sender`);
  if (!(parsed.date instanceof Date)) seen.faults.push(`${mail.messageId}: no date`);
  seen.attachments += parsed.attachments.length;
  if (parsed.inReplyTo !== undefined) seen.replies += 1;
  if (mail.messageId === null) seen.withoutMessageId += 1;
  if (typeof parsed.html === 'string') seen.html += 1;
  const types = octets.toString('latin1').matchAll(/^Content-Type: text\/\w+; charset="?([\w-]+)/gm);
  for (const [, charset = ''] of types) seen.charsets.add(charset);
}
