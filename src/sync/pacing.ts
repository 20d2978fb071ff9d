import { isThrottling, isTooManyConnections, retryHintMs } from '../upstream/refusals.js';
import { backoffDelay } from '../util/backoff.js';
import { isMergeboxError } from '../util/errors.js';

/** A wrong password is tried again this rarely, so that no server locks the account. */
const AUTHENTICATION_RETRY_MS = 300_000;
export const MAX_RETRY_MS = 300_000;
/** Where a server asks for less without saying how much less. */
const BUSY_MS = 15_000;
/** So many pauses may be as short as the server asked. */
const UNDERCUT = 5;

/** Milliseconds until an account whose server failed so often in a row is tried again; at least what it asked for. */
export function retryDelay(error: unknown, failures: number): number {
  if (isMergeboxError(error, 'authentication')) return AUTHENTICATION_RETRY_MS;
  const hint = retryHintMs(error);
  if (hint === null) {
    return backoffDelay(failures, { baseMs: asksForPatience(error) ? BUSY_MS : 1_000, maxMs: MAX_RETRY_MS });
  }
  // A little later, so that not everybody comes back at once; and no server has itself hammered by asking for nothing.
  const floor = failures > UNDERCUT ? backoffDelay(failures - UNDERCUT, { maxMs: MAX_RETRY_MS }) : 0;
  return Math.max(Math.ceil(hint * (1 + Math.random() / 10)), floor);
}

/** Whether the server asked to be left alone for a while: then nothing but the clock ends the pause. */
export function asksForPatience(error: unknown): boolean {
  if (!isMergeboxError(error, 'connection', 'refused')) return false;
  return retryHintMs(error) !== null || isThrottling(error) || isTooManyConnections(error);
}
