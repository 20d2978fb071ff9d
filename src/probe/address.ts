import { domainToASCII } from 'node:url';
import { MergeboxError } from '../util/errors.js';

export interface MailAddress {
  /** As given. */
  readonly address: string;
  readonly local: string;
  /** Lower case, ASCII (RFC 5890 A-labels). */
  readonly domain: string;
}

/** Throws `config` for what is no address. */
export function parseAddress(text: string): MailAddress {
  const match = /^([^\s@"\p{Cc}]{1,64})@([^\s@\p{Cc}]{1,253})$/u.exec(text);
  const domain = asciiHost(match?.[2] ?? '');
  if (match === null || domain === null) {
    throw new MergeboxError('config', `probe: ${JSON.stringify(text.slice(0, 100))} is no mail address, local@domain`);
  }
  return { address: text, local: match[1]!, domain };
}

/** A host's name in lower case and A-labels; null for addresses and whatever else is no name. */
export function asciiHost(text: string): string | null {
  // The URL parser behind domainToASCII would cut such names at the first of these and take the rest for a path.
  if (/[^\p{L}\p{M}\p{N}._-]/u.test(text)) return null;
  const name = domainToASCII(text).replace(/\.$/, '');
  return isHostName(name) ? name : null;
}

/** RFC 1123, with the underscore that some use. */
function isHostName(name: string): boolean {
  if (name.length > 253 || /^[\d.]+$/.test(name)) return false;
  return name.split('.').every((label) => /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/.test(label));
}

/** Whether `host` is the domain or below it (RFC 6186 §6). */
export function isWithin(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}
