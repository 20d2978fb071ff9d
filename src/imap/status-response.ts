import { formatMailbox } from '../wire/format.js';
import type { StatusItem } from '../wire/status-item.js';
import type { MailboxStatus } from './backend.js';
import type { Session } from './session.js';

/** Sends `* STATUS name (…)` (RFC 9051 §7.3.4); for STATUS and LIST RETURN (STATUS). Throws `nonexistent`. */
export async function writeStatus(session: Session, name: string, items: readonly StatusItem[]): Promise<void> {
  const status = await session.user.status(name);
  const values = items.map((item) => `${item} ${statusValue(item, status, session.limits.messageBytes)}`);
  session.out.utf8(`* STATUS ${formatMailbox(name, session)} (${values.join(' ')})\r\n`);
  // RFC 7162 §3.1: asking for it shows that the client knows CONDSTORE.
  if (items.includes('HIGHESTMODSEQ')) session.enableCondstore();
}

function statusValue(item: StatusItem, status: MailboxStatus, messageBytes: number): number | string {
  switch (item) {
    case 'MESSAGES':
      return status.messages;
    case 'UIDNEXT':
      return status.uidNext;
    case 'UIDVALIDITY':
      return status.uidValidity;
    case 'UNSEEN':
      return status.unseen;
    case 'RECENT':
      return status.recent;
    case 'DELETED':
      return status.deleted;
    case 'SIZE':
      return status.size;
    case 'HIGHESTMODSEQ':
      return status.highestModSeq;
    case 'APPENDLIMIT':
      return messageBytes;
    case 'MAILBOXID':
      return `(${status.mailboxId})`;
    case 'DELETED-STORAGE':
      return status.deletedSize;
  }
}
