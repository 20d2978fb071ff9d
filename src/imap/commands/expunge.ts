import { ParseError } from '../../wire/parse-error.js';
import type { SequenceSet } from '../../wire/sequence-set.js';
import { defineCommand, SELECTED } from '../command.js';
import { ok, readOnlyReply } from '../reply.js';

/** EXPUNGE (RFC 9051 §6.4.3) and UID EXPUNGE (RFC 4315 §2.1), which only removes what its set names. */
export const expungeCommand = defineCommand({
  name: 'EXPUNGE',
  states: SELECTED,
  uid: true,
  parse: (parser): SequenceSet | null => (parser.sp() ? parser.expectSequenceSet() : null),
  async run(session, set, { uid }) {
    const { selected } = session;
    if (uid !== (set !== null)) throw new ParseError(uid ? 'Expected a set of UIDs' : 'Takes no arguments');
    if (selected.readOnly) return readOnlyReply();
    const { epoch } = selected.listing;
    if (set === null) await selected.mailbox.expunge();
    else await selected.mailbox.expunge(selected.uids(session.limit(selected.resolve(set, true))));
    return { ...ok('EXPUNGE completed'), tellsModSeq: selected.listing.epoch !== epoch };
  },
});
