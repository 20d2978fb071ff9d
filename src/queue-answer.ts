import type { QueueRequest, ShownQueueMail } from './admin/queue.js';
import type { QueuedMail } from './submit/queue/mail.js';
import type { OutgoingQueue } from './submit/queue/queue.js';
import { MergeboxError } from './util/errors.js';

/** Does what `POST /api/queue` asks for; the answer as JSON text. Rejects with `nonexistent`, `cannot`, `unavailable`. */
export async function answerQueue(
  queues: ReadonlyMap<string, OutgoingQueue>,
  { command, user, id, after, limit }: QueueRequest,
): Promise<string> {
  if (user !== null && !queues.has(user)) throw new MergeboxError('nonexistent', `no user "${user}"`);
  if (command === 'list') return list(user === null ? queues : new Map([[user, queues.get(user)!]]), after, limit);
  if (id === null) {
    for (const [name, queue] of queues) if (user === null || name === user) await queue.retry();
    return JSON.stringify({ result: 'all that waits is tried again' });
  }
  const [owner, queue] = await find(queues, user, id);
  switch (command) {
    case 'show':
      return JSON.stringify(shown(owner, await queue.show(id)));
    case 'retry':
      await queue.retry(id);
      return JSON.stringify({ result: `mail ${id} of ${owner} is tried again` });
    case 'hold':
      await queue.hold(id);
      return JSON.stringify({ result: `mail ${id} of ${owner} is held until "mergebox queue retry ${id}"` });
    case 'drop':
      await queue.drop(id);
      return JSON.stringify({ result: `mail ${id} of ${owner} is dropped: nobody gets it, nobody is told` });
  }
}

/** At most `limit` mails, users one after the other. */
async function list(
  queues: ReadonlyMap<string, OutgoingQueue>,
  after: QueueRequest['after'],
  limit: number,
): Promise<string> {
  const names = [...queues.keys()].sort();
  const first = after === null ? 0 : names.findIndex((name) => name >= after.user);
  for (let at = first; at >= 0 && at < names.length; at += 1) {
    const user = names[at]!;
    const queue = queues.get(user)!;
    const { json, last } = await queue.listing(user === after?.user ? after.id : 0, limit);
    // A page is of one user; an empty one is passed over.
    if (last === null) continue;
    const head = { user, obstacles: Object.fromEntries(queue.obstacles()), next: { user, id: last } };
    return `${JSON.stringify(head).slice(0, -1)},"mails":${json}}`;
  }
  return JSON.stringify({ user: null, obstacles: {}, next: null, mails: [] });
}

async function find(
  queues: ReadonlyMap<string, OutgoingQueue>,
  user: string | null,
  id: number,
): Promise<readonly [string, OutgoingQueue]> {
  const found: (readonly [string, OutgoingQueue])[] = [];
  for (const [name, queue] of queues) {
    if ((user === null || name === user) && (await queue.has(id))) found.push([name, queue]);
  }
  const [first, second] = found;
  if (first === undefined) throw new MergeboxError('nonexistent', `no mail ${id} in the queue`);
  if (second !== undefined) {
    throw new MergeboxError('cannot', `several users have a mail ${id} in the queue: name one with --user`);
  }
  return first;
}

function shown(user: string, mail: QueuedMail): ShownQueueMail {
  const { id, state, account, sender, size, created, nextTry, attempts, priority, error, envelope, recipients } = mail;
  return {
    ...{ user, id, state, account, sender, size, created, nextTry, attempts, priority, error },
    to: recipients[0]?.address ?? '',
    recipients: recipients.length,
    open: recipients.filter((each) => each.state === 'waiting' || each.state === 'sent').length,
    repeated: mail.repeated ? 1 : 0,
    from: envelope.from,
    subject: envelope.subject,
    messageId: envelope.messageId,
    viaRelay: mail.viaRelay ? 1 : 0,
    states: recipients.map((each) => ({
      address: each.address,
      state: each.state,
      ...(each.status === undefined ? {} : { status: each.status }),
      ...(each.reply === undefined ? {} : { reply: each.reply }),
    })),
  };
}
