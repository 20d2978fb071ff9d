import { cutFlags, type FlagText, flagText } from '../mail/flags.js';
import { MAX_FLAG_TEXTS } from './limits.js';

/** Canonical flag texts by what the server sends: a folder knows few combinations, so most are looked up. */
export class FlagTexts {
  readonly #texts = new Map<string, FlagText>();

  /** The text for what stands between the parentheses of FLAGS. */
  at(bytes: Buffer, start: number, end: number): FlagText {
    if (start === end) return '';
    const sent = bytes.toString('latin1', start, end);
    const known = this.#texts.get(sent);
    if (known !== undefined) return known;
    // A client could not have set more; what is left out is left alone at the server as well.
    const text = cutFlags(flagText(sent.split(' ')));
    if (this.#texts.size >= MAX_FLAG_TEXTS) this.#texts.clear();
    if (sent.length <= 1_000) this.#texts.set(sent, text);
    return text;
  }
}
