import iconv from 'iconv-lite';

/** Reads octets as they come; `end` gives what was still incomplete. */
export interface CharsetDecoder {
  write(octets: Buffer): string;
  end(): string;
}

/** Names that senders use and iconv-lite does not know. */
const ALIASES = new Map<string, string>([
  ['utf-8', 'utf8'],
  ['us-ascii', 'utf8'],
  ['ascii', 'utf8'],
  ['ansi_x3.4-1968', 'utf8'],
  ['unknown-8bit', 'utf8'],
  ['x-unknown', 'utf8'],
  ['iso-8859-8-i', 'iso-8859-8'],
  ['iso-8859-8-e', 'iso-8859-8'],
  ['iso-8859-6-i', 'iso-8859-6'],
  ['iso-8859-6-e', 'iso-8859-6'],
  ['ks_c_5601-1987', 'cp949'],
  ['x-gbk', 'gbk'],
  ['x-sjis', 'shiftjis'],
  ['ms_kanji', 'shiftjis'],
  ['cp-850', 'cp850'],
]);

/** What iconv-lite has beside charsets: for it, base64 is an encoding like any other. */
const CODECS: ReadonlySet<string> = new Set(['base64', 'hex']);

/** iconv-lite's name of a charset that mail names, or null when it has none. */
export function knownCharset(name: string): string | null {
  const lower = name.trim().toLowerCase();
  const alias = ALIASES.get(lower) ?? lower;
  if (alias === '' || alias.length > 40 || CODECS.has(alias.replace(/[^a-z0-9]/g, ''))) return null;
  return iconv.encodingExists(alias) ? alias : null;
}

/**
 * The text of `octets`. Without a charset, or with one that nobody knows: UTF-8 when they are that, else ISO 8859-1, in
 * which every octet is a letter.
 */
export function decodeCharset(octets: Buffer, charset: string | null): string {
  const known = charset === null ? null : knownCharset(charset);
  return known !== null && known !== 'utf8' ? iconv.decode(octets, known) : decodeUnknown(octets);
}

/** UTF-8 when the octets are valid UTF-8, else ISO 8859-1. */
export function decodeUnknown(octets: Buffer): string {
  const text = octets.toString('utf8');
  return text.includes('\ufffd') && !octets.includes(REPLACEMENT) ? octets.toString('latin1') : text;
}

const REPLACEMENT = Buffer.from('\ufffd');

/** `decodeCharset` for octets that come in pieces; an unknown charset is read as UTF-8 here. */
export function charsetDecoder(charset: string | null): CharsetDecoder {
  const known = (charset === null ? null : knownCharset(charset)) ?? 'utf8';
  const decoder = iconv.getDecoder(known);
  return {
    write: (octets) => decoder.write(octets),
    end: () => decoder.end() ?? '',
  };
}
