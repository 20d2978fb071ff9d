import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.3.6. */
export const renameCommand = defineCommand({
  name: 'RENAME',
  states: AUTHENTICATED,
  parse(parser) {
    parser.expectSp();
    const from = parser.expectMailbox();
    parser.expectSp();
    return { from, to: parser.expectMailbox() };
  },
  async run(session, { from, to }) {
    await session.user.rename(from, to);
    return ok('RENAME completed');
  },
});
