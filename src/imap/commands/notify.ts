import { NOTIFY_EVENTS, type NotifyArguments, parseNotify } from '../../wire/notify.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { no, ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 5465: what the client is told without asking, from now on and until the next NOTIFY. */
export const notifyCommand = defineCommand({
  name: 'NOTIFY',
  states: AUTHENTICATED,
  parse: parseNotify,
  run: notify,
});

async function notify(session: Session, { groups, status, unknownEvent }: NotifyArguments): Promise<Reply> {
  // §3.1: not BAD, and with the names of all there are.
  if (unknownEvent) return no('Not all of these events are known', `BADEVENT (${NOTIFY_EVENTS.join(' ')})`);
  await session.notify(groups ?? []);
  if (status) await session.notifier!.tellAll(session);
  return ok('NOTIFY completed');
}
