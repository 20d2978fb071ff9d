import { base64Lines, headerText, quotedPrintable, toCharset } from './encode.js';
import type { Random } from './random.js';
import { phrase, prose, type Tongue } from './words.js';

/** A MIME entity: its content header fields and its body, `\n` line ends, octets as latin1. */
export interface Entity {
  readonly fields: readonly string[];
  readonly body: string;
}

const ATTACHMENTS = [
  ['application/pdf', 'pdf'],
  ['image/jpeg', 'jpg'],
  ['image/png', 'png'],
  ['application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'docx'],
  ['application/zip', 'zip'],
] as const;

/** Attachments are slices of this, so that large ones cost no time. */
let noise: string | null = null;

/** The content of one mail: plain, encoded, alternative, with attachments, a forwarded mail, an invitation. */
export function anyBody(random: Random, tongue: Tongue, quote: string, maxAttachment: number): Entity {
  const kind = random.weighted({ text: 55, alternative: 28, mixed: 13, forwarded: 2, calendar: 2 });
  switch (kind) {
    case 'text':
      return textPart(random, tongue, 'plain', quote);
    case 'alternative':
      return alternative(random, tongue, quote);
    case 'mixed': {
      const files = Array.from({ length: random.int(1, 3) }, () => attachment(random, tongue, maxAttachment));
      const text = random.chance(0.6) ? alternative(random, tongue, quote) : textPart(random, tongue, 'plain', quote);
      return multipart(random, 'mixed', [text, ...files]);
    }
    case 'forwarded':
      return multipart(random, 'mixed', [textPart(random, tongue, 'plain', quote), forwarded(random, tongue)]);
    case 'calendar':
      return multipart(random, 'alternative', [textPart(random, tongue, 'plain', quote), invitation(random)]);
  }
}

function textPart(random: Random, tongue: Tongue, subtype: 'plain' | 'html', quote: string): Entity {
  const written = prose(random, tongue, random.logInt(3, 60));
  const text = subtype === 'plain' ? `${written}${quote}-- \n${tongue.people[0]![0]}\n` : html(written);
  const octets = toCharset(text, tongue.charset);
  const flowed = tongue.charset === 'us-ascii' && subtype === 'plain' && random.chance(0.3) ? '; format=flowed' : '';
  const encoding =
    tongue.charset === 'us-ascii' || tongue.charset === 'iso-2022-jp'
      ? '7bit'
      : random.weighted({ 'quoted-printable': 5, base64: 3, '8bit': 2 });
  const bodies = { '7bit': octets.toString('latin1'), '8bit': octets.toString('latin1') };
  return {
    fields: [
      `Content-Type: text/${subtype}; charset=${random.chance(0.5) ? `"${tongue.charset}"` : tongue.charset}${flowed}`,
      `Content-Transfer-Encoding: ${encoding}`,
    ],
    body:
      encoding === 'base64'
        ? base64Lines(octets)
        : encoding === 'quoted-printable'
          ? quotedPrintable(octets)
          : bodies[encoding],
  };
}

function html(written: string): string {
  const paragraphs = written.split('\n\n').map((text) => `<p style="margin:0">${text}</p>`);
  return `<html><head><meta charset="x"></head>\n<body>\n${paragraphs.join('\n')}\n</body></html>\n`;
}

function alternative(random: Random, tongue: Tongue, quote: string): Entity {
  return multipart(random, 'alternative', [
    textPart(random, tongue, 'plain', quote),
    textPart(random, tongue, 'html', ''),
  ]);
}

function multipart(random: Random, subtype: string, parts: readonly Entity[]): Entity {
  const boundary = `${random.pick(['----=_Part_', '=-', '000000000000', 'Apple-Mail='])}${random.token(18)}`;
  const preamble = subtype === 'mixed' && random.chance(0.3) ? 'This is a multi-part message in MIME format.\n' : '';
  const body = parts.map((part) => `--${boundary}\n${part.fields.join('\n')}\n\n${part.body}\n`).join('');
  return {
    fields: [`Content-Type: multipart/${subtype};\n boundary="${boundary}"`],
    body: `${preamble}${body}--${boundary}--\n`,
  };
}

function attachment(random: Random, tongue: Tongue, maxOctets: number): Entity {
  noise ??= base64Lines(Buffer.from(Array.from({ length: 750_000 }, (_, at) => (at * 7919 + (at >> 3) * 31) & 0xff)));
  const [type, extension] = random.pick(ATTACHMENTS);
  const lines = Math.max(1, Math.round(random.logInt(1_000, Math.max(2_000, maxOctets)) / 77));
  const start = random.int(0, 5_000) * 77;
  const name = headerText(`${phrase(random, tongue, 1, 3)}.${extension}`, tongue.charset, random);
  return {
    fields: [
      `Content-Type: ${type};\n name="${name}"`,
      'Content-Transfer-Encoding: base64',
      `Content-Disposition: attachment;\n filename="${name}"`,
    ],
    body: noise.slice(start, start + lines * 77),
  };
}

function forwarded(random: Random, tongue: Tongue): Entity {
  const [name, address] = random.pick(tongue.people);
  const text = textPart(random, tongue, 'plain', '');
  const header = [
    `From: ${headerText(name, tongue.charset, random)} <${address}>`,
    `Subject: ${headerText(phrase(random, tongue, 2, 5), tongue.charset, random)}`,
    'Date: Tue, 3 Mar 2020 10:11:12 +0100',
    `Message-ID: <${random.token(20)}@forward.example>`,
    'MIME-Version: 1.0',
    ...text.fields,
  ];
  return { fields: ['Content-Type: message/rfc822'], body: `${header.join('\n')}\n\n${text.body}` };
}

function invitation(random: Random): Entity {
  const lines = ['BEGIN:VCALENDAR', 'METHOD:REQUEST', 'BEGIN:VEVENT', `UID:${random.token(24)}`, 'END:VEVENT'];
  return {
    fields: ['Content-Type: text/calendar; charset=utf-8; method=REQUEST', 'Content-Transfer-Encoding: 7bit'],
    body: `${lines.join('\n')}\nEND:VCALENDAR\n`,
  };
}
