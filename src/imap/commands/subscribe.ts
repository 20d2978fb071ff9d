import { AUTHENTICATED, defineCommand, type TableCommand } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.3.7. */
export const subscribeCommand = subscription('SUBSCRIBE', true);
/** RFC 9051 §6.3.8. */
export const unsubscribeCommand = subscription('UNSUBSCRIBE', false);

function subscription(name: string, subscribed: boolean): TableCommand {
  return defineCommand({
    name,
    states: AUTHENTICATED,
    parse(parser) {
      parser.expectSp();
      return parser.expectMailbox();
    },
    async run(session, mailbox) {
      await session.user.subscribe(mailbox, subscribed);
      return ok(`${name} completed`);
    },
  });
}
