import { domainToASCII } from 'node:url';

/** An address in the form in which two are compared: local part without case and quotes, domain in A-labels. */
export interface ComparableAddress {
  readonly local: string;
  readonly domain: string;
}

/** Null for what is no address. Local parts compare without case, as every large provider does. */
export function comparable(address: string): ComparableAddress | null {
  const at = address.lastIndexOf('@');
  const local = unquoted(address.slice(0, at)).toLowerCase().normalize('NFC');
  const domain = asciiDomain(address.slice(at + 1));
  return at < 1 || local === '' || domain === null ? null : { local, domain };
}

/** The address as it goes on the wire without SMTPUTF8: its domain in A-labels (RFC 5891); null when that cannot be. */
export function wireAddress(address: string): string | null {
  if (address === '' || !address.includes('@')) return address;
  const at = address.lastIndexOf('@');
  const domain = asciiDomain(address.slice(at + 1));
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
  return domainToASCII(domain) || null;
}

function unquoted(local: string): string {
  return /^".*"$/s.test(local) ? local.slice(1, -1).replace(/\\(.)/gs, '$1') : local;
}
