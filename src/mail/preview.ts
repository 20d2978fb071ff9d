import { charsetDecoder } from './charset.js';
import type { MimePart } from './mime-part.js';
import { TransferDecoder, transferEncoding } from './mime-transfer.js';
import { textCharset } from './text.js';

/** Characters of a preview (RFC 8970 §3.1: at most 256). */
const MAX_PREVIEW = 200;
/** Octets of the part that are looked at. */
const MAX_OCTETS = 32_768;

/**
 * The beginning of a mail's text in one line, for a list of mails (RFC 8970): of its first plain text, else of its
 * HTML; without what it quotes. Empty when it has no text.
 */
export function previewOf(bytes: Buffer, root: MimePart): string {
  for (const subtype of ['plain', 'html']) {
    const part = firstText(root, subtype);
    if (part === null) continue;
    const text = partText(bytes, part);
    const short = clip((subtype === 'html' ? plainText(text) : unquoted(text)).replace(/[\s\p{Cc}]+/gu, ' ').trim());
    if (short !== '') return short;
  }
  return '';
}

function firstText(part: MimePart, subtype: string): MimePart | null {
  if (part.kind === 'leaf') {
    const attached = part.content.disposition?.type.toLowerCase() === 'attachment';
    return part.text && !attached && (part.content.subtype?.toLowerCase() ?? 'plain') === subtype ? part : null;
  }
  for (const child of part.children) {
    const found = firstText(child, subtype);
    if (found !== null) return found;
  }
  return null;
}

function partText(bytes: Buffer, part: MimePart): string {
  const body = bytes.subarray(part.bodyStart, Math.min(part.bodyEnd, part.bodyStart + MAX_OCTETS));
  const transfer = new TransferDecoder(transferEncoding(part.content.encoding));
  const charset = charsetDecoder(textCharset(part, body));
  return charset.write(transfer.write(body)) + charset.write(transfer.end());
}

/** Without quoted lines and what stands behind a signature's mark; all of it when nothing else is left. */
function unquoted(text: string): string {
  const own = text.replace(/\n-- \r?\n[\s\S]*$/, '\n').replace(/^[ \t]*>.*$/gm, '');
  return own.trim() === '' ? text : own;
}

const ENTITIES: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  nbsp: ' ',
};

/** What a person would read of HTML; every step takes time by the length of the text. */
function plainText(html: string): string {
  let text = '';
  let skip: string | null = null;
  for (let at = 0; at < html.length; ) {
    const open = html.indexOf('<', at);
    if (open < 0) {
      if (skip === null) text += html.slice(at);
      break;
    }
    if (skip === null) text += html.slice(at, open);
    const close = html.startsWith('<!--', open) ? html.indexOf('-->', open) + 2 : html.indexOf('>', open);
    if (close < open) break;
    const name = /^<(\/?[a-z]+)/i.exec(html.slice(open, open + 12))?.[1]?.toLowerCase() ?? '';
    if (skip === null && ['style', 'script', 'title', 'head'].includes(name)) skip = `/${name}`;
    else if (name === skip) skip = null;
    text += ' ';
    at = close + 1;
  }
  return text.replace(/&(#x?[0-9a-f]{1,6}|[a-z]{1,8});/gi, (whole, name: string) => {
    if (!name.startsWith('#')) return ENTITIES[name.toLowerCase()] ?? whole;
    const code = /^#x/i.test(name) ? Number.parseInt(name.slice(2), 16) : Number(name.slice(1));
    return code > 0 && code <= 0x10_ffff && (code < 0xd800 || code > 0xdfff) ? String.fromCodePoint(code) : ' ';
  });
}

/** At the end of a word where one ends near; never in the middle of a character. */
function clip(text: string): string {
  const characters = [...text.slice(0, 2 * MAX_PREVIEW)];
  if (characters.length <= MAX_PREVIEW) return characters.join('');
  const cut = characters.slice(0, MAX_PREVIEW).join('');
  const space = cut.lastIndexOf(' ');
  return space > MAX_PREVIEW / 2 ? cut.slice(0, space) : cut;
}
