import { MAX_LIST_PATTERNS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** `filter-mailboxes` (RFC 5465 §6, RFC 7377 §2.2). */
export type MailboxFilter =
  | { readonly type: 'selected' | 'selected-delayed' | 'inboxes' | 'personal' | 'subscribed' }
  /** The names, with all below them, with what is right below them, or just they. */
  | { readonly type: 'subtree' | 'subtree-one' | 'mailboxes'; readonly names: readonly string[] };

export function expectMailboxFilter(parser: CommandParser): MailboxFilter {
  const type = parser.expectAtom('which mailboxes').toLowerCase();
  switch (type) {
    case 'selected':
    case 'selected-delayed':
    case 'inboxes':
    case 'personal':
    case 'subscribed':
      return { type };
    case 'subtree':
    case 'subtree-one':
    case 'mailboxes':
      parser.expectSp();
      return { type, names: expectNames(parser) };
    default:
      throw new ParseError('Unknown kind of mailboxes');
  }
}

/** `one-or-more-mailbox = mailbox / "(" mailbox *(SP mailbox) ")"`. */
function expectNames(parser: CommandParser): string[] {
  if (!parser.peekChar('(')) return [parser.expectMailbox()];
  const names: string[] = [];
  parser.expectList('the mailboxes', { min: 1, max: MAX_LIST_PATTERNS }, () => names.push(parser.expectMailbox()));
  return names;
}
