import { ParseError } from '../../wire/parse-error.js';
import { parseSelect, type SelectArguments } from '../../wire/select.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ok, type Reply } from '../reply.js';
import type { Session } from '../session.js';

/** RFC 9051 §6.3.2. */
export const selectCommand = defineCommand({
  name: 'SELECT',
  states: AUTHENTICATED,
  parse: parseSelect,
  run: (session, args) => select(session, args, false),
});

/** RFC 9051 §6.3.3. */
export const examineCommand = defineCommand({
  name: 'EXAMINE',
  states: AUTHENTICATED,
  parse: parseSelect,
  run: (session, args) => select(session, args, true),
});

async function select(session: Session, args: SelectArguments, readOnly: boolean): Promise<Reply> {
  // RFC 7162 §3.2.5: BAD without ENABLE QRESYNC, which is not offered.
  if (args.qresync !== null) throw new ParseError('QRESYNC is not enabled');
  const { out } = session;
  // A SELECT that fails leaves nothing selected (RFC 9051 §6.3.2).
  if (session.selectedOrNull !== null) out.text('* OK [CLOSED] Previous mailbox closed\r\n');
  session.unselect();
  if (args.condstore) session.enableCondstore();
  const selected = await session.select(await session.user.open(args.mailbox), readOnly);
  const { mailbox, tracker, listing } = selected;
  selected.announceFlags(out);
  out.text(`* ${tracker.exists} EXISTS\r\n* ${tracker.recent} RECENT\r\n`);
  const unseen = tracker.firstUnseen();
  if (unseen > 0) out.text(`* OK [UNSEEN ${unseen}] First unseen\r\n`);
  out.text(`* OK [UIDVALIDITY ${mailbox.uidValidity}] UIDs valid\r\n`);
  out.text(`* OK [UIDNEXT ${listing.uidNext}] Predicted next UID\r\n`);
  out.text(`* OK [HIGHESTMODSEQ ${listing.highestModSeq}] Highest\r\n`);
  return readOnly ? ok('EXAMINE completed', 'READ-ONLY') : ok('SELECT completed', 'READ-WRITE');
}
