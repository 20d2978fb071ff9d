import { parseSort, type SortArguments } from '../../wire/sort.js';
import { type Call, defineCommand, SELECTED } from '../command.js';
import { writeExtended } from '../esearch.js';
import { ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';
import { sortUids } from '../sort-fields.js';
import { refuseUpdate, searchWith, tooMany, unavailableReply } from './search.js';

/** SORT (RFC 5256 §3), with RETURN (ESORT, RFC 5267 §3) and the display names of RFC 5957. */
export const sortCommand = defineCommand({
  name: 'SORT',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse: parseSort,
  run: (session, args, call) => searchWith(session, args, (result) => sort(session, args, call, result)),
});

async function sort(
  session: Session,
  args: SortArguments,
  call: Call,
  { uids, unavailable }: { readonly uids: readonly number[]; readonly unavailable: number },
): Promise<Reply> {
  const { selected, out } = session;
  // RFC 9738 §3.3: an order of some of the messages would be none of the mailbox.
  if (session.limitCode !== null) return tooMany(session);
  const sorted = await sortUids(selected, uids, args.criteria, () => out.breathe());
  const found = call.uid ? sorted : sorted.map((uid) => selected.tracker.sequence(uid));
  if (args.returns === null) out.text(`* SORT${found.map((n) => ` ${n}`).join('')}\r\n`);
  else writeExtended(session, args, args.returns, sorted, found, call);
  // CONTEXT=SORT is not offered: a place in the order would have to be told.
  if (args.returns?.update) refuseUpdate(session, call);
  return unavailable === 0 ? ok('SORT completed') : unavailableReply(unavailable);
}
