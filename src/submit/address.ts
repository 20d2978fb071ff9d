import { domainToASCII } from 'node:url';

/** An address in the form in which two are compared: local part without case and quotes, domain in A-labels. */
export interface ComparableAddress {
  readonly local: string;
  readonly domain: string;
}

/**
 * A local part as RFC 5321 §4.1.2 and RFC 6531 §3.3 have it: an atom, or a quoted string. With an open `@`, a comma or an
 * encoded word in it, other programs see another address than we do.
 */
const LOCAL = /^(?:[^\p{Cc} ()<>[\]:;@\\,"]+|"(?:[^\p{Cc}"\\]|\\[ -~])*")$/u;
const ENCODED_WORD = /=\?[^?]*\?[bq]\?/i;

/** Null for what is no address. Local parts compare without case, as every large provider does. */
export function comparable(address: string): ComparableAddress | null {
  const at = address.lastIndexOf('@');
  const written = address.slice(0, Math.max(at, 0));
  if (!LOCAL.test(written) || ENCODED_WORD.test(written)) return null;
  const local = unquoted(written).toLowerCase().normalize('NFC');
  const domain = asciiDomain(address.slice(at + 1));
  return local === '' || domain === null ? null : { local, domain };
}

/** The address as it goes on the wire without SMTPUTF8: its domain in A-labels (RFC 5891); null when that cannot be. */
export function wireAddress(address: string): string | null {
  if (address === '' || !address.includes('@')) return address;
  const at = address.lastIndexOf('@');
  const written = address.slice(at + 1);
  // ASCII stays what it is: a URL's host would be read otherwise.
  if (/^[!-~]*$/.test(written)) return `${address.slice(0, at)}@${written.toLowerCase()}`;
  const domain = asciiDomain(written);
  return domain === null ? null : `${address.slice(0, at)}@${domain}`;
}

/** True when the address needs SMTPUTF8 (RFC 6531) whatever form its domain takes. */
export function needsUtf8(address: string): boolean {
  return /[^\x20-\x7e]/.test(address.slice(0, address.lastIndexOf('@') + 1));
}

/** `alice` for `alice+lists`; null when there is no tag. */
export function withoutTag(local: string): string | null {
  const plus = local.indexOf('+');
  return plus < 1 ? null : local.slice(0, plus);
}

function asciiDomain(domain: string): string | null {
  if (/^\[[\x21-\x5a\x5e-\x7e]+\]$/.test(domain)) return domain.toLowerCase();
  // domainToASCII reads a URL's host: it would undo `%2e` and stop at a slash.
  if (!/^(?:[\w.-]|[^\0-\x7f])+$/.test(domain)) return null;
  const ascii = domainToASCII(domain);
  return /^[\w.-]+$/.test(ascii) ? ascii : null;
}

function unquoted(local: string): string {
  return /^".*"$/s.test(local) ? local.slice(1, -1).replace(/\\(.)/gs, '$1') : local;
}
