import { Resolver as DnsResolver } from 'node:dns/promises';
import type { Resolver } from './types.js';
import { PROBE_LIMITS } from './limits.js';

/** No such name, or nothing of that kind there: an answer, not a fault. */
const NOTHING = new Set(['ENOTFOUND', 'ENODATA', 'NXDOMAIN']);

/** Asks the machine's name servers, or `server` (`address[:port]`) instead. */
export function dnsResolver(server?: string): Resolver {
  const dns = new DnsResolver({ timeout: PROBE_LIMITS.dnsMs / 2, tries: 2 });
  if (server !== undefined) dns.setServers([server]);
  return {
    srv: (name) => answered(dns.resolveSrv(name)),
    mx: async (name) => {
      const records = await answered(dns.resolveMx(name));
      return records.sort((a, b) => a.priority - b.priority).map(({ exchange }) => exchange);
    },
  };
}

async function answered<T>(question: Promise<T[]>): Promise<T[]> {
  try {
    return await question;
  } catch (error) {
    if (NOTHING.has((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
