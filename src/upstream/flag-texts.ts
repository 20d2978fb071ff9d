import { cutFlags, type FlagText, flagText, isAccountKeyword } from '../mail/flags.js';
import { MAX_FLAG_TEXTS } from './limits.js';

/** `flag` (RFC 9051 §9): an atom, with a backslash before those of the system. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: an atom has none
const FLAG = /^\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+$/;

/** Canonical flag texts by what the server sends: a folder knows few combinations, so most are looked up. */
export class FlagTexts {
  readonly #texts = new Map<string, FlagText>();

  /** The text for what stands between the parentheses of FLAGS. */
  at(bytes: Buffer, start: number, end: number): FlagText {
    if (start === end) return '';
    const sent = bytes.toString('latin1', start, end);
    const known = this.#texts.get(sent);
    if (known !== undefined) return known;
    // What no client could be told or could have set is left out here, and left alone at the server.
    const usable = sent.split(' ').filter((flag) => FLAG.test(flag) && !isAccountKeyword(flag));
    const text = cutFlags(flagText(usable));
    if (this.#texts.size >= MAX_FLAG_TEXTS) this.#texts.clear();
    if (sent.length <= 1_000) this.#texts.set(sent, text);
    return text;
  }
}
