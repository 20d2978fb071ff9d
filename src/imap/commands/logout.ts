import { ANY_STATE, defineCommand, noArguments } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.1.3. */
export const logoutCommand = defineCommand({
  name: 'LOGOUT',
  states: ANY_STATE,
  parse: noArguments,
  async run(session) {
    session.unselect();
    session.out.text('* BYE Logging out\r\n');
    return { ...ok('LOGOUT completed'), after: () => session.io.end() };
  },
});
