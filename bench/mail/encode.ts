import iconv from 'iconv-lite';
import type { Random } from './random.js';

/** A header value with RFC 2047 encoded-words where it needs them, folded between them; B or Q as mailers vary. */
export function headerText(text: string, charset: string, random: Random): string {
  if (isPrintableAscii(text)) return text;
  const base64 = charset === 'iso-2022-jp' || random.chance(0.6);
  const words: string[] = [];
  // Each encoded-word is at most 75 characters and holds whole characters (RFC 2047 §2).
  const characters = [...text];
  for (let at = 0; at < characters.length; at += 12) {
    const octets = toCharset(characters.slice(at, at + 12).join(''), charset);
    words.push(`=?${charset}?${base64 ? `B?${octets.toString('base64')}` : `Q?${qWord(octets)}`}?=`);
  }
  return words.join('\n ');
}

/** A display name and address as a mailbox of RFC 5322, encoded or quoted where needed. */
export function mailbox(name: string, address: string, charset: string, random: Random): string {
  if (!isPrintableAscii(name)) return `${headerText(name, charset, random)} <${address}>`;
  return /^[\w ]+$/.test(name) ? `${name} <${address}>` : `"${name}" <${address}>`;
}

export function toCharset(text: string, charset: string): Buffer {
  if (charset === 'utf-8' || charset === 'us-ascii') return Buffer.from(text);
  // iconv-lite writes no ISO-2022-JP; its neighbour EUC-JP converts by clearing the high bits (JIS X 0208 only).
  return charset === 'iso-2022-jp' ? iso2022jp(text) : iconv.encode(text, charset);
}

function iso2022jp(text: string): Buffer {
  const out: number[] = [];
  let wide = false;
  const shift = (to: boolean): void => {
    if (wide !== to) out.push(0x1b, ...(to ? [0x24, 0x42] : [0x28, 0x42]));
    wide = to;
  };
  for (const character of text) {
    const octets = iconv.encode(character, 'euc-jp');
    const isWide = octets.length === 2 && octets[0]! >= 0xa1;
    if (isWide || character === '\n') shift(isWide);
    else shift(false);
    out.push(...(isWide ? [octets[0]! & 0x7f, octets[1]! & 0x7f] : [character.charCodeAt(0) & 0x7f]));
  }
  shift(false);
  return Buffer.from(out);
}

function qWord(octets: Buffer): string {
  let text = '';
  for (const octet of octets) {
    if (octet === 0x20) text += '_';
    else text += /[A-Za-z0-9]/.test(String.fromCharCode(octet)) ? String.fromCharCode(octet) : hex(octet);
  }
  return text;
}

/** Quoted-printable (RFC 2045 §6.7) of a text with `\n` line ends, lines at most 76 characters. */
export function quotedPrintable(octets: Buffer): string {
  let text = '';
  let column = 0;
  for (let at = 0; at < octets.length; at += 1) {
    const octet = octets[at]!;
    if (octet === 0x0a) {
      text += '\n';
      column = 0;
      continue;
    }
    const plain = (octet >= 0x21 && octet <= 0x7e && octet !== 0x3d) || (octet === 0x20 && octets[at + 1] !== 0x0a);
    const piece = plain ? String.fromCharCode(octet) : hex(octet);
    if (column + piece.length > 75) {
      text += '=\n';
      column = 0;
    }
    text += piece;
    column += piece.length;
  }
  return text;
}

/** Base64 in lines of 76 characters, each with its `\n`. */
export function base64Lines(octets: Buffer): string {
  const text = octets.toString('base64');
  return text.replace(/.{1,76}/g, '$&\n');
}

function hex(octet: number): string {
  return `=${octet.toString(16).toUpperCase().padStart(2, '0')}`;
}

function isPrintableAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}
