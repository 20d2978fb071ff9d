/**
 * Modified UTF-7 (RFC 3501 §5.1.3): `&` … `-` holds UTF-16BE in base64 with `,` for `/` and no padding, `&-` is `&`,
 * and printable ASCII stands for itself.
 */

/** Never fails; a lone surrogate is replaced by U+FFFD. */
export function encodeMutf7(text: string): string {
  if (/^[\x20-\x25\x27-\x7e]*$/.test(text)) return text;
  return wellFormed(text).replace(/&|[^\x20-\x7e]+/g, (run) => (run === '&' ? '&-' : `&${encodeRun(run)}-`));
}

/** Encoding to UTF-8 is what replaces lone surrogates. */
function wellFormed(text: string): string {
  return Buffer.from(text, 'utf8').toString('utf8');
}

function encodeRun(run: string): string {
  const base64 = Buffer.from(run, 'utf16le').swap16().toString('base64');
  return base64.replace(/=+$/, '').replaceAll('/', ',');
}

/**
 * The text, or null when `encoded` is not what `encodeMutf7` yields for any text: 8-bit octets, printable ASCII or
 * superfluous bits in base64, an unfinished shift, adjacent shifts, lone surrogates. So two spellings of one name
 * cannot exist.
 */
export function decodeMutf7(encoded: string): string | null {
  if (!/^[\x20-\x7e]*$/.test(encoded)) return null;
  if (!encoded.includes('&')) return encoded;
  const parts: string[] = [];
  let at = 0;
  while (at < encoded.length) {
    const shift = encoded.indexOf('&', at);
    if (shift === -1) break;
    const end = encoded.indexOf('-', shift);
    if (end === -1) return null;
    const run = decodeRun(encoded.slice(shift + 1, end));
    if (run === null) return null;
    parts.push(encoded.slice(at, shift), run);
    at = end + 1;
  }
  parts.push(encoded.slice(at));
  const text = parts.join('');
  return encodeMutf7(text) === encoded ? text : null;
}

function decodeRun(run: string): string | null {
  if (run === '') return '&';
  if (!/^[A-Za-z0-9+,]+$/.test(run)) return null;
  const bytes = Buffer.from(run.replaceAll(',', '/'), 'base64');
  return bytes.length % 2 === 0 ? bytes.swap16().toString('utf16le') : null;
}
