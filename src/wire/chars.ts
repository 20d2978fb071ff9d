/** Character classes of RFC 9051 §9 as bits of one table, so that scanning a word is one look-up per octet. */
const CLASSES = new Uint8Array(256);

/** ATOM-CHAR: any CHAR but `(`, `)`, `{`, SP, CTL, `%`, `*`, `"`, `\` and `]`. */
export const ATOM = 1;
/** ASTRING-CHAR = ATOM-CHAR / `]`. */
export const ASTRING = 2;
/** list-char = ATOM-CHAR / `%` / `*` / `]`. */
export const LIST = 4;
/** tag = 1*<any ASTRING-CHAR except `+`>. */
export const TAG = 8;
export const DIGIT = 16;
/** What a sequence-set is written with, `$` (RFC 5182) included. */
export const SET = 32;
/** Letters, digits and dots: names of FETCH items and sections, which end at `[`, `]`, SP or `)`. */
export const FETCH_NAME = 64;

for (let byte = 0x21; byte < 0x7f; byte += 1) {
  const char = String.fromCharCode(byte);
  const atom = !'(){%*"\\]'.includes(char);
  let bits = 0;
  if (atom) bits |= ATOM;
  if (atom || char === ']') bits |= ASTRING;
  if (atom || ']%*'.includes(char)) bits |= LIST;
  if ((atom || char === ']') && char !== '+') bits |= TAG;
  if (byte >= 0x30 && byte <= 0x39) bits |= DIGIT | SET;
  if (/[A-Za-z0-9.]/.test(char)) bits |= FETCH_NAME;
  if (':,*$'.includes(char)) bits |= SET;
  CLASSES[byte] = bits;
}

/** The end of the longest run of octets of `charClass` in `bytes` from `start`. */
export function scan(bytes: Buffer, start: number, charClass: number): number {
  let at = start;
  while (at < bytes.length && (CLASSES[bytes[at]!]! & charClass) !== 0) at += 1;
  return at;
}

/** Whether all of `text` is of `charClass`; false for an empty text. */
export function isAll(text: string, charClass: number): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code > 0xff || (CLASSES[code]! & charClass) === 0) return false;
  }
  return text.length > 0;
}
