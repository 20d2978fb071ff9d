import type { SearchArguments } from '../wire/search-key.js';
import { SequenceSet, type SetRange } from '../wire/sequence-set.js';
import { formatSet } from '../wire/set-builder.js';
import type { Call } from './command.js';
import { correlator } from './esearch.js';
import { type FetchPlan, planFetch } from './fetch-plan.js';
import { FetchRun } from './fetch-run.js';
import { searchIn } from './search-run.js';
import type { Selected } from './selected.js';
import type { Session } from './session.js';

/** Results that one client may have kept up to date at once (RFC 5267 §4.3.1): each is looked at with every change. */
export const MAX_CONTEXTS = 8;

/** The result of a SEARCH RETURN (UPDATE), of which the client is told what comes and goes (RFC 5267 §4.3). */
export class UpdateContext {
  readonly #call: Call;
  readonly #args: SearchArguments;
  /** What is told of a message that comes in (RFC 5465 §7). */
  readonly #plan: FetchPlan | null;
  readonly #uids: Set<number>;
  /** The MODSEQ up to which messages were looked at. */
  #modSeq: number;
  #epoch: number;

  constructor({ tracker, listing }: Selected, call: Call, args: SearchArguments, uids: Iterable<number>) {
    this.#call = call;
    this.#args = args;
    const fetch = args.returns?.update?.fetch ?? null;
    this.#plan = fetch === null ? null : { ...planFetch(fetch, ['UID']), setsSeen: false };
    this.#uids = new Set(uids);
    this.#modSeq = tracker.modSeq;
    this.#epoch = listing.epoch;
  }

  get tag(): string {
    return this.#call.tag;
  }

  /** §4.3.4: before the EXPUNGE, and in the numbers from before it. */
  tellExpunged(session: Session): void {
    const { listing } = session.selected;
    if (listing.epoch === this.#epoch) return;
    this.#epoch = listing.epoch;
    const gone = [...this.#uids].filter((uid) => listing.indexOf(uid) < 0);
    for (const uid of gone) this.#uids.delete(uid);
    this.#write(session, [], gone);
  }

  /** §4.3.3: behind EXISTS and FETCH. Only messages that changed are searched again. */
  async tellChanges(session: Session): Promise<void> {
    const { selected } = session;
    const { listing, tracker } = selected;
    const until = listing.highestModSeq;
    if (until === this.#modSeq) return;
    const changed: number[] = [];
    for (let at = 0; at < listing.length; at += 1) {
      const uid = listing.uids[at]!;
      if (listing.modSeqs[at]! > this.#modSeq && tracker.sequence(uid) > 0) changed.push(uid);
    }
    this.#modSeq = until;
    if (changed.length === 0) return;
    const among = new SequenceSet(changed.map((uid): SetRange => [uid, uid]));
    const key = { type: 'and' as const, keys: [{ type: 'uid' as const, set: among }, this.#args.key] };
    const matching = new Set((await searchIn(session, selected, { ...this.#args, key })).uids);
    const added = changed.filter((uid) => matching.has(uid) && !this.#uids.has(uid));
    const removed = changed.filter((uid) => !matching.has(uid) && this.#uids.has(uid));
    for (const uid of added) this.#uids.add(uid);
    for (const uid of removed) this.#uids.delete(uid);
    if (this.#plan !== null && added.length > 0) {
      const positions = added.map((uid) => tracker.sequence(uid) - 1);
      await new FetchRun(session, { tag: '', uid: true }, this.#plan, positions).run();
    }
    this.#write(session, added, removed);
  }

  /** Of SEARCH the order is that of the mailbox, so that a position is not told (§4.3.2: 0). */
  #write(session: Session, added: readonly number[], removed: readonly number[]): void {
    const numbers = (uids: readonly number[]): string =>
      formatSet(this.#call.uid ? uids : uids.map((uid) => session.selected.tracker.sequence(uid)).filter((n) => n > 0));
    const items = [
      ...(added.length > 0 ? [`ADDTO (0 ${numbers(added)})`] : []),
      ...(removed.length > 0 ? [`REMOVEFROM (0 ${numbers(removed)})`] : []),
    ];
    if (items.length === 0) return;
    const uid = this.#call.uid ? ' UID' : '';
    session.out.text(`* ESEARCH ${correlator(session, this.#call.tag)}${uid} ${items.join(' ')}\r\n`);
  }
}
