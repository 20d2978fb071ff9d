import type { MailboxFilter } from '../wire/mailbox-filter.js';
import type { MailboxInfo } from './backend.js';

/**
 * Whether a filter (RFC 5465 §6) means a mailbox that can be selected. Servers deliver into any of the accounts'
 * folders, so `inboxes` are all of them, as §6.3 wants it then.
 */
export function isMeant(
  filter: MailboxFilter,
  { name, subscribed }: Pick<MailboxInfo, 'name' | 'subscribed'>,
): boolean {
  switch (filter.type) {
    case 'selected':
    case 'selected-delayed':
      return false;
    case 'inboxes':
    case 'personal':
      return true;
    case 'subscribed':
      return subscribed;
    case 'mailboxes':
      return filter.names.includes(name);
    case 'subtree':
      return filter.names.some((top) => name === top || name.startsWith(`${top}/`));
    case 'subtree-one':
      return filter.names.some((top) => name === top || name.slice(0, name.lastIndexOf('/')) === top);
  }
}
