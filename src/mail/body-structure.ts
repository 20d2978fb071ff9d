import { envelopeText } from './envelope.js';
import type { MimeContent, MimeParam, MimePart } from './mime-part.js';
import { nstring, wireString } from './mime-wire.js';

/** RFC 2045 §5.2: what text without a charset is in. */
const DEFAULT_CHARSET = '"charset" "us-ascii"';
/** A part of no octets, for a multipart without parts: body-type-mpart wants at least one. */
const NO_PART = `("text" "plain" (${DEFAULT_CHARSET}) NIL NIL "7bit" 0 0)`;
const NO_PART_EXTENDED = `("text" "plain" (${DEFAULT_CHARSET}) NIL NIL "7bit" 0 0 NIL NIL NIL NIL)`;

/**
 * The `(…)` of BODYSTRUCTURE (RFC 9051 §7.5.2) with its extension data, ready to send. `bytes` are the mail that
 * `root` was read from: the envelopes of the messages inside come from there.
 */
export function bodyStructureWire(bytes: Buffer, root: MimePart): Buffer {
  return wire(bytes, root, true);
}

/** The same for BODY: without extension data. */
export function bodyWire(bytes: Buffer, root: MimePart): Buffer {
  return wire(bytes, root, false);
}

function wire(bytes: Buffer, root: MimePart, extended: boolean): Buffer {
  const out: string[] = [];
  writePart(out, bytes, root, extended);
  return Buffer.from(out.join(''), 'latin1');
}

/**
 * Writes one part. The recursion is as deep as parts nest, which the reader limits (`MAX_MIME_DEPTH`); the pieces are
 * joined once, for each level that copied what is below it would cost a peer nothing and us a hundredfold.
 */
function writePart(out: string[], bytes: Buffer, part: MimePart, extended: boolean): void {
  if (part.kind === 'multipart') writeMultipart(out, bytes, part, extended);
  else writeOnePart(out, bytes, part, extended);
}

function writeOnePart(out: string[], bytes: Buffer, part: MimePart, extended: boolean): void {
  const { content } = part;
  const items = [
    ...typeOf(part),
    params(content.params, part.text),
    nstring(content.id),
    nstring(content.description),
    wireString(content.encoding ?? '7bit'),
    String(part.bodyEnd - part.bodyStart),
  ];
  out.push('(', items.join(' '));
  const [message] = part.children;
  if (part.kind === 'message' && message !== undefined) {
    out.push(' ', envelopeText(bytes.subarray(message.headerStart, message.bodyStart)), ' ');
    writePart(out, bytes, message, extended);
  }
  if (part.text || part.kind === 'message') out.push(` ${part.lines}`);
  if (extended) out.push(` ${nstring(content.md5)} ${extension(content)}`);
  out.push(')');
}

function writeMultipart(out: string[], bytes: Buffer, part: MimePart, extended: boolean): void {
  const { content, children } = part;
  out.push('(');
  if (children.length === 0) out.push(extended ? NO_PART_EXTENDED : NO_PART);
  for (const child of children) writePart(out, bytes, child, extended);
  out.push(` ${wireString(content.subtype ?? 'mixed')}`);
  if (extended) out.push(` ${params(content.params, false)} ${extension(content)}`);
  out.push(')');
}

/** Type and subtype, in the sender's spelling; message/rfc822 in ours, since readers compare it. */
function typeOf(part: MimePart): [string, string] {
  const { type, subtype } = part.content;
  if (part.kind === 'message') return ['"message"', '"rfc822"'];
  if (type === null || subtype === null) return ['"text"', '"plain"'];
  // A multipart or message that was nested too deep to be opened has nothing to show of what these types demand.
  if (/^multipart\/|^message\/rfc822$/i.test(`${type}/${subtype}`)) return ['"application"', '"octet-stream"'];
  return [wireString(type), wireString(subtype)];
}

function params(list: readonly MimeParam[], text: boolean): string {
  const items = list.map(([name, value]) => `${wireString(name)} ${wireString(value)}`);
  if (text && !list.some(([name]) => name.toLowerCase() === 'charset')) items.push(DEFAULT_CHARSET);
  return items.length === 0 ? 'NIL' : `(${items.join(' ')})`;
}

/** Disposition, language and location (body-ext-1part and body-ext-mpart). */
function extension({ disposition, language, location }: MimeContent): string {
  return [
    disposition === null ? 'NIL' : `(${wireString(disposition.type)} ${params(disposition.params, false)})`,
    language === null ? 'NIL' : `(${language.map(wireString).join(' ')})`,
    nstring(location),
  ].join(' ');
}
