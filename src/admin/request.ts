import type { IncomingMessage } from 'node:http';
import { MergeboxError } from '../util/errors.js';

/** Octets of a request's body. */
export const MAX_BODY = 65_536;

/** What `POST /api/sync` asks for. */
export interface SyncRequest {
  readonly user?: string;
  readonly account?: string;
  /** Wait until the accounts are idle, nothing is pending and another pull would change nothing. */
  readonly wait: boolean;
  readonly timeoutMs: number;
}

/** Longest wait; beyond it a client asks again. */
const MAX_TIMEOUT_MS = 3_600_000;
const DEFAULT_TIMEOUT_MS = 60_000;

/** Reads a JSON object; throws `limit` for a body that is too large and `protocol` for one that is no object. */
export async function readJsonBody(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BODY) throw new MergeboxError('limit', `the body is larger than ${MAX_BODY} octets`);
    chunks.push(chunk);
  }
  if (size === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new MergeboxError('protocol', 'the body is not JSON');
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new MergeboxError('protocol', 'the body is not a JSON object');
}

/** What `POST /api/release` names. */
export interface AccountRequest {
  readonly user?: string;
  readonly account: string;
}

/** The body of `POST /api/release`; throws `protocol` naming the key that is wrong. */
export function accountRequest(body: Readonly<Record<string, unknown>>): AccountRequest {
  const { user, account, ...others } = body;
  refuseOthers(others, 'user, account');
  if (user !== undefined && typeof user !== 'string') throw wrong('user', 'a string');
  if (typeof account !== 'string') throw wrong('account', 'a string');
  return { ...(user === undefined ? {} : { user }), account };
}

/** What `POST /api/retry` and `POST /api/drop` name: a refused action of the account, or all of them. */
export interface ActionRequest extends AccountRequest {
  readonly action: number | null;
}

/** The body of `POST /api/retry`; throws `protocol` naming the key that is wrong. */
export function actionRequest(body: Readonly<Record<string, unknown>>): ActionRequest {
  const { user, account, action, ...others } = body;
  refuseOthers(others, 'user, account, action');
  if (action !== undefined && !(typeof action === 'number' && Number.isSafeInteger(action) && action > 0)) {
    throw wrong('action', 'the number of a refused action');
  }
  return { ...accountRequest({ ...(user === undefined ? {} : { user }), account }), action: action ?? null };
}

/** The body of `POST /api/drop`, which names one action; throws `protocol` naming the key that is wrong. */
export function dropRequest(body: Readonly<Record<string, unknown>>): ActionRequest & { readonly action: number } {
  const { action, ...request } = actionRequest(body);
  if (action === null) throw wrong('action', 'the number of a refused action');
  return { ...request, action };
}

/** What `POST /api/rebuild` names. */
export interface UserRequest {
  readonly user: string;
}

/** The body of `POST /api/rebuild`; throws `protocol` naming the key that is wrong. */
export function userRequest(body: Readonly<Record<string, unknown>>): UserRequest {
  const { user, ...others } = body;
  refuseOthers(others, 'user');
  if (typeof user !== 'string') throw wrong('user', 'a string');
  return { user };
}

/** The body of `POST /api/sync`; throws `protocol` naming the key that is wrong. */
export function syncRequest(body: Readonly<Record<string, unknown>>): SyncRequest {
  const { user, account, wait = false, timeoutMs = DEFAULT_TIMEOUT_MS, ...others } = body;
  refuseOthers(others, 'user, account, wait, timeoutMs');
  if (user !== undefined && typeof user !== 'string') throw wrong('user', 'a string');
  if (account !== undefined && typeof account !== 'string') throw wrong('account', 'a string');
  if (typeof wait !== 'boolean') throw wrong('wait', 'true or false');
  if (typeof timeoutMs !== 'number' || !(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
    throw wrong('timeoutMs', `a number up to ${MAX_TIMEOUT_MS}`);
  }
  return { ...(user === undefined ? {} : { user }), ...(account === undefined ? {} : { account }), wait, timeoutMs };
}

function refuseOthers(others: Readonly<Record<string, unknown>>, allowed: string): void {
  const [unknown] = Object.keys(others);
  if (unknown === undefined) return;
  throw new MergeboxError('protocol', `unknown key ${JSON.stringify(unknown)}; allowed: ${allowed}`);
}

function wrong(key: string, expected: string): MergeboxError {
  return new MergeboxError('protocol', `${key}: expected ${expected}`);
}
