import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorText, isMergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import type { Metrics } from '../util/metrics.js';
import type { Secret } from '../util/secret.js';
import { bearsToken, isOwnHost } from './access.js';
import { type QueueRequest, queueRequest } from './queue.js';
import {
  type AccountRequest,
  type ActionRequest,
  accountRequest,
  actionRequest,
  dropRequest,
  readJsonBody,
  type SyncRequest,
  syncRequest,
  type UserRequest,
  userRequest,
} from './request.js';
import type { StatusReport, SyncReport } from './status.js';

/** What the handler shows and does. */
export interface AdminSources {
  status(): Promise<StatusReport>;
  /** Rejects with `nonexistent` for a user or account that is not configured; `signal` aborts when the client leaves. */
  sync(request: SyncRequest, signal: AbortSignal): Promise<SyncReport>;
  /** Believes the deletions that an account's mass-deletion guard holds. Rejects as `sync` does. */
  release(request: AccountRequest): Promise<SyncReport>;
  /** Tries an account's refused actions again, or one of them. Rejects as `sync` does. */
  retry(request: ActionRequest): Promise<SyncReport>;
  /** Gives a refused action up. Rejects as `sync` does, and with `cannot`. */
  drop(request: ActionRequest & { readonly action: number }): Promise<SyncReport>;
  /** Lists, shows, retries, holds and drops outgoing mail; JSON text. Rejects with `nonexistent`, `cannot`, `unavailable`. */
  queue(request: QueueRequest): Promise<string>;
  /** Builds the database of a user anew that is refused because it is damaged. Rejects with `nonexistent` and `cannot`. */
  rebuild(request: UserRequest): Promise<SyncReport>;
  /** True once all listeners accept. */
  ready(): boolean;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** Who may ask: over TCP the Host field is checked and changes need the token; the socket in dataDir is its owner's. */
export type Door =
  | { readonly kind: 'socket' }
  | { readonly kind: 'tcp'; readonly host: string; readonly token: Secret | null };

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Route {
  readonly method: 'GET' | 'POST';
  readonly run: (sources: AdminSources, request: IncomingMessage, signal: AbortSignal) => Promise<Answer>;
}

/** Everything that can be asked for; what is not GET changes something and needs the token. */
const ROUTES: ReadonlyMap<string, Route> = new Map<string, Route>([
  ['/healthz', { method: 'GET', run: async () => text(200, 'ok\n') }],
  ['/readyz', { method: 'GET', run: async ({ ready }) => (ready() ? text(200, 'ready\n') : text(503, 'not ready\n')) }],
  [
    '/metrics',
    {
      method: 'GET',
      run: async ({ metrics }) => ({ status: 200, type: metrics.contentType, body: await metrics.text() }),
    },
  ],
  ['/api/status', { method: 'GET', run: async ({ status }) => json(200, await status()) }],
  [
    '/api/release',
    {
      method: 'POST',
      run: async ({ release }, request) => json(200, await release(accountRequest(await readJsonBody(request)))),
    },
  ],
  [
    '/api/retry',
    {
      method: 'POST',
      run: async ({ retry }, request) => json(200, await retry(actionRequest(await readJsonBody(request)))),
    },
  ],
  [
    '/api/drop',
    {
      method: 'POST',
      run: async ({ drop }, request) => json(200, await drop(dropRequest(await readJsonBody(request)))),
    },
  ],
  [
    // Listing is no change, but it shows whose mail goes where: like all of this it needs the token.
    '/api/queue',
    {
      method: 'POST',
      run: async ({ queue }, request) => ({
        status: 200,
        type: JSON_TYPE,
        body: await queue(queueRequest(await readJsonBody(request))),
      }),
    },
  ],
  [
    '/api/rebuild',
    {
      method: 'POST',
      run: async ({ rebuild }, request) => json(200, await rebuild(userRequest(await readJsonBody(request)))),
    },
  ],
  [
    '/api/sync',
    {
      method: 'POST',
      run: async ({ sync }, request, signal) => json(200, await sync(syncRequest(await readJsonBody(request)), signal)),
    },
  ],
]);

/** Answers one request; never rejects. */
export async function handle(
  sources: AdminSources,
  door: Door,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  let answer: Answer;
  try {
    answer = await decide(sources, door, request, gone.signal);
  } catch (error) {
    answer = failure(error, sources.log);
  }
  if (response.destroyed) return;
  response.writeHead(answer.status, {
    'content-type': answer.type,
    'content-length': Buffer.byteLength(answer.body),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...answer.headers,
    // What is left of a refused body is not read.
    ...(request.complete ? {} : { connection: 'close' }),
  });
  response.end(request.method === 'HEAD' ? undefined : answer.body);
}

async function decide(
  sources: AdminSources,
  door: Door,
  request: IncomingMessage,
  signal: AbortSignal,
): Promise<Answer> {
  if (door.kind === 'tcp' && !isOwnHost(request.headers.host, door.host)) {
    return problem(421, 'this server does not answer for that host name');
  }
  const path = (request.url ?? '').split('?', 1)[0] ?? '';
  const route = ROUTES.get(path);
  if (route === undefined) return problem(404, `nothing here; there is ${[...ROUTES.keys()].join(', ')}`);
  const method = request.method === 'HEAD' ? 'GET' : request.method;
  if (method !== route.method) {
    return {
      ...problem(405, `use ${route.method}`),
      headers: { allow: route.method === 'GET' ? 'GET, HEAD' : 'POST' },
    };
  }
  if (route.method !== 'GET' && door.kind === 'tcp' && !bearsToken(request.headers.authorization, door.token)) {
    const text =
      door.token === null ? 'set admin.token in the configuration to allow this' : 'the token is missing or wrong';
    return { ...problem(401, text), headers: { 'www-authenticate': 'Bearer' } };
  }
  return await route.run(sources, request, signal);
}

function failure(error: unknown, log: Log): Answer {
  if (isMergeboxError(error, 'protocol', 'cannot')) return problem(400, error.message);
  if (isMergeboxError(error, 'nonexistent')) return problem(404, error.message);
  if (isMergeboxError(error, 'limit', 'toobig')) return problem(413, error.message);
  if (isMergeboxError(error)) return problem(503, error.message);
  log.error({ error: errorText(error) }, 'an admin request failed');
  return problem(500, 'something failed here; the log says more');
}

const JSON_TYPE = 'application/json; charset=utf-8';

function json(status: number, value: unknown): Answer {
  return { status, type: JSON_TYPE, body: `${JSON.stringify(value, null, 2)}\n` };
}

function problem(status: number, error: string): Answer {
  return json(status, { error });
}

function text(status: number, body: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body };
}
