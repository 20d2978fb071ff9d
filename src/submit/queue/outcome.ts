import type { Verdict } from './attempt.js';
import type { QueuedMail } from './mail.js';
import type { Ticket } from './ticket.js';

/** The verdict to answer the client with, when nobody gets the mail. */
export function handBack(mail: QueuedMail): Verdict | null {
  if (!mail.recipients.every(({ state }) => state === 'failed')) return null;
  const [first] = mail.recipients;
  return { state: 'failed', status: first?.status ?? '5.0.0', reply: first?.reply ?? '554 refused' };
}

/** Tells a client that still waits what became of its mail. */
export function answer(ticket: Ticket, mail: QueuedMail): void {
  const reply = mail.recipients.find(({ state }) => state === 'delivered')?.reply;
  if (reply !== undefined && mail.recipients.every(({ state }) => state === 'delivered')) {
    ticket.settle({ kind: 'delivered', reply });
    return;
  }
  const failed = mail.recipients.filter(({ state }) => state === 'failed').length;
  ticket.leave(
    failed > 0
      ? `${failed} of ${mail.recipients.length} recipients were refused; a report follows`
      : (mail.error ?? 'queued'),
  );
}
