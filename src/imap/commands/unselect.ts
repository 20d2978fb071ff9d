import { defineCommand, noArguments, SELECTED } from '../command.js';
import { ok } from '../reply.js';

/** RFC 3691. */
export const unselectCommand = defineCommand({
  name: 'UNSELECT',
  states: SELECTED,
  parse: noArguments,
  async run(session) {
    session.unselect();
    return ok('UNSELECT completed');
  },
});
