import { isIP, type Socket, connect as tcpConnect } from 'node:net';
import { type ConnectionOptions, type TLSSocket, connect as tlsConnect } from 'node:tls';
import type { Endpoint } from '../config/config.js';
import { MergeboxError } from '../util/errors.js';
import { abortedError, connectionError } from './errors.js';
import { PlainDialogue } from './plain-dialogue.js';
import { openTunnel, proxyName } from './proxy.js';
import type { Timing } from './timing.js';

/** The protocol's part of STARTTLS: resolves once the server has agreed to begin TLS, throws when it does not. */
export type StartTls = (dialogue: PlainDialogue) => Promise<void>;

export interface ConnectRequest {
  readonly endpoint: Endpoint;
  readonly startTls: StartTls;
  readonly timing: Pick<Timing, 'connectMs' | 'handshakeMs'>;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A socket to the endpoint, protected as it wants: TLS from the first octet, after a STARTTLS that is never optional, or
 * not at all. Everything received before the TLS handshake is thrown away. Rejects with `connection`, `timeout`,
 * `protocol` or `aborted`; no socket or timer is left behind then.
 */
export async function connectSocket(request: ConnectRequest): Promise<Socket> {
  const { endpoint, timing, signal } = request;
  const where = `connect to ${endpoint.host}:${endpoint.port}`;
  const tcp = await connectTcp(endpoint, timing.connectMs, signal);
  if (endpoint.tls === 'none') return tcp;
  // Whatever befalls the socket below TLS is told by the TLS socket or the dialogue.
  tcp.on('error', () => undefined);
  try {
    return await within(timing.handshakeMs, `${where}: TLS`, signal, async (limit) => {
      const abort = (): void => void tcp.destroy();
      limit.addEventListener('abort', abort, { once: true });
      try {
        if (endpoint.tls === 'starttls') await agree(tcp, request.startTls);
        return await secure(tcp, endpoint);
      } finally {
        limit.removeEventListener('abort', abort);
      }
    });
  } catch (error) {
    tcp.destroy();
    throw error;
  }
}

/**
 * The bare connection to the endpoint, through its proxy where it has one, within `ms`. For libraries that protect a
 * given socket themselves. Rejects with `connection`, `timeout`, `protocol`, `aborted`, or `authentication` for a proxy
 * that refuses its credentials.
 */
export async function connectTcp(endpoint: Endpoint, ms: number, signal?: AbortSignal): Promise<Socket> {
  const where = `connect to ${endpoint.host}:${endpoint.port}`;
  const tcp = await within(ms, where, signal, (limit) => openTcp(endpoint, limit));
  tcp.setNoDelay(true);
  tcp.setKeepAlive(true, 30_000);
  return tcp;
}

/** What every TLS connection to an upstream uses, ours and those of libraries: verified, 1.2 at least. */
export function tlsPolicy(endpoint: Endpoint): ConnectionOptions {
  return {
    // No SNI for addresses (RFC 6066 §3); the certificate is then checked against the address.
    ...(isIP(endpoint.host) === 0 ? { servername: endpoint.host } : {}),
    ...(endpoint.ca === null ? {} : { ca: endpoint.ca }),
    minVersion: 'TLSv1.2',
    // Whatever NODE_TLS_REJECT_UNAUTHORIZED says.
    rejectUnauthorized: true,
  };
}

async function openTcp(endpoint: Endpoint, signal: AbortSignal): Promise<Socket> {
  const proxy = endpoint.proxy ?? null;
  if (proxy === null) return dial(endpoint, signal);
  const socket = await dial(proxy, signal).catch((error: unknown) => {
    throw signal.aborted ? error : connectionError(proxyName(proxy), error);
  });
  // Whatever befalls the socket is told by the reader of the proxy's answers.
  const ignore = (): void => undefined;
  const abort = (): void => void socket.destroy();
  socket.on('error', ignore);
  signal.addEventListener('abort', abort, { once: true });
  try {
    await openTunnel(socket, proxy, endpoint);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    signal.removeEventListener('abort', abort);
    if (!socket.destroyed) socket.off('error', ignore);
  }
}

function dial(to: Pick<Endpoint, 'host' | 'port'>, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = tcpConnect({ host: to.host, port: to.port, autoSelectFamily: true });
    const settle = (): void => {
      signal.removeEventListener('abort', onAbort);
      socket.off('error', onError);
      socket.off('connect', onConnect);
    };
    const onAbort = (): void => {
      settle();
      socket.on('error', () => undefined);
      socket.destroy();
      reject(signal.reason);
    };
    const onError = (error: Error): void => {
      settle();
      reject(error);
    };
    const onConnect = (): void => {
      settle();
      resolve(socket);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    socket.once('error', onError);
    socket.once('connect', onConnect);
  });
}

async function agree(tcp: Socket, startTls: StartTls): Promise<void> {
  const dialogue = new PlainDialogue(tcp);
  try {
    await startTls(dialogue);
  } finally {
    dialogue.end();
  }
}

function secure(tcp: Socket, endpoint: Endpoint): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = tlsConnect({ socket: tcp, host: endpoint.host, ...tlsPolicy(endpoint) });
    const onClose = (): void => reject(new MergeboxError('connection', 'the server closed the connection'));
    socket.once('error', reject);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      socket.off('error', reject);
      socket.off('close', onClose);
      resolve(socket);
    });
  });
}

/** Runs `task` with a signal that aborts after `ms` or when `outer` does; its failures become MergeboxErrors. */
async function within<T>(
  ms: number,
  doing: string,
  outer: AbortSignal | undefined,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (outer?.aborted) throw abortedError(doing);
  const limit = new AbortController();
  const timer = setTimeout(() => {
    limit.abort(new MergeboxError('timeout', `${doing}: no success within ${ms / 1_000} s`));
  }, ms);
  const onOuter = (): void => limit.abort(abortedError(doing));
  outer?.addEventListener('abort', onOuter, { once: true });
  try {
    return await task(limit.signal);
  } catch (error) {
    // Aborting breaks the socket, whose complaint is not the reason.
    throw connectionError(doing, limit.signal.aborted ? limit.signal.reason : error);
  } finally {
    clearTimeout(timer);
    outer?.removeEventListener('abort', onOuter);
  }
}
