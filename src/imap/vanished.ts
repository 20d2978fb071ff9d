import { indexOfUid } from '../mail/listing.js';
import type { SequenceSet } from '../wire/sequence-set.js';
import { SetBuilder } from '../wire/set-builder.js';
import type { Output } from './output.js';
import type { Selected } from './selected.js';

/** Octets of the set in one response: some clients have buffers of 8 KiB for a line. */
const MAX_SET = 7_000;

/** `* VANISHED [(EARLIER)] set` (RFC 7162 §3.2.10), in several lines when long; nothing for no UIDs. `uids` ascend. */
export function writeVanished(out: Output, uids: Iterable<number>, earlier = false): void {
  const set = new SetBuilder();
  for (const uid of uids) set.add(uid);
  for (const chunk of set.chunks(MAX_SET)) out.text(`* VANISHED ${earlier ? '(EARLIER) ' : ''}${chunk}\r\n`);
}

/**
 * Tells which of the UIDs in `known` (all for null) were removed since a MODSEQ. Those that still have a sequence
 * number in this session are left to the poll: EARLIER may not be said of them (RFC 7162 §3.2.10).
 */
export async function writeVanishedEarlier(
  out: Output,
  selected: Selected,
  since: number,
  known: SequenceSet | null,
): Promise<void> {
  const { tracker, listing, mailbox } = selected;
  const gone = await mailbox.vanishedSince(since);
  const last = listing.uidNext - 1;
  const ranges = known === null ? [[1, last] as const] : known.numberRanges(last, 0xffff_ffff);
  let range = 0;
  const told: number[] = [];
  for (const uid of gone) {
    while (range < ranges.length && ranges[range]![1] < uid) range += 1;
    if (range === ranges.length) break;
    if (ranges[range]![0] <= uid && indexOfUid(tracker.uids, tracker.exists, uid) < 0) told.push(uid);
  }
  writeVanished(out, told, true);
}
