import { formatQuoted } from '../../wire/format.js';
import { ParseError } from '../../wire/parse-error.js';
import { parseSearch } from '../../wire/search.js';
import type { SearchArguments, SearchReturn } from '../../wire/search-key.js';
import { type Call, defineCommand, SELECTED } from '../command.js';
import { highest, writeExtended } from '../esearch.js';
import { no, ok, type Reply } from '../reply.js';
import { type SearchResult, searchIn } from '../search-run.js';
import { BadCharset } from '../search-text.js';
import type { Selected } from '../selected.js';
import type { Session } from '../session.js';
import { MAX_CONTEXTS, UpdateContext } from '../update-context.js';

/** SEARCH (RFC 3501 §6.4.4), with RETURN (RFC 4731), SAVE (RFC 5182), MODSEQ (RFC 7162 §3.1.5), WITHIN (RFC 5032). */
export const searchCommand = defineCommand({
  name: 'SEARCH',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse: parseSearch,
  run(session, given, call) {
    checkUpdate(session, given, call);
    const args = session.rev2 ? { ...given, returns: given.returns ?? REV2_RETURN } : given;
    return searchWith(session, args, async (result) => answer(session, args, call, result));
  },
});

/** RFC 9051 §6.4.4: without RETURN, IMAP4rev2 answers as with RETURN (ALL). */
const REV2_RETURN: SearchReturn = {
  min: false,
  max: false,
  all: true,
  count: false,
  save: false,
  partial: null,
  update: null,
};

/** Searches, for SEARCH, SORT and THREAD, and answers with what `answer` makes of the result. */
export function searchWith(
  session: Session,
  args: SearchArguments,
  answer: (result: SearchResult) => Promise<Reply>,
): Promise<Reply> {
  return checked(session, args, async () => answer(await searchIn(session, session.selected, args)));
}

/** Runs a search once its charset may be given, and answers for it when it is not known. */
export async function checked(session: Session, args: SearchArguments, run: () => Promise<Reply>): Promise<Reply> {
  // RFC 6855 §3, its erratum 4029 for the commands where a charset must stand.
  if (session.utf8Accept && !charsetAllowed(args)) throw new ParseError('Everything is UTF-8, no CHARSET may be given');
  if (args.usesModSeq) session.enableCondstore();
  try {
    return await run();
  } catch (error) {
    // RFC 5182 §2.1: a search that fails saves nothing.
    if (args.returns?.save === true && session.selectedOrNull !== null) session.selectedOrNull.saved = [];
    if (!(error instanceof BadCharset)) throw error;
    return no('That charset is not known', 'BADCHARSET (US-ASCII UTF-8)');
  }
}

function charsetAllowed(args: SearchArguments): boolean {
  return args.charset === null || (args.charsetRequired === true && args.charset === 'UTF-8');
}

function answer(session: Session, args: SearchArguments, call: Call, { uids, unavailable }: SearchResult): Reply {
  const { selected, out } = session;
  const found = call.uid ? uids : uids.map((uid) => selected.tracker.sequence(uid));
  if (args.returns === null)
    out.text(`* SEARCH${found.map((n) => ` ${n}`).join('')}${plainModSeq(args, selected, uids)}\r\n`);
  else writeExtended(session, args, args.returns, uids, found, call);
  if (args.returns?.update) keepUpdated(session, args, call, uids);
  return unavailable === 0 ? ok('SEARCH completed') : unavailableReply(unavailable);
}

/** RFC 5267 §4.3: a tag names one context. */
function checkUpdate({ selected }: Session, { returns }: SearchArguments, { tag }: Call): void {
  if (returns?.update && selected.contexts.has(tag)) throw new ParseError('Updates are told under that tag already');
}

function keepUpdated(session: Session, args: SearchArguments, call: Call, uids: readonly number[]): void {
  const { selected } = session;
  if (selected.contexts.size >= MAX_CONTEXTS) refuseUpdate(session, call);
  else selected.contexts.set(call.tag, new UpdateContext(selected, call, args, uids));
}

/** RFC 5267 §4.3.1: everything else that was asked for is answered. */
export function refuseUpdate(session: Session, { tag }: Call): void {
  session.out.text(`* NO [NOUPDATE ${formatQuoted(tag)}] Too many updates\r\n`);
}

/** For commands that work on all of the messages or none (RFC 9738 §3.3). */
export function tooMany({ limits }: Session): Reply {
  return no('Too many messages at once', `MESSAGELIMIT ${limits.commandMessages}`);
}

export function unavailableReply(unavailable: number): Reply {
  return no(`${unavailable} messages could not be searched, their server is out of reach`, 'UNAVAILABLE');
}

function plainModSeq(args: SearchArguments, selected: Selected, uids: readonly number[]): string {
  return args.usesModSeq && uids.length > 0 ? ` (MODSEQ ${highest(selected, uids)})` : '';
}
