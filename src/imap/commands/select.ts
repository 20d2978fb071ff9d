import { formatMailbox } from '../../wire/format.js';
import { ParseError } from '../../wire/parse-error.js';
import { parseSelect, type QresyncArguments, type SelectArguments } from '../../wire/select.js';
import { eachIndex, type IndexRange } from '../../wire/sequence-set.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import type { Output } from '../output.js';
import { ok, type Reply } from '../reply.js';
import type { Selected } from '../selected.js';
import type { Session } from '../session.js';
import type { Tracker } from '../tracker.js';
import { writeVanishedEarlier } from '../vanished.js';

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
  // RFC 7162 §3.2.5.
  if (args.qresync !== null && !session.qresync) throw new ParseError('QRESYNC is not enabled');
  const { out } = session;
  // A SELECT that fails leaves nothing selected (RFC 9051 §6.3.2).
  if (session.selectedOrNull !== null) out.text('* OK [CLOSED] Previous mailbox closed\r\n');
  session.unselect();
  if (args.condstore) session.enableCondstore();
  const selected = await session.select(await session.user.open(args.mailbox), readOnly);
  const { mailbox, tracker, listing } = selected;
  selected.announceFlags(out);
  out.text(`* ${tracker.exists} EXISTS\r\n`);
  if (session.rev2) out.utf8(`* LIST () "/" ${formatMailbox(mailbox.name, session)}\r\n`);
  else announceUnseen(out, tracker);
  out.text(`* OK [UIDVALIDITY ${mailbox.uidValidity}] UIDs valid\r\n`);
  out.text(`* OK [UIDNEXT ${listing.uidNext}] Predicted next UID\r\n`);
  out.text(`* OK [HIGHESTMODSEQ ${listing.highestModSeq}] Highest\r\n`);
  // RFC 8474 §4.1.
  out.text(`* OK [MAILBOXID (${mailbox.mailboxId})] Mailbox id\r\n`);
  // RFC 7162 §3.2.5.1: a mailbox with another UIDVALIDITY has nothing in common with what the client knew.
  if (args.qresync?.uidValidity === mailbox.uidValidity) await resynchronize(session, selected, args.qresync);
  return readOnly ? ok('EXAMINE completed', 'READ-ONLY') : ok('SELECT completed', 'READ-WRITE');
}

/**
 * VANISHED (EARLIER), then FETCH for what changed (RFC 7162 §3.2.5). All removals are remembered, so that the message
 * sequence match data (§3.2.5.2), which help a server that forgot some, are not looked at.
 */
async function resynchronize(session: Session, selected: Selected, known: QresyncArguments): Promise<void> {
  const { out } = session;
  await writeVanishedEarlier(out, selected, known.modSeq, known.knownUids);
  const { tracker, listing } = selected;
  const ranges = known.knownUids === null ? all(tracker.exists) : selected.resolveLoosely(known.knownUids, true);
  out.startSlice();
  for (const position of eachIndex(ranges)) {
    const at = tracker.listingIndex(position);
    if (at < 0 || listing.modSeqs[at]! <= known.modSeq) continue;
    const items = `UID ${listing.uids[at]} FLAGS (${tracker.flags(at)}) MODSEQ (${listing.modSeqs[at]})`;
    out.text(`* ${position + 1} FETCH (${items})\r\n`);
    tracker.know([listing.uids[at]!]);
    if (out.full) await out.breathe();
  }
}

function all(exists: number): readonly IndexRange[] {
  return exists === 0 ? [] : [[0, exists - 1]];
}

/** RFC 3501 §6.3.1; RFC 9051 §6.3.2 has LIST instead. */
function announceUnseen(out: Output, tracker: Tracker): void {
  out.text(`* ${tracker.recent} RECENT\r\n`);
  const unseen = tracker.firstUnseen();
  if (unseen > 0) out.text(`* OK [UNSEEN ${unseen}] First unseen\r\n`);
}
