import { defineCommand, noArguments, SELECTED } from '../command.js';
import { ok } from '../reply.js';

/** RFC 3501 §6.4.1: a checkpoint; everything acknowledged is durable already. */
export const checkCommand = defineCommand({
  name: 'CHECK',
  states: SELECTED,
  parse: noArguments,
  run: async () => ok('CHECK completed'),
});
