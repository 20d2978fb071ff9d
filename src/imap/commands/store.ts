import { addFlags, type FlagText, flagList, flagText, isAccountKeyword, removeFlags } from '../../mail/flags.js';
import { formatSet } from '../../wire/set-builder.js';
import { parseStore, type StoreArguments } from '../../wire/store.js';
import { type Call, defineCommand, SELECTED } from '../command.js';
import { checkFlags } from '../flags.js';
import { no, ok, type Reply, readOnlyReply } from '../reply.js';
import type { Selected } from '../selected.js';
import type { Session } from '../session.js';

/** STORE (RFC 9051 §6.4.6), conditional with UNCHANGEDSINCE (RFC 7162 §3.1.3). */
export const storeCommand = defineCommand({
  name: 'STORE',
  states: SELECTED,
  uid: true,
  holdsExpunge: true,
  parse(parser): StoreArguments {
    const args = parseStore(parser);
    checkFlags(args.flags);
    return { ...args, flags: args.flags.filter((flag) => flag.toLowerCase() !== '\\recent') };
  },
  run: store,
});

async function store(session: Session, args: StoreArguments, call: Call): Promise<Reply> {
  const { selected } = session;
  if (selected.readOnly) return readOnlyReply();
  if (args.mode !== 'remove' && !selected.takesKeywords(args.flags))
    return no('The mailbox has too many keywords', 'LIMIT');
  if (args.unchangedSince !== null) session.enableCondstore();
  const uids = selected.uids(session.limit(selected.resolve(args.set, call.uid)));
  const prediction = args.silent ? new Prediction(selected, uids, args) : null;
  const { modified } = await selected.mailbox.store(uids, args.mode, args.flags, args.unchangedSince ?? undefined);
  const failed = new Set(modified);
  session.out.startSlice();
  const stored = uids.filter((uid) => !failed.has(uid) && selected.listing.indexOf(uid) >= 0);
  if (prediction === null) await answer(session, stored, call, true);
  else {
    // What became of them as asked for is not told (.SILENT), but for MODSEQ (RFC 7162 §3.1.3).
    const foreseen = stored.filter((uid) => prediction.holds(uid));
    if (session.condstore) await answer(session, foreseen, call, false);
    else selected.tracker.know(foreseen);
  }
  return conclusion(selected, modified, uids.length - stored.length - failed.size, call);
}

/** One FETCH for each of these UIDs, changed or not: clients wait for it. */
async function answer(session: Session, uids: readonly number[], call: Call, withFlags: boolean): Promise<void> {
  const { out, selected, condstore } = session;
  const { listing, tracker } = selected;
  out.startSlice();
  for (const uid of uids) {
    const at = listing.indexOf(uid);
    if (at < 0) continue;
    const items: string[] = [];
    // RFC 7162 §3.2.4: with QRESYNC, the UID always.
    if (call.uid || session.qresync) items.push(`UID ${uid}`);
    if (withFlags) items.push(`FLAGS (${tracker.flags(at)})`);
    if (condstore) items.push(`MODSEQ (${listing.modSeqs[at]})`);
    out.text(`* ${tracker.sequence(uid)} FETCH (${items.join(' ')})\r\n`);
    tracker.know([uid]);
    if (out.full) await out.breathe();
  }
}

function conclusion({ tracker }: Selected, modified: readonly number[], gone: number, call: Call): Reply {
  // RFC 7162 §3.1.3: MODIFIED counts as the command does.
  const numbers = call.uid ? modified : modified.map((uid) => tracker.sequence(uid));
  const code = numbers.length > 0 ? `MODIFIED ${formatSet(numbers)}` : undefined;
  // RFC 2180 §4.2.1, RFC 5530 §3; a UID that is gone is no error (RFC 9051 §6.4.9).
  if (gone > 0 && !call.uid) return no('Some of the messages are expunged', code ?? 'EXPUNGEISSUED');
  return code === undefined ? ok('STORE completed') : ok('Conditional STORE failed for some', code);
}

/** What a STORE makes of the flags as the client knows them, so that what others changed meanwhile is told. */
class Prediction {
  readonly #selected: Selected;
  readonly #args: StoreArguments;
  readonly #before = new Map<number, FlagText>();
  readonly #after = new Map<FlagText, FlagText>();

  constructor(selected: Selected, uids: readonly number[], args: StoreArguments) {
    this.#selected = selected;
    this.#args = args;
    const { listing, tracker } = selected;
    for (const uid of uids) {
      const at = listing.indexOf(uid);
      if (at >= 0 && tracker.knows(at)) this.#before.set(uid, listing.flags(at));
    }
  }

  /** Whether the entry is now as the client has to think it is. */
  holds(uid: number): boolean {
    const { listing } = this.#selected;
    const before = this.#before.get(uid);
    const at = listing.indexOf(uid);
    return before !== undefined && at >= 0 && listing.flags(at) === this.#expected(before);
  }

  #expected(before: FlagText): FlagText {
    let after = this.#after.get(before);
    if (after === undefined) {
      after = applyStore(before, this.#args);
      this.#after.set(before, after);
    }
    return after;
  }
}

function applyStore(before: FlagText, { mode, flags }: StoreArguments): FlagText {
  const settable = flags.filter((flag) => !isAccountKeyword(flag));
  if (mode === 'add') return addFlags(before, settable);
  if (mode === 'remove') return removeFlags(before, settable);
  return flagText([...settable, ...flagList(before).filter(isAccountKeyword)]);
}
