import { isIP, isIPv6, type Socket } from 'node:net';
import type { Endpoint, ProxySettings } from '../config/config.js';
import { MergeboxError } from '../util/errors.js';
import { ProxyReader } from './proxy-reader.js';

/** An HTTP answer's head: proxies send a few hundred octets. */
const MAX_HEAD = 16_384;

/** How errors name a proxy; never with its credentials. */
export function proxyName({ type, host, port }: ProxySettings): string {
  return `${type} proxy ${host}:${port}`;
}

/**
 * Asks the proxy at the other end of `socket` for a tunnel to `target`, whose name the proxy resolves. Afterwards the
 * socket is the upstream's, from its first octet. Rejects with `connection`, `protocol`, or `authentication` for
 * credentials that the proxy refuses.
 */
export async function openTunnel(
  socket: Socket,
  proxy: ProxySettings,
  target: Pick<Endpoint, 'host' | 'port'>,
): Promise<void> {
  if (!/^[\x21-\x7e]{1,255}$/.test(target.host)) {
    throw new MergeboxError('connection', `${proxyName(proxy)}: it cannot be asked for the host of this account`);
  }
  const reader = new ProxyReader(socket, proxyName(proxy));
  try {
    await (proxy.type === 'http' ? httpConnect : socks5)(socket, reader, proxy, target);
  } finally {
    await reader.release();
  }
}

type Handshake = (
  socket: Socket,
  reader: ProxyReader,
  proxy: ProxySettings,
  target: Pick<Endpoint, 'host' | 'port'>,
) => Promise<void>;

/** RFC 9110 §9.3.6; Basic credentials by RFC 7617. */
const httpConnect: Handshake = async (socket, reader, proxy, { host, port }) => {
  const authority = `${isIPv6(host) ? `[${host}]` : host}:${port}`;
  const lines = [`CONNECT ${authority} HTTP/1.1`, `Host: ${authority}`];
  if (proxy.auth !== null) {
    const plain = `${proxy.auth.username}:${proxy.auth.password.reveal()}`;
    lines.push(`Proxy-Authorization: Basic ${Buffer.from(plain, 'utf8').toString('base64')}`);
  }
  socket.write(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const head = (await reader.through('\r\n\r\n', MAX_HEAD)).toString('latin1');
  const [, status = '', reason = ''] = /^HTTP\/1\.[01] (\d{3})([^\r\n]*)/.exec(head) ?? [];
  if (status === '') throw new MergeboxError('protocol', `${proxyName(proxy)}: it does not answer as an HTTP proxy`);
  // RFC 9110 §15.3: any 2xx answer to CONNECT means that the tunnel stands.
  if (status.startsWith('2')) return;
  const said = `${status}${reason.slice(0, 200).replace(/[^\x20-\x7e]/g, '?')}`;
  if (status === '407') throw refusedCredentials(proxy, said);
  throw new MergeboxError('connection', `${proxyName(proxy)}: no tunnel to ${authority}: it answered ${said}`);
};

const NO_AUTHENTICATION = 0;
const PASSWORD = 2;
const SOCKS_REPLIES: Readonly<Record<number, string>> = {
  1: 'general failure',
  2: 'not allowed by its rules',
  3: 'network unreachable',
  4: 'host unreachable or name unknown',
  5: 'connection refused',
  6: 'time to live expired',
  7: 'CONNECT is not supported',
  8: 'the kind of address is not supported',
};

/** RFC 1928; the name goes to the proxy as it is (ATYP 3), so that nothing is looked up here. */
const socks5: Handshake = async (socket, reader, proxy, { host, port }) => {
  const methods = proxy.auth === null ? [NO_AUTHENTICATION] : [NO_AUTHENTICATION, PASSWORD];
  socket.write(Buffer.from([5, methods.length, ...methods]));
  const [version, method] = await reader.octets(2);
  if (version !== 5) throw new MergeboxError('protocol', `${proxyName(proxy)}: it does not answer as a SOCKS5 proxy`);
  if (method === PASSWORD && proxy.auth !== null) await authenticate(socket, reader, proxy);
  else if (method !== NO_AUTHENTICATION) {
    throw refusedCredentials(proxy, proxy.auth === null ? 'it wants a login' : 'it takes no passwords');
  }
  socket.write(Buffer.concat([Buffer.from([5, 1, 0]), addressOctets(host), Buffer.from([port >> 8, port & 255])]));
  const [, reply = 1, , kind = 0] = await reader.octets(4);
  if (reply !== 0) {
    const why = SOCKS_REPLIES[reply] ?? `reply ${reply}`;
    throw new MergeboxError('connection', `${proxyName(proxy)}: no tunnel to ${host}:${port}: ${why}`);
  }
  // The address it is bound to says nothing here, but stands before the upstream's octets.
  const length = kind === 1 ? 4 : kind === 4 ? 16 : kind === 3 ? (await reader.octets(1))[0]! : null;
  if (length === null) throw new MergeboxError('protocol', `${proxyName(proxy)}: its answer has an unknown address`);
  await reader.octets(length + 2);
};

/** RFC 1929. */
async function authenticate(socket: Socket, reader: ProxyReader, proxy: ProxySettings): Promise<void> {
  const name = Buffer.from(proxy.auth?.username ?? '', 'utf8');
  const password = Buffer.from(proxy.auth?.password.reveal() ?? '', 'utf8');
  if (name.length > 255 || password.length > 255)
    throw refusedCredentials(proxy, 'SOCKS5 has room for 255 octets each');
  socket.write(Buffer.concat([Buffer.from([1, name.length]), name, Buffer.from([password.length]), password]));
  const [, status] = await reader.octets(2);
  if (status !== 0) throw refusedCredentials(proxy, 'wrong user or password');
}

function addressOctets(host: string): Buffer {
  if (isIP(host) === 4) return Buffer.from([1, ...host.split('.').map(Number)]);
  if (isIP(host) === 6) return Buffer.concat([Buffer.from([4]), ipv6Octets(host)]);
  const name = Buffer.from(host, 'latin1');
  return Buffer.concat([Buffer.from([3, name.length]), name]);
}

function ipv6Octets(address: string): Buffer {
  const plain = address
    .replace(/%.*$/, '')
    .replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
      [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((each) => each.toString(16)).join(':'),
    );
  const [head = '', tail] = plain.split('::');
  const groups = (text: string | undefined): string[] => (text ? text.split(':') : []);
  const after = groups(tail);
  const before = groups(head);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => '0');
  const octets = [...before, ...(tail === undefined ? [] : zeros), ...after].map((group) => Number.parseInt(group, 16));
  return Buffer.from(octets.flatMap((group) => [group >> 8, group & 255]));
}

function refusedCredentials(proxy: ProxySettings, said: string): MergeboxError {
  return new MergeboxError('authentication', `${proxyName(proxy)}: it refuses the login of "proxy.auth": ${said}`);
}
