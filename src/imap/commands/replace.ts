import { parseReplace } from '../../wire/append.js';
import { ParseError } from '../../wire/parse-error.js';
import { defineCommand, SELECTED } from '../command.js';
import { checkFlags } from '../flags.js';
import { no, ok, readOnlyReply } from '../reply.js';
import { appendable } from './append.js';

/** RFC 8508 §3: a draft is saved again and its last version gone, in one step. */
export const replaceCommand = defineCommand({
  name: 'REPLACE',
  states: SELECTED,
  uid: true,
  parse(parser) {
    const args = parseReplace(parser);
    checkFlags(args.message.flags);
    return args;
  },
  async run(session, { number, mailbox, message }, { uid }) {
    const { selected } = session;
    if (selected.readOnly) return readOnlyReply();
    if (!uid && number > selected.tracker.exists) throw new ParseError(`There are ${selected.tracker.exists} messages`);
    const replaced = uid ? number : selected.tracker.uids[number - 1]!;
    const taken = await appendable(session, [message]);
    if ('status' in taken) return taken;
    // RFC 8508 §3.3: the new one is not stored when there is nothing to replace.
    if (selected.listing.indexOf(replaced) < 0) return no('There is no such message', 'EXPUNGEISSUED');
    const { uidValidity, uids } = await selected.mailbox.replace(replaced, mailbox, taken[0]!);
    session.out.text(`* OK [APPENDUID ${uidValidity} ${uids[0]}] Replacement stored\r\n`);
    return { ...ok('REPLACE completed'), tellsModSeq: true };
  },
});
