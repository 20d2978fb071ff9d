import { formatId, parseId } from '../../wire/id.js';
import { ANY_STATE, defineCommand } from '../command.js';
import { ok } from '../reply.js';

/** RFC 2971. */
export const idCommand = defineCommand({
  name: 'ID',
  states: ANY_STATE,
  parse: parseId,
  async run(session) {
    const pairs = new Map([
      ['name', 'Mergebox'],
      ['version', session.services.version],
    ]);
    session.out.text(`* ID ${formatId(pairs).toString('latin1')}\r\n`);
    return ok('ID completed');
  },
});
