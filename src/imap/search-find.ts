import type { SearchKey } from '../wire/search-key.js';
import type { Mailbox, MailboxQuery } from './backend.js';

const DAY = 86_400;

/** Asks the mailbox for what keys on object ids (RFC 8474 §6) and save dates (RFC 8514 §4) name. */
export async function findKeys(key: SearchKey, mailbox: Mailbox): Promise<Map<SearchKey, ReadonlySet<number>>> {
  const found = new Map<SearchKey, ReadonlySet<number>>();
  const visit = async (each: SearchKey): Promise<void> => {
    if (each.type === 'and' || each.type === 'or') for (const part of each.keys) await visit(part);
    if (each.type === 'not') await visit(each.key);
    const query = queryOf(each);
    if (query !== null) found.set(each, await mailbox.find(query));
  };
  await visit(key);
  return found;
}

function queryOf(key: SearchKey): MailboxQuery | null {
  if (key.type === 'emailid') return { emailId: key.id };
  if (key.type === 'threadid') return { threadId: key.id };
  if (key.type !== 'date' || key.field !== 'saved') return null;
  const savedFrom = key.relation === 'before' ? Number.NEGATIVE_INFINITY : key.day;
  const savedTo = { before: key.day, on: key.day + DAY, since: Number.POSITIVE_INFINITY }[key.relation];
  return { savedFrom, savedTo };
}
