import { chmod, unlink } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import path from 'node:path';
import { MergeboxError } from '../util/errors.js';
import type { Secret } from '../util/secret.js';
import { type AdminSources, type Door, handle } from './handler.js';
import { withShortPath } from './socket-path.js';

export const ADMIN_SOCKET = 'admin.sock';
/** Connections to one door at once; more than a few monitors and commands there never are. */
const MAX_CONNECTIONS = 64;
/** Octets of a request's header. */
const MAX_HEADER = 16_384;

export interface AdminOptions extends AdminSources {
  readonly host: string;
  readonly port: number;
  /** Without one, nothing can be changed over TCP. */
  readonly token: Secret | null;
  /** Where the socket for the commands of this machine's owner is made. */
  readonly dataDir: string;
}

export interface Admin {
  /** Listens on TCP and on the socket; rejects with `config` when another daemon uses this dataDir. */
  start(): Promise<{ readonly service: 'admin'; readonly host: string; readonly port: number; readonly tls: 'none' }>;
  close(): Promise<void>;
}

/** The admin service: the same answers on a TCP address and on a unix socket in dataDir. */
export function createAdmin(options: AdminOptions): Admin {
  const tcp = adminServer(options, { kind: 'tcp', host: options.host, token: options.token });
  const local = adminServer(options, { kind: 'socket' });
  const file = adminSocketPath(options.dataDir);
  return {
    start: async () => {
      await removeStaleSocket(file);
      await withShortPath(file, (short) => listenPrivately(local, short));
      try {
        await chmod(file, 0o600);
        await listen(tcp, { host: options.host, port: options.port });
      } catch (error) {
        await stop(local);
        throw error;
      }
      return { service: 'admin', host: options.host, port: (tcp.address() as AddressInfo).port, tls: 'none' };
    },
    close: async () => {
      const bound = local.listening;
      await Promise.all([stop(tcp), stop(local)]);
      if (bound) await removeFile(file);
    },
  };
}

/** Keeps daemons from a dataDir while `task` runs; rejects with `config` when one uses it. */
export async function withDataDir<T>(dataDir: string, task: () => Promise<T>): Promise<T> {
  const file = adminSocketPath(dataDir);
  await removeStaleSocket(file);
  const server = createServer((_request, response) =>
    response.writeHead(503).end('{"error":"a database is being rebuilt"}'),
  );
  await withShortPath(file, (short) => listenPrivately(server, short));
  try {
    return await task();
  } finally {
    await stop(server);
    await removeFile(file);
  }
}

/** Where the daemon of a dataDir answers commands. */
export function adminSocketPath(dataDir: string): string {
  return path.join(dataDir, ADMIN_SOCKET);
}

function adminServer(sources: AdminSources, door: Door): Server {
  const server = createServer(
    { maxHeaderSize: MAX_HEADER, requestTimeout: 30_000, headersTimeout: 10_000, keepAliveTimeout: 5_000 },
    (request, response) => void handle(sources, door, request, response),
  );
  server.maxConnections = MAX_CONNECTIONS;
  // Without a listener, an accept that fails for want of descriptors would end the process.
  server.on('error', (error) => sources.log.warn({ error: error.message }, 'an admin listener failed'));
  server.on('clientError', (_error, socket) => {
    if (socket.writable) socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n');
    else socket.destroy();
  });
  return server;
}

function listen(server: Server, where: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
}

/** Binds without giving anybody else the moment between listen and chmod; binding a path happens within the call. */
function listenPrivately(server: Server, file: string): Promise<void> {
  const mask = process.umask(0o177);
  try {
    return listen(server, { path: file });
  } finally {
    process.umask(mask);
  }
}

function stop(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

/** A socket file that nobody answers on is left from a daemon that was killed. */
async function removeStaleSocket(file: string): Promise<void> {
  if (await withShortPath(file, answers)) {
    throw new MergeboxError('config', `listening on ${file}: another mergebox uses this dataDir; stop it first`);
  }
  await removeFile(file);
}

function answers(file: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(file);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

async function removeFile(file: string): Promise<void> {
  await unlink(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
}
