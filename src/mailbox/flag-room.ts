import { type FlagText, MAX_FLAG_TEXT } from '../mail/flags.js';
import { MergeboxError } from '../util/errors.js';

/** Throws `limit` when `after` is too long and no shorter than `before` (the flags of a message, without account keywords). */
export function requireFlagRoom(after: FlagText, before: FlagText = ''): void {
  if (after.length <= MAX_FLAG_TEXT || after.length < before.length) return;
  throw new MergeboxError('limit', `the flags of a message may have ${MAX_FLAG_TEXT} octets in all`);
}
