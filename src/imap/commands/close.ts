import { defineCommand, noArguments, SELECTED } from '../command.js';
import { ok } from '../reply.js';

/** RFC 9051 §6.4.1: removes what is \Deleted, without telling, and leaves the mailbox. */
export const closeCommand = defineCommand({
  name: 'CLOSE',
  states: SELECTED,
  parse: noArguments,
  async run(session) {
    const { mailbox, readOnly } = session.selected;
    if (!readOnly) await mailbox.expunge();
    session.unselect();
    return ok('CLOSE completed');
  },
});
