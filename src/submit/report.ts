import { createHash } from 'node:crypto';
import { needsUtf8 } from './address.js';
import { dateTime, REPORT_FIELD } from './message.js';
import type { QueuedMail, Recipient } from './queue/mail.js';
import { oneLine } from './reply.js';
import { originalRecipient } from './xtext.js';

export type ReportKind = 'ended' | 'delayed';

export interface ReportParts {
  readonly mail: QueuedMail;
  /** Those it tells of. */
  readonly recipients: readonly Recipient[];
  readonly kind: ReportKind;
  /** This host's name. */
  readonly hostname: string;
  /** The server the mail was to leave through. */
  readonly server: string;
  readonly now: number;
  /** Until when a delayed mail is tried. */
  readonly giveUpAt: number;
  /** The original's header, or the whole of it for RET=FULL. */
  readonly original: { readonly bytes: Buffer; readonly full: boolean };
}

/** The Message-ID, without brackets, of the next report on a mail: the same one until that report is recorded. */
export function reportId({ id, created, reports }: QueuedMail, hostname: string): string {
  return `report.${id}.${created}.${reports}@${hostname}`;
}

/**
 * A delivery status notification (RFC 3464) in plain English: what happened in words, then for programs, then the
 * header of the mail it is about. It has the null sender, and a field of our own that keeps it from going round.
 */
export function buildReport(parts: ReportParts): Buffer {
  const { mail, kind, hostname, now, original } = parts;
  const boundary = `=_${createHash('sha256').update(original.bytes).update(String(mail.id)).digest('hex').slice(0, 40)}`;
  const head = [
    'Return-Path: <>',
    `Date: ${dateTime(new Date(now))}`,
    `From: Mail delivery by Mergebox <MAILER-DAEMON@${hostname}>`,
    `To: <${mail.sender}>`,
    `Subject: ${subject(parts)}`,
    `Message-ID: <${reportId(mail, hostname)}>`,
    ...(isPlainId(mail.envelope.messageId)
      ? [`In-Reply-To: ${mail.envelope.messageId}`, `References: ${mail.envelope.messageId}`]
      : []),
    'Auto-Submitted: auto-replied',
    `${REPORT_FIELD}: ${hostname} ${kind}`,
    'MIME-Version: 1.0',
    'Content-Type: multipart/report; report-type=delivery-status;',
    ` boundary="${boundary}"`,
    '',
    '',
  ];
  const part = (type: string, encoding: string, body: string): string =>
    `--${boundary}\r\nContent-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}\r\n`;
  const encoding = original.bytes.every((byte) => byte < 128) ? '7bit' : '8bit';
  return Buffer.concat([
    Buffer.from(head.join('\r\n')),
    Buffer.from(part('text/plain; charset=utf-8', '8bit', words(parts).join('\r\n'))),
    Buffer.from(part('message/delivery-status', '7bit', status(parts).join('\r\n'))),
    Buffer.from(
      `--${boundary}\r\nContent-Type: ${original.full ? 'message/rfc822' : 'text/rfc822-headers'}\r\n` +
        `Content-Transfer-Encoding: ${encoding}\r\n\r\n`,
    ),
    original.bytes,
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}

function isPlainId(id: string): boolean {
  return /^<[\x21-\x3b\x3d\x3f-\x7e]{1,900}>$/.test(id);
}

function subject({ kind, recipients }: ReportParts): string {
  if (kind === 'delayed') return 'Delayed: your mail is still on its way';
  return recipients.some(({ state }) => state === 'failed')
    ? 'Undelivered: your mail could not be sent'
    : 'Your mail was relayed';
}

/** For people. */
function words({ mail, recipients, kind, server, giveUpAt, now }: ReportParts): string[] {
  const what = mail.envelope.subject === '' ? 'Your mail' : `Your mail "${printable(mail.envelope.subject)}"`;
  const lines = [
    `${what} of ${dateTime(new Date(mail.created))}`,
    `left Mergebox by ${server} (account ${mail.account}).`,
    '',
  ];
  const list = (title: string, some: readonly Recipient[]): void => {
    if (some.length === 0) return;
    lines.push(title, '');
    for (const { address, reply } of some) {
      lines.push(`  <${address}>`, ...(reply === undefined ? [] : [`      ${oneLine(reply)}`]));
    }
    lines.push('');
  };
  if (kind === 'delayed') {
    list('It could not be delivered yet to:', recipients);
    if (mail.error !== null) lines.push(`The last obstacle: ${oneLine(mail.error)}`, '');
    lines.push(
      `It is tried again until ${dateTime(new Date(Math.max(giveUpAt, now)))}.`,
      'You need not send it again.',
    );
    return lines;
  }
  list(
    'It could not be delivered to:',
    recipients.filter(({ state }) => state === 'failed'),
  );
  list(
    'It was handed to a server that sends no reports of delivery, for:',
    recipients.filter(({ state }) => state === 'delivered'),
  );
  if (mail.repeated)
    lines.push('An answer was lost on the way, and it was sent twice: some may have it two times.', '');
  lines.push('The other recipients, if there were any, are not concerned.');
  return lines;
}

/** For programs (RFC 3464 §2.2 and §2.3). */
function status({ mail, recipients, kind, hostname, server, now, giveUpAt }: ReportParts): string[] {
  const { envid } = mail.envelope;
  const lines = [
    `Reporting-MTA: dns; ${hostname}`,
    ...(envid === null ? [] : [`Original-Envelope-Id: ${oneLine(envid)}`]),
    `Arrival-Date: ${dateTime(new Date(mail.created))}`,
    '',
  ];
  for (const each of recipients) {
    const code = each.status ?? (kind === 'delayed' ? '4.0.0' : '5.0.0');
    lines.push(
      ...(each.orcpt === undefined ? [] : [`Original-Recipient: ${originalRecipient(each.orcpt)}`]),
      `Final-Recipient: ${finalRecipient(each.address)}`,
      `Action: ${action(kind, each)}`,
      `Status: ${statusOf(kind, each, code)}`,
      `Remote-MTA: dns; ${server}`,
      ...(each.reply !== undefined && /^\d{3} /.test(each.reply)
        ? [`Diagnostic-Code: smtp; ${oneLine(each.reply)}`]
        : []),
      `Last-Attempt-Date: ${dateTime(new Date(now))}`,
      ...(kind === 'delayed' ? [`Will-Retry-Until: ${dateTime(new Date(giveUpAt))}`] : []),
      '',
    );
  }
  return lines;
}

function action(kind: ReportKind, { state }: Recipient): string {
  if (kind === 'delayed') return 'delayed';
  return state === 'failed' ? 'failed' : 'relayed';
}

/** The class of the status says the action (RFC 3464 §2.3.4): what was given up is 5, whatever the last reply was. */
function statusOf(kind: ReportKind, { state }: Recipient, code: string): string {
  if (kind === 'delayed') return `4${code.slice(1)}`;
  if (state !== 'failed') return '2.0.0';
  return code === '4.4.7' ? code : `5${code.slice(1)}`;
}

function finalRecipient(address: string): string {
  return needsUtf8(address) || /[^\x20-\x7e]/.test(address)
    ? originalRecipient(`utf-8;${address}`)
    : `rfc822; ${address}`;
}

/** On one line, without control characters. */
function printable(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]+/gu, ' ').slice(0, 200);
}
