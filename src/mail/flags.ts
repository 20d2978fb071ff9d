/**
 * Flags as one canonical string: system flags in the order of RFC 9051 §2.3.2, then keywords by code unit, separated
 * by single spaces, none twice. It is the text between the parentheses of `FLAGS (…)`, so serving it is copying, and
 * two flag sets are equal when the strings are. \Recent is never part of it.
 */
export type FlagText = string;

/**
 * Octets of the flags of one message. They are kept for every copy and held in memory for every message of an open
 * mailbox, and one command can set them on all of it.
 */
export const MAX_FLAG_TEXT = 1_024;

const SYSTEM = ['\\Answered', '\\Flagged', '\\Deleted', '\\Seen', '\\Draft'] as const;
const SYSTEM_BY_LOWER = new Map<string, string>(SYSTEM.map((flag) => [flag.toLowerCase(), flag]));
const SYSTEM_ORDER = new Map<string, number>(SYSTEM.map((flag, index) => [flag, index]));

/** The prefix of the read-only keywords that tell which accounts hold a copy. */
export const ACCOUNT_KEYWORD_PREFIX = '$account_';

/** A system flag in its usual spelling; keywords are returned as they are (RFC 9051: flags are case-insensitive). */
export function normalizeFlag(flag: string): string {
  return SYSTEM_BY_LOWER.get(flag.toLowerCase()) ?? flag;
}

/** Canonical text of any list of flags; drops \Recent and repetitions (keywords compare without case, first spelling wins). */
export function flagText(flags: Iterable<string>): FlagText {
  const seen = new Map<string, string>();
  for (const flag of flags) {
    const lower = flag.toLowerCase();
    if (lower === '' || lower === '\\recent' || seen.has(lower)) continue;
    seen.set(lower, normalizeFlag(flag));
  }
  if (seen.size === 0) return '';
  return [...seen.values()].sort(compareFlags).join(' ');
}

function compareFlags(a: string, b: string): number {
  const byKind = (SYSTEM_ORDER.get(a) ?? SYSTEM.length) - (SYSTEM_ORDER.get(b) ?? SYSTEM.length);
  return byKind !== 0 ? byKind : a < b ? -1 : a > b ? 1 : 0;
}

/** The text without the keywords at its end that make it longer than `MAX_FLAG_TEXT`. */
export function cutFlags(text: FlagText): FlagText {
  if (text.length <= MAX_FLAG_TEXT) return text;
  return text.slice(0, Math.max(0, text.lastIndexOf(' ', MAX_FLAG_TEXT)));
}

/** The flags of a canonical text, in its order. */
export function flagList(text: FlagText): readonly string[] {
  return text === '' ? [] : text.split(' ');
}

/** Whether the canonical text holds the flag; keywords compare without case. */
export function hasFlag(text: FlagText, flag: string): boolean {
  if (text === '') return false;
  const lower = flag.toLowerCase();
  return text.split(' ').some((each) => each.toLowerCase() === lower);
}

/** The text with `flags` added. */
export function addFlags(text: FlagText, flags: Iterable<string>): FlagText {
  return flagText([...flagList(text), ...flags]);
}

/** The text with `flags` removed. */
export function removeFlags(text: FlagText, flags: Iterable<string>): FlagText {
  const gone = new Set(Array.from(flags, (flag) => flag.toLowerCase()));
  return flagText(flagList(text).filter((flag) => !gone.has(flag.toLowerCase())));
}

/** What has to be set and cleared to turn `from` into `to`. */
export function flagDelta(from: FlagText, to: FlagText): { add: string[]; remove: string[] } {
  if (from === to) return { add: [], remove: [] };
  const before = new Set(flagList(from).map((flag) => flag.toLowerCase()));
  const after = new Set(flagList(to).map((flag) => flag.toLowerCase()));
  return {
    add: flagList(to).filter((flag) => !before.has(flag.toLowerCase())),
    remove: flagList(from).filter((flag) => !after.has(flag.toLowerCase())),
  };
}

/** The keyword that marks an entry of which the account holds a copy; `$account_` and the id. */
export function accountKeyword(account: string): string {
  return `${ACCOUNT_KEYWORD_PREFIX}${account}`;
}

/** True for the read-only `$account_…` keywords, which clients may read and search but not set. */
export function isAccountKeyword(flag: string): boolean {
  return flag.toLowerCase().startsWith(ACCOUNT_KEYWORD_PREFIX);
}
