import { ANY_STATE, defineCommand, noArguments } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.1.2: does nothing, so that what is new can be told. */
export const noopCommand = defineCommand({
  name: 'NOOP',
  states: ANY_STATE,
  parse: noArguments,
  run: async () => ok('NOOP completed'),
});
