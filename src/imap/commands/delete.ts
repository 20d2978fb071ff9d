import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.3.5. */
export const deleteCommand = defineCommand({
  name: 'DELETE',
  states: AUTHENTICATED,
  parse(parser) {
    parser.expectSp();
    return parser.expectMailbox();
  },
  async run(session, name) {
    await session.user.delete(name);
    return ok('DELETE completed');
  },
});
