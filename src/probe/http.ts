import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import type { Socket } from 'node:net';
import type { Endpoint, ProxySettings } from '../config/config.js';
import { connectSocket } from '../upstream/connector.js';
import { MergeboxError } from '../util/errors.js';
import { PROBE_LIMITS } from './limits.js';
import type { HttpAnswer, HttpGet } from './types.js';

/** How connections for documents are made: through which proxy, and whom to trust. */
export interface HttpWays {
  readonly proxyFor: (host: string, port: number) => ProxySettings | null;
  /** PEM text of authorities to trust instead of the system's; null for those. */
  readonly ca: string | null;
}

/** GET over the connections that upstreams use: TLS verified, proxies obeyed, sizes bounded, nothing followed. */
export function httpGet(ways: HttpWays): HttpGet {
  return async (url, signal) => {
    const port = Number(url.port) || (url.protocol === 'https:' ? 443 : 80);
    const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
    const proxy = ways.proxyFor(host, port);
    const tls = url.protocol === 'https:' ? 'implicit' : 'none';
    const endpoint: Endpoint = { host, port, tls, ca: ways.ca, ...(proxy === null ? {} : { proxy }) };
    const timing = { connectMs: PROBE_LIMITS.httpMs, handshakeMs: PROBE_LIMITS.httpMs };
    const socket = await connectSocket({ endpoint, startTls: () => Promise.resolve(), timing, signal });
    try {
      return await get(url, socket, signal);
    } finally {
      socket.destroy();
    }
  };
}

function get(url: URL, socket: Socket, signal: AbortSignal): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const headers = {
      host: url.host,
      accept: 'text/xml, application/xml',
      'user-agent': 'Mergebox',
      connection: 'close',
    };
    const options = {
      method: 'GET',
      path: `${url.pathname}${url.search}`,
      headers,
      signal,
      createConnection: () => socket,
    };
    const asked: ClientRequest = request(options, (answer) => {
      read(answer).then(
        (body) => resolve({ status: answer.statusCode ?? 0, location: answer.headers.location ?? null, body }),
        reject,
      );
    });
    asked.on('error', reject);
    asked.end();
  });
}

async function read(answer: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > PROBE_LIMITS.documentBytes) throw new MergeboxError('protocol', 'the document is too large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
