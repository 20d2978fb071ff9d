import { isMergeboxError } from '../util/errors.js';
import { RefusedError } from './errors.js';

/** Longest pause that a server may ask for, ms: beyond it Mergebox looks again. */
const MAX_HINT_MS = 3_600_000;
/** Texts that ask for patience are short. */
const MAX_TEXT = 2_000;

/** Codes of a server that is out of order or busy (RFC 5530 §3, RFC 9051 §7.1): the same command may succeed later. */
const PASSING = new Set(['UNAVAILABLE', 'INUSE', 'SERVERBUG', 'THROTTLED', 'CONTACTADMIN', 'EXPUNGEISSUED']);
const PASSING_TEXT = /temporar|try (again|later)|unavailable|not available|busy|internal (server )?error|timed? ?out/i;
/** What asks for fewer commands or fewer connections. */
const THROTTLING = /throttl|rate.?limit|too many (requests|commands)|slow down|suggested backoff/i;
const TOO_MANY =
  /too many (simultaneous |concurrent )?(connections|sessions|logins)|(maximum|max) number of connections|connection limit|connections? exceeded|simultaneous connections/i;

/** The response code of a refusal, upper case; null for none. */
export function responseCode(error: unknown): string | null {
  return error instanceof RefusedError ? error.responseCode : null;
}

/** Whether a refusal speaks of the server's state rather than of what was asked. */
export function isPassing(error: unknown): boolean {
  if (!(error instanceof RefusedError)) return false;
  return (error.responseCode !== null && PASSING.has(error.responseCode)) || PASSING_TEXT.test(error.serverText);
}

/** Whether the server asks for fewer commands: `NO [THROTTLED]`, `NO [LIMIT] Rate limit hit` and their like. */
export function isThrottling(error: unknown): boolean {
  if (!isMergeboxError(error)) return false;
  return responseCode(error) === 'THROTTLED' || THROTTLING.test(error.message.slice(0, MAX_TEXT));
}

/** Whether the server takes no further connection of this user. */
export function isTooManyConnections(error: unknown): boolean {
  return isMergeboxError(error) && TOO_MANY.test(error.message.slice(0, MAX_TEXT));
}

const UNITS: Readonly<Record<string, number>> = { m: 1, s: 1_000, M: 60_000, h: 3_600_000 };

/**
 * How long a server asked to wait, in ms: "try again in 30 seconds", "retry after 5 minutes", "Suggested Backoff Time:
 * 299961 milliseconds". At most an hour; null when it did not say.
 */
export function retryHintMs(error: unknown): number | null {
  if (!isMergeboxError(error)) return null;
  const text = error.message.slice(0, MAX_TEXT);
  const found =
    /(?:again in|(?:retry|try)(?:ing)?[ -]?(?:again )?(?:after|in)|wait(?: for)?|back-?off(?: time)?)[ :=]{1,3}(\d{1,9}) ?(ms|msecs?|milliseconds?|s|secs?|seconds?|min|mins|minutes?|h|hours?)?\b/i.exec(
      text,
    );
  if (!found) return null;
  const unit = (found[2] ?? 's').toLowerCase();
  const key = unit.startsWith('ms') || unit.startsWith('mil') ? 'm' : unit.startsWith('min') ? 'M' : unit[0]!;
  return Math.min(MAX_HINT_MS, Number(found[1]) * UNITS[key]!);
}
