import { isUtf8 } from 'node:buffer';
import { charsetDecoder, decodeCharset, decodeUnknown, knownCharset } from './charset.js';
import { fieldName, headerFields, MAX_FIELD_OCTETS, unfoldedValue } from './header.js';
import type { MimePart } from './mime-part.js';
import { TransferDecoder, transferEncoding } from './mime-transfer.js';

/** `=?charset*language?encoding?text?=` (RFC 2047 §2, RFC 2231 §5); bounded, so that a scan stays linear. */
const ENCODED_WORD = /=\?([^?*\s]{1,40})(?:\*[^?\s]{0,40})?\?([bq])\?([^?\r\n]{0,2000})\?=/iy;

/** Octets of a body that are decoded at a time. */
const PIECE_OCTETS = 256 << 10;

/** Text in one charset (null: not encoded), as octets in pieces. */
interface Run {
  readonly charset: string | null;
  octets: string;
}

/**
 * The readable text of a header field: encoded-words decoded, the white space between two of them dropped (RFC 2047
 * §6.2), other octets above 127 read as UTF-8 or else ISO 8859-1. `value` is a Buffer or a binary string, as
 * `fieldValue` yields.
 */
export function decodeHeader(value: Buffer | string): string {
  const octets =
    typeof value === 'string' ? value.slice(0, MAX_FIELD_OCTETS) : value.toString('latin1', 0, MAX_FIELD_OCTETS);
  const text = octets.includes('\n') ? octets.replace(/\r?\n/g, '') : octets;
  return encodedRuns(text)
    .map((run) => decodeRun(run))
    .join('');
}

function decodeRun({ charset, octets }: Run): string {
  const bytes = Buffer.from(octets, 'latin1');
  return charset === null ? decodeUnknown(bytes) : decodeCharset(bytes, charset);
}

/** Neighbouring encoded-words of one charset are one run: senders cut characters in two between them. */
function encodedRuns(text: string): Run[] {
  const runs: Run[] = [];
  let at = 0;
  const plain = (octets: string): void => {
    const last = runs[runs.length - 1];
    if (last?.charset === null) last.octets += octets;
    else if (octets !== '') runs.push({ charset: null, octets });
  };
  for (let start = text.indexOf('=?'); start >= 0; start = text.indexOf('=?', at)) {
    ENCODED_WORD.lastIndex = start;
    const match = ENCODED_WORD.exec(text);
    const between = text.slice(at, start);
    const last = runs[runs.length - 1];
    const follows = match !== null && last !== undefined && last.charset !== null && /^[ \t]*$/.test(between);
    if (!follows) plain(between);
    if (match === null) {
      plain('=?');
      at = start + 2;
      continue;
    }
    const [word, charset = '', encoding = '', payload = ''] = match;
    const octets = wordOctets(encoding, payload);
    const lower = charset.toLowerCase();
    if (follows && last.charset === lower) last.octets += octets;
    else runs.push({ charset: lower, octets });
    at = start + word.length;
  }
  plain(text.slice(at));
  return runs;
}

/** RFC 2047 §4: B is base64; Q is quoted-printable with `_` for a space. */
function wordOctets(encoding: string, payload: string): string {
  if (encoding.toLowerCase() === 'b') return Buffer.from(payload, 'base64').toString('latin1');
  return payload
    .replaceAll('_', ' ')
    .replace(/=([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
}

export interface SearchScope {
  /** SEARCH TEXT: the mail's own header as well; SEARCH BODY: without it (RFC 9051 §6.4.4). */
  readonly header: boolean;
  /** Characters of a piece that the next piece of the same part repeats: the length of what is looked for, less one. */
  readonly overlap: number;
}

/**
 * The searchable text of a mail, piece by piece: header fields decoded, bodies of text parts with transfer encoding and
 * charset undone. Attachments that are no text are left out. The caller stops when it has found what it looks for, and
 * may let others run between two pieces.
 */
export function* searchText(bytes: Buffer, root: MimePart, scope: SearchScope): Generator<string, void, void> {
  if (scope.header) yield* headerText(bytes, root);
  yield* bodyText(bytes, root, scope.overlap);
}

function* bodyText(bytes: Buffer, part: MimePart, overlap: number): Generator<string, void, void> {
  if (part.text) yield* leafText(bytes, part, overlap);
  for (const child of part.children) {
    yield* headerText(bytes, child);
    yield* bodyText(bytes, child, overlap);
  }
}

function* headerText(bytes: Buffer, part: MimePart): Generator<string, void, void> {
  for (const field of headerFields(bytes, part.headerStart, part.bodyStart)) {
    yield `${fieldName(bytes, field)}: ${decodeHeader(unfoldedValue(bytes, field))}`;
  }
}

function* leafText(bytes: Buffer, part: MimePart, overlap: number): Generator<string, void, void> {
  const body = bytes.subarray(part.bodyStart, part.bodyEnd);
  const encoding = transferEncoding(part.content.encoding);
  const transfer = new TransferDecoder(encoding);
  const charset = charsetDecoder(textCharset(part, body));
  let tail = '';
  for (let at = 0; at < body.length; at += PIECE_OCTETS) {
    const text = tail + charset.write(transfer.write(body.subarray(at, at + PIECE_OCTETS)));
    yield text;
    tail = overlap > 0 ? text.slice(-overlap) : '';
  }
  const last = charset.write(transfer.end()) + charset.end();
  if (last !== '') yield tail + last;
}

/** The charset to read a text part with: the one it names, else UTF-8, unless its octets show that it is not. */
export function textCharset(part: MimePart, body: Buffer): string {
  const encoded = transferEncoding(part.content.encoding) !== 'identity';
  return charsetOf(part) ?? (encoded || isUtf8(body) ? 'utf8' : 'latin1');
}

/** The charset that a part names, when we know it and it is another than ASCII or UTF-8: these two are often wrong. */
function charsetOf(part: MimePart): string | null {
  const name = part.content.params.find(([key]) => key.toLowerCase() === 'charset')?.[1];
  const known = name === undefined ? null : knownCharset(name);
  return known === 'utf8' ? null : known;
}
