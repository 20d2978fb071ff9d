import { BlockList, isIP } from 'node:net';
import type { ProxyRule, ProxySettings } from './config.js';

/** The proxy for a host; null when there is none or the host is excepted. */
export function proxyFor(rule: ProxyRule | null, host: string, port: number): ProxySettings | null {
  if (rule === null) return null;
  return rule.except.some((pattern) => isExcepted(pattern, host, port)) ? null : rule.proxy;
}

/**
 * Like NO_PROXY as curl reads it: `*` is everything, a name stands for itself and all below it (a leading dot or `*.`
 * changes nothing), an address or a network in CIDR form for addresses; `:port` at the end narrows it to that port.
 */
function isExcepted(pattern: string, host: string, port: number): boolean {
  const { name, only } = splitPort(pattern.trim().toLowerCase());
  if (only !== null && only !== port) return false;
  if (name === '*') return true;
  const wanted = bare(host.toLowerCase());
  if (isIP(wanted) !== 0) return holdsAddress(name, wanted);
  const suffix = name.replace(/^\*?\./, '').replace(/\.$/, '');
  const plain = wanted.replace(/\.$/, '');
  return suffix !== '' && (plain === suffix || plain.endsWith(`.${suffix}`));
}

function splitPort(pattern: string): { name: string; only: number | null } {
  const match = /^(\[[^\]]*\]|[^:]*):(\d{1,5})$/.exec(pattern);
  return match === null ? { name: pattern, only: null } : { name: match[1]!, only: Number(match[2]) };
}

function bare(host: string): string {
  return host.replace(/^\[(.*)\]$/, '$1');
}

function holdsAddress(pattern: string, address: string): boolean {
  const [network = '', bits] = bare(pattern).split('/');
  const family = isIP(network);
  if (family === 0) return false;
  const width = bits === undefined ? (family === 4 ? 32 : 128) : Number(bits);
  if (!Number.isInteger(width) || width < 0 || width > (family === 4 ? 32 : 128)) return false;
  const list = new BlockList();
  list.addSubnet(network, width, family === 4 ? 'ipv4' : 'ipv6');
  return list.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}
