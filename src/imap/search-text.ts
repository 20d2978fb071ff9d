import iconv from 'iconv-lite';
import { knownCharset } from '../mail/charset.js';
import { MergeboxError } from '../util/errors.js';

/** Text as it is compared: without case, composed and compatibility forms alike (RFC 5051 does the like). */
export function foldText(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: plain ASCII is what this is about
  return /^[\x00-\x7f]*$/.test(text) ? text.toLowerCase() : text.normalize('NFKC').toLowerCase();
}

/** Thrown for a charset that SEARCH does not know; answered with BADCHARSET (RFC 9051 §6.4.4). */
export class BadCharset extends Error {}

/** Reads the search strings of one command: its charset, else UTF-8 (which US-ASCII is as well). */
export class SearchCharset {
  readonly #encoding: string;

  constructor(charset: string | null) {
    const known = charset === null ? 'utf8' : knownCharset(charset);
    if (known === null) throw new BadCharset(`charset ${charset} is not known`);
    this.#encoding = known;
  }

  /** Folded, ready to be compared. */
  decode(value: Buffer): string {
    const text = iconv.decode(value, this.#encoding);
    if (text.length > MAX_NEEDLE)
      throw new MergeboxError('limit', `a search text has more than ${MAX_NEEDLE} characters`);
    return foldText(text);
  }
}

/** Characters of one search text: what people type, and what Message-IDs need, stays far below. */
const MAX_NEEDLE = 4_096;
