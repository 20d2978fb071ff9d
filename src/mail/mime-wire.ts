/**
 * Strings of ENVELOPE and BODYSTRUCTURE in wire form (RFC 9051 §4.3). All are binary strings: one character per octet.
 * A quoted string holds neither octets above 127 nor CR, LF or NUL; whatever has these goes as a literal, where NUL,
 * which no literal may hold, becomes U+FFFD.
 */

/** More quoted-specials than this cost more as backslashes than as a literal. */
const MAX_ESCAPES = 4;
/** U+FFFD in UTF-8, as a binary string. */
const REPLACEMENT = '\xef\xbf\xbd';

/** A nstring: NIL for null. */
export function nstring(text: string | null): string {
  return text === null ? 'NIL' : wireString(text);
}

/** A string, quoted where that is possible. */
export function wireString(text: string): string {
  let escapes = 0;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code === 34 || code === 92) escapes += 1;
    else if (code === 0 || code === 10 || code === 13 || code > 127) return literal(text);
  }
  if (escapes === 0) return `"${text}"`;
  return escapes > MAX_ESCAPES ? literal(text) : `"${text.replace(/["\\]/g, '\\$&')}"`;
}

/**
 * A string that people read (a subject, a name): white space runs become single spaces, none at the ends. Quoted when
 * it needs no change at all, else a literal.
 */
export function humanString(text: string | null): string {
  if (text === null) return 'NIL';
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these octets are what decides.
  if (!/[\x00\t\r\n"\\\x80-\xff]|^ | {2}| $/.test(text)) return `"${text}"`;
  const clean = text
    .replace(/[\r\n]/g, '')
    .replace(/[ \t]+/g, ' ')
    .replace(/^ | $/g, '');
  return clean === '' ? '""' : literal(clean);
}

function literal(text: string): string {
  const octets = text.includes('\0') ? text.replaceAll('\0', REPLACEMENT) : text;
  return `{${octets.length}}\r\n${octets}`;
}
