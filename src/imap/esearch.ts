import { formatMailbox } from '../wire/format.js';
import { takePartial } from '../wire/partial-range.js';
import type { SearchArguments, SearchReturn } from '../wire/search-key.js';
import { SetBuilder } from '../wire/set-builder.js';
import type { Call } from './command.js';
import type { Selected } from './selected.js';
import type { Session } from './session.js';

/** `(TAG "…")`, which ties a response to its command; with the mailbox for MULTISEARCH (RFC 7377 §2.1). */
export function correlator(session: Session, tag: string, mailbox?: Selected): string {
  const quoted = `TAG "${tag.replace(/["\\]/g, '\\$&')}"`;
  if (mailbox === undefined) return `(${quoted})`;
  const name = formatMailbox(mailbox.mailbox.name, session);
  return `(${quoted} MAILBOX ${name} UIDVALIDITY ${mailbox.mailbox.uidValidity})`;
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
  if (!returnsAnything(returns)) return;
  const items = extendedItems(args, returns, selected, uids, found);
  out.text(`* ESEARCH ${correlator(session, call.tag)}${call.uid ? ' UID' : ''}${items}\r\n`);
}

/** RFC 5182 §2.4: SAVE alone saves all; with MIN or MAX and nothing else, only those; RFC 9394 §3.1: PARTIAL its part. */
function savedUids({ min, max, all, count, partial }: SearchReturn, uids: readonly number[]): readonly number[] {
  if (partial !== null) return takePartial(uids, partial);
  if (all || count || (!min && !max) || uids.length === 0) return uids;
  const first = uids[0]!;
  const last = uids[uids.length - 1]!;
  if (min && max) return first === last ? [first] : [first, last];
  return min ? [first] : [last];
}

function returnsAnything({ min, max, all, count, partial }: SearchReturn): boolean {
  return min || max || all || count || partial !== null;
}

/** ` MIN … MAX … ALL … PARTIAL (…) COUNT … MODSEQ …` (RFC 4731 §3.1, RFC 9394 §3.1). */
export function extendedItems(
  args: SearchArguments,
  returns: SearchReturn,
  selected: Selected,
  uids: readonly number[],
  found: readonly number[],
): string {
  const items: string[] = [''];
  if (found.length > 0) {
    if (returns.min) items.push(`MIN ${found[0]}`);
    if (returns.max) items.push(`MAX ${found[found.length - 1]}`);
    if (returns.all) items.push(`ALL ${numbers(found)}`);
  }
  if (returns.partial !== null) {
    const { first, last } = returns.partial;
    const part = takePartial(found, returns.partial);
    items.push(`PARTIAL (${first}:${last} ${part.length === 0 ? 'NIL' : numbers(part)})`);
  }
  if (returns.count) items.push(`COUNT ${found.length}`);
  if (args.usesModSeq && found.length > 0) items.push(`MODSEQ ${highest(selected, modSeqUids(returns, uids))}`);
  return items.join(' ');
}

function numbers(found: readonly number[]): string {
  const set = new SetBuilder();
  for (const number of found) set.add(number);
  return set.toString();
}

/** RFC 7162 §3.1.10: with only MIN, or MAX, or both, the MODSEQ is theirs. */
function modSeqUids({ min, max, all, count, partial }: SearchReturn, uids: readonly number[]): readonly number[] {
  if (all || count || partial !== null) return uids;
  return [...(min ? uids.slice(0, 1) : []), ...(max ? uids.slice(-1) : [])];
}

/** The highest MODSEQ among these messages. */
export function highest({ listing }: Selected, uids: readonly number[]): number {
  let modSeq = 1;
  for (const uid of uids) {
    const at = listing.indexOf(uid);
    if (at >= 0 && listing.modSeqs[at]! > modSeq) modSeq = listing.modSeqs[at]!;
  }
  return modSeq;
}
