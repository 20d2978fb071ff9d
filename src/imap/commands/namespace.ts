import { AUTHENTICATED, defineCommand, noArguments } from '../command.js';
import { ok } from '../reply.js';

/** RFC 2342 §5: one personal namespace without prefix. */
export const namespaceCommand = defineCommand({
  name: 'NAMESPACE',
  states: AUTHENTICATED,
  parse: noArguments,
  async run(session) {
    session.out.text('* NAMESPACE (("" "/")) NIL NIL\r\n');
    return ok('NAMESPACE completed');
  },
});
