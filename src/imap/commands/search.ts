import { ParseError } from '../../wire/parse-error.js';
import { parseSearch } from '../../wire/search.js';
import type { SearchArguments, SearchReturn } from '../../wire/search-key.js';
import { SetBuilder } from '../../wire/set-builder.js';
import { type Call, defineCommand, SELECTED } from '../command.js';
import { no, ok, type Reply } from '../reply.js';
import { type SearchResult, search } from '../search-run.js';
import { BadCharset, SearchCharset } from '../search-text.js';
import type { Selected } from '../selected.js';
import type { Session } from '../session.js';

/** SEARCH (RFC 3501 §6.4.4), with RETURN (RFC 4731), SAVE (RFC 5182), MODSEQ (RFC 7162 §3.1.5), WITHIN (RFC 5032). */
export const searchCommand = defineCommand({
  name: 'SEARCH',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse: parseSearch,
  run(session, given, call) {
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
  update: false,
};

/** Searches, for SEARCH, SORT and THREAD, and answers with what `answer` makes of the result. */
export async function searchWith(
  session: Session,
  args: SearchArguments,
  answer: (result: SearchResult) => Promise<Reply>,
): Promise<Reply> {
  const { selected, out } = session;
  // RFC 6855 §3, its erratum 4029 for the commands where a charset must stand.
  if (session.utf8Accept && !charsetAllowed(args)) throw new ParseError('Everything is UTF-8, no CHARSET may be given');
  if (args.usesModSeq) session.enableCondstore();
  try {
    const charset = new SearchCharset(args.charset);
    const now = Math.floor(session.services.now() / 1000);
    out.startSlice();
    const context = { selected, charset, now, needles: new Set<string>(), fields: new Set<string>() };
    return await answer(await search(args.key, context, () => out.breathe()));
  } catch (error) {
    // RFC 5182 §2.1: a search that fails saves nothing.
    if (args.returns?.save === true) selected.saved = [];
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
  return unavailable === 0 ? ok('SEARCH completed') : unavailableReply(unavailable);
}

/** `* ESEARCH …`, and saves what SAVE asks for. `uids` and `found`, their numbers, are in the order of the answer. */
export function writeExtended(
  session: Session,
  args: SearchArguments,
  returns: SearchReturn,
  uids: readonly number[],
  found: readonly number[],
  call: Call,
): void {
  const { selected, out } = session;
  if (returns.save) selected.saved = [...savedUids(returns, uids)].sort((a, b) => a - b);
  if (returnsAnything(returns)) out.text(extended(args, returns, selected, uids, found, call));
}

export function unavailableReply(unavailable: number): Reply {
  return no(`${unavailable} messages could not be searched, their server is out of reach`, 'UNAVAILABLE');
}

/** RFC 5182 §2.4: SAVE alone saves all; with MIN or MAX and nothing else, only those. */
function savedUids({ min, max, all, count }: SearchReturn, uids: readonly number[]): readonly number[] {
  if (all || count || (!min && !max) || uids.length === 0) return uids;
  const first = uids[0]!;
  const last = uids[uids.length - 1]!;
  if (min && max) return first === last ? [first] : [first, last];
  return min ? [first] : [last];
}

function returnsAnything({ min, max, all, count }: SearchReturn): boolean {
  return min || max || all || count;
}

/** `* ESEARCH (TAG "…") UID MIN … MAX … ALL … COUNT … MODSEQ …` (RFC 4731 §3.1). */
function extended(
  args: SearchArguments,
  returns: SearchReturn,
  selected: Selected,
  uids: readonly number[],
  found: readonly number[],
  call: Call,
): string {
  const items = [`* ESEARCH (TAG "${call.tag.replace(/["\\]/g, '\\$&')}")`];
  if (call.uid) items.push('UID');
  if (found.length > 0) {
    if (returns.min) items.push(`MIN ${found[0]}`);
    if (returns.max) items.push(`MAX ${found[found.length - 1]}`);
    if (returns.all) items.push(`ALL ${numbers(found)}`);
  }
  if (returns.count) items.push(`COUNT ${found.length}`);
  if (args.usesModSeq && found.length > 0) items.push(`MODSEQ ${highest(selected, modSeqUids(returns, uids))}`);
  return `${items.join(' ')}\r\n`;
}

function numbers(found: readonly number[]): string {
  const set = new SetBuilder();
  for (const number of found) set.add(number);
  return set.toString();
}

/** RFC 7162 §3.1.10: with only MIN, or MAX, or both, the MODSEQ is theirs. */
function modSeqUids({ min, max, all, count }: SearchReturn, uids: readonly number[]): readonly number[] {
  if (all || count) return uids;
  return [...(min ? uids.slice(0, 1) : []), ...(max ? uids.slice(-1) : [])];
}

function plainModSeq(args: SearchArguments, selected: Selected, uids: readonly number[]): string {
  return args.usesModSeq && uids.length > 0 ? ` (MODSEQ ${highest(selected, uids)})` : '';
}

function highest({ listing }: Selected, uids: readonly number[]): number {
  let modSeq = 1;
  for (const uid of uids) {
    const at = listing.indexOf(uid);
    if (at >= 0 && listing.modSeqs[at]! > modSeq) modSeq = listing.modSeqs[at]!;
  }
  return modSeq;
}
