import { parseStatus } from '../../wire/status-item.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok } from '../reply.js';
import { writeStatus } from '../status-response.js';

/** RFC 9051 §6.3.11; the selected mailbox may be asked for as well. */
export const statusCommand = defineCommand({
  name: 'STATUS',
  states: AUTHENTICATED,
  parse: parseStatus,
  async run(session, { mailbox, items }) {
    await writeStatus(session, mailbox, items);
    return ok('STATUS completed');
  },
});
