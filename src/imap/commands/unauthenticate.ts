import { AUTHENTICATED, defineCommand, noArguments } from '../command.js';
import { bad, ok } from '../reply.js';

/** RFC 8437 §3: back to the state before login; TLS stays. Not offered with compression, which would have to end. */
export const unauthenticateCommand = defineCommand({
  name: 'UNAUTHENTICATE',
  states: AUTHENTICATED,
  parse: noArguments,
  async run(session) {
    if (session.io.compressed) return bad('UNAUTHENTICATE is not offered with compression');
    session.logout();
    return ok('Logged out', `CAPABILITY ${session.capabilities()}`);
  },
});
