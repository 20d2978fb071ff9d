import { parseFetch } from '../../wire/fetch.js';
import type { FetchAttribute } from '../../wire/fetch-item.js';
import { ParseError } from '../../wire/parse-error.js';
import { takePartial } from '../../wire/partial-range.js';
import { eachIndex, type IndexRange } from '../../wire/sequence-set.js';
import { defineCommand, SELECTED } from '../command.js';
import { planFetch } from '../fetch-plan.js';
import { FetchRun } from '../fetch-run.js';
import type { Selected } from '../selected.js';
import { writeVanishedEarlier } from '../vanished.js';

/** FETCH (RFC 9051 §6.4.5), with MODSEQ and CHANGEDSINCE (RFC 7162 §3.1.4), PARTIAL (RFC 9394). */
export const fetchCommand = defineCommand({
  name: 'FETCH',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse: parseFetch,
  async run(session, { set, items, modifiers }, call) {
    // RFC 7162 §3.2.6.
    if (modifiers.vanished && !call.uid) throw new ParseError('VANISHED is for UID FETCH');
    if (modifiers.vanished && !session.qresync) throw new ParseError('QRESYNC is not enabled');
    const extra: FetchAttribute[] = [];
    if (call.uid) extra.push('UID');
    if (modifiers.changedSince !== null) extra.push('MODSEQ');
    const plan = planFetch(items, extra);
    const ranges = session.limit(session.selected.resolve(set, call.uid));
    if (plan.items.some((item) => item.type === 'attribute' && item.name === 'MODSEQ')) session.enableCondstore();
    // What `$` names has not vanished (RFC 5182 §2.1).
    if (modifiers.vanished && !set.saved) {
      await writeVanishedEarlier(session.out, session.selected, modifiers.changedSince!, set);
    }
    const all = positions(session.selected, ranges, modifiers.changedSince);
    // RFC 9394 §3.3.
    const some = modifiers.partial === null ? all : takePartial(all, modifiers.partial);
    return new FetchRun(session, call, plan, some).run();
  },
});

function positions({ tracker, listing }: Selected, ranges: readonly IndexRange[], since: number | null): number[] {
  const all = Array.from(eachIndex(ranges));
  if (since === null) return all;
  return all.filter((position) => {
    const at = tracker.listingIndex(position);
    return at >= 0 && listing.modSeqs[at]! > since;
  });
}
