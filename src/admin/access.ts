import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import type { Secret } from '../util/secret.js';

/**
 * Whether the Host field names this server in a way that no foreign web page can: by an IP address, as localhost, or by
 * the name it was configured to listen on. A page whose own name was pointed at this address (DNS rebinding) sends that
 * name and is refused.
 */
export function isOwnHost(field: string | undefined, listenHost: string): boolean {
  if (field === undefined) return false;
  const host = /^(\[[0-9A-Fa-f:.]+\]|[^:[\]]+)(?::\d{1,5})?$/.exec(field)?.[1]?.toLowerCase();
  if (host === undefined) return false;
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  return isIP(bare) !== 0 || bare === 'localhost' || bare === listenHost.toLowerCase();
}

/** Whether the Authorization field bears the token (RFC 6750 §2.1); never when none is configured. */
export function bearsToken(field: string | undefined, token: Secret | null): boolean {
  const given = /^Bearer +(\S+) *$/i.exec(field ?? '')?.[1];
  if (token === null || given === undefined) return false;
  // Digests have one length, so that the comparison tells nothing about the token's.
  return timingSafeEqual(digest(given), digest(token.reveal()));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
