import { ParseError } from '../../wire/parse-error.js';
import { defineCommand, SELECTED } from '../command.js';
import { correlator } from '../esearch.js';
import { no, ok } from '../reply.js';

/** RFC 10022 §3.1: messages of a batch at least, and messages that one command may ask about at most. */
const MIN_BATCH = 500;
const MAX_SPAN = 100_000;

/** RFC 10022: UID ranges that cut the mailbox into batches, the newest first. */
export const uidBatchesCommand = defineCommand({
  name: 'UIDBATCHES',
  states: SELECTED,
  holdsExpunge: true,
  parse(parser) {
    parser.expectSp();
    const size = parser.expectNzNumber('a batch size');
    if (!parser.sp()) return { size, first: 1, last: null };
    const first = parser.expectNzNumber('the first batch');
    parser.expectChar(':');
    const last = parser.expectNzNumber('the last batch');
    if (last < first) throw new ParseError('The first batch is behind the last');
    return { size, first, last };
  },
  async run(session, { size, first, last }, { tag }) {
    if (size < MIN_BATCH) return no(`A batch has at least ${MIN_BATCH} messages`, 'TOOFEW');
    if (last !== null && (last - first + 1) * size > MAX_SPAN) {
      return no(`Ask for at most ${MAX_SPAN} messages at once`, 'TOOMANY');
    }
    const { tracker } = session.selected;
    const ranges: string[] = [];
    const until = Math.min(last ?? Number.POSITIVE_INFINITY, Math.ceil(tracker.exists / size));
    for (let batch = first; batch <= until; batch += 1) {
      const end = tracker.exists - (batch - 1) * size;
      // Batches join, so that what is in none of them does not exist; the last one goes down to UID 1.
      const lowest = end > size ? tracker.uids[end - size]! : 1;
      ranges.push(`${tracker.uids[end - 1]}:${lowest}`);
    }
    const set = ranges.length === 0 ? '' : ` ${ranges.join(',')}`;
    session.out.text(`* UIDBATCHES ${correlator(session, tag)}${set}\r\n`);
    return ok('UIDBATCHES completed');
  },
});
