import { parseEnable } from '../../wire/enable.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok } from '../reply.js';

/** RFC 5161 §3.1: what we do not know is left out of the answer, not refused. */
export const enableCommand = defineCommand({
  name: 'ENABLE',
  states: AUTHENTICATED,
  parse: parseEnable,
  async run(session, names) {
    const enabled = names.includes('CONDSTORE') ? ' CONDSTORE' : '';
    session.out.text(`* ENABLED${enabled}\r\n`);
    if (enabled !== '') session.enableCondstore();
    return ok('ENABLE completed');
  },
});
