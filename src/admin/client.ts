import { request } from 'node:http';
import { MergeboxError } from '../util/errors.js';
import { withShortPath } from './socket-path.js';

/** Octets of an answer that are read. */
const MAX_ANSWER = 64 * 1_048_576;

export interface AdminAnswer {
  readonly status: number;
  /** Parsed JSON. */
  readonly body: unknown;
}

/**
 * Asks the daemon behind the socket. Rejects with `unavailable` when none runs there, `timeout` when it does not answer
 * within `timeoutMs`, and `protocol` for an answer that is no JSON.
 */
export function adminRequest(
  socketPath: string,
  method: 'GET' | 'POST',
  path: string,
  body?: unknown,
  timeoutMs = 30_000,
): Promise<AdminAnswer> {
  return withShortPath(socketPath, (short) => exchange(short, method, path, body, timeoutMs));
}

function exchange(
  socketPath: string,
  method: string,
  path: string,
  body: unknown,
  timeoutMs: number,
): Promise<AdminAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ socketPath, method, path, agent: false, headers: { host: 'localhost' } }, (incoming) => {
      const chunks: Buffer[] = [];
      let size = 0;
      incoming.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > MAX_ANSWER) outgoing.destroy(new Error('the answer is too long'));
        else chunks.push(chunk);
      });
      incoming.on('end', () => {
        clearTimeout(timer);
        try {
          resolve({ status: incoming.statusCode ?? 0, body: JSON.parse(Buffer.concat(chunks).toString('utf8')) });
        } catch {
          reject(new MergeboxError('protocol', `asking the daemon for ${path}: the answer is no JSON`));
        }
      });
      incoming.on('error', (error) => outgoing.destroy(error));
    });
    const timer = setTimeout(() => {
      outgoing.destroy(
        new MergeboxError('timeout', `asking the daemon for ${path}: no answer in ${timeoutMs / 1_000} s`),
      );
    }, timeoutMs);
    outgoing.on('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      reject(error instanceof MergeboxError ? error : unreachable(socketPath, error));
    });
    if (body === undefined) outgoing.end();
    else outgoing.setHeader('content-type', 'application/json').end(JSON.stringify(body));
  });
}

function unreachable(socketPath: string, error: NodeJS.ErrnoException): MergeboxError {
  const absent = error.code === 'ENOENT' || error.code === 'ECONNREFUSED';
  const what = absent ? 'no mergebox serves this dataDir; start it with mergebox serve' : error.message;
  return new MergeboxError('unavailable', `asking the daemon at ${socketPath}: ${what}`, { cause: error });
}
