import { ANY_STATE, defineCommand, noArguments } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.1.1. */
export const capabilityCommand = defineCommand({
  name: 'CAPABILITY',
  states: ANY_STATE,
  parse: noArguments,
  async run(session) {
    session.out.text(`* CAPABILITY ${session.capabilities()}\r\n`);
    return ok('CAPABILITY completed');
  },
});
