import { normalizeFlag } from '../mail/flags.js';
import { ParseError } from '../wire/parse-error.js';

const SETTABLE = new Set(['\\Answered', '\\Flagged', '\\Deleted', '\\Seen', '\\Draft', '\\Recent']);

/**
 * Throws for a system flag that is none (RFC 9051 §2.3.2: the backslash is reserved). \Recent is let through, because
 * clients copy the flags they saw; it is never stored.
 */
export function checkFlags(flags: readonly string[]): void {
  for (const flag of flags) {
    const known = flag.toLowerCase() === '\\recent' ? '\\Recent' : normalizeFlag(flag);
    if (flag.startsWith('\\') && !SETTABLE.has(known)) throw new ParseError(`Unknown system flag ${flag}`);
  }
}
