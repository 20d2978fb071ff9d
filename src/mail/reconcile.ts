import {
  addFlags,
  type FlagText,
  flagDelta,
  flagList,
  flagText,
  hasFlag,
  isAccountKeyword,
  removeFlags,
} from './flags.js';
import type { Role } from './ids.js';

/** Who decides for an account: either side, its server (forward synchronisation), or Mergebox (reverse). */
export type Authority = 'both' | 'upstream' | 'mergebox';

/** What a deletion elsewhere does to an account's copy. */
export type DeletionPolicy = 'trash' | 'expunge' | 'keep';

/**
 * What is known of where a copy is. `unknown`: not looked at, out of reach, or held by the guard; it counts as it was.
 * `missing`: gone from its folder, not explained yet. `gone`: explained; `to` is where its account has the mail now,
 * null when it is really deleted.
 */
export type Observed =
  | { readonly is: 'unknown' }
  | { readonly is: 'present'; readonly flags: FlagText }
  | { readonly is: 'missing' }
  | { readonly is: 'gone'; readonly to: { readonly role: Role | null; readonly flags: FlagText } | null };

/** One copy of an entry: what was last agreed on with its server (`base`), what is seen now, and what rules there. */
export interface CopyFacts {
  readonly base: FlagText;
  readonly observed: Observed;
  /** PERMANENTFLAGS; null when the server did not tell. */
  readonly offered: FlagText | null;
  /** Flags whose change its server refused: they are not sent again until somebody asks for it. */
  readonly refused: FlagText;
  /** Of the folder the copy is known in. */
  readonly role: Role | null;
  readonly authority: Authority;
  readonly onDelete: DeletionPolicy;
}

/** What becomes of a copy. Everything but `stay` and `forget` is owed to its server. */
export type CopyAction =
  | { readonly do: 'stay' }
  /** UID STORE. */
  | { readonly do: 'store'; readonly add: readonly string[]; readonly remove: readonly string[] }
  /** A deletion reaches it: to its account's Trash, or removed. */
  | { readonly do: 'discard'; readonly how: 'trash' | 'expunge' }
  /** A restoration reaches it: out of Trash, to its account's folder of that role. */
  | { readonly do: 'restore'; readonly role: Role }
  /** Mergebox decides for its account: the mail returns to the folder it left. */
  | { readonly do: 'putBack' }
  /** Nothing is left of it. */
  | { readonly do: 'forget' };

export interface Reconciled {
  /** The entry's flags; null when no copy keeps it where it is. */
  readonly entry: FlagText | null;
  /** In the order of the copies. */
  readonly copies: readonly { readonly base: FlagText; readonly action: CopyAction }[];
}

/**
 * Brings an entry and its copies into agreement after a look at some of them: a pure function of what was last agreed
 * on, what each copy shows now and what the entry shows now. Deletion wins over everything, then a mark \Deleted over
 * none, \Seen over unseen, and for any other flag the set side (docs/sync.md). Once its actions are done, applying it
 * again does nothing.
 */
export function reconcile(entry: FlagText, copies: readonly CopyFacts[]): Reconciled {
  const seen = copies.map((copy) => ({ base: copy.base, observed: seenFlags(copy, entry) }));
  const flags = withoutSpentMarks(
    reconcileFlags(
      entry,
      seen.filter((_, index) => copies[index]!.authority !== 'mergebox'),
    ),
    copies,
    seen,
  );
  const fate = fateOf(copies);
  const outcomes = copies.map((copy, index) => {
    const { base, observed } = seen[index]!;
    const agreed = isSpentMark(copy) ? removeFlags(base, ['\\Deleted']) : sameFlags(base, observed) ? base : observed;
    return { base: agreed, action: actionFor(copy, fate, agreed, flags) };
  });
  const stays = outcomes.some(({ action }) => STAYING.has(action.do));
  return { entry: stays ? flags : null, copies: outcomes };
}

const STAYING: ReadonlySet<CopyAction['do']> = new Set(['stay', 'store', 'putBack'] as const);

/** What happens to the copies that are still in place. */
type Fate = { readonly is: 'stays' | 'deleted' } | { readonly is: 'restored'; readonly role: Role };

/** Any copy that its server has really deleted, or filed in Trash, deletes; one that left Trash for a role restores. */
function fateOf(copies: readonly CopyFacts[]): Fate {
  let fate: Fate = { is: 'stays' };
  for (const { authority, observed, role } of copies) {
    if (observed.is !== 'gone' || authority === 'mergebox') continue;
    const { to } = observed;
    if (to === null || (to.role === 'trash' && role !== 'trash')) return { is: 'deleted' };
    if (role === 'trash' && to.role !== null && fate.is === 'stays') fate = { is: 'restored', role: to.role };
  }
  return fate;
}

function actionFor(copy: CopyFacts, fate: Fate, base: FlagText, flags: FlagText): CopyAction {
  const { observed, authority } = copy;
  if (observed.is === 'missing') return { do: 'stay' };
  if (observed.is === 'gone') {
    // A deletion that another account decided reaches this one all the same.
    const discarded = fate.is === 'deleted' && discardHow(copy) !== null;
    return authority === 'mergebox' && !discarded ? { do: 'putBack' } : { do: 'forget' };
  }
  const how = fate.is === 'deleted' ? discardHow(copy) : null;
  if (how !== null) return { do: 'discard', how };
  if (fate.is === 'restored' && copy.role === 'trash' && authority !== 'upstream') {
    return { do: 'restore', role: fate.role };
  }
  if (authority === 'upstream') return { do: 'stay' };
  const { add, remove } = owedChange({ base, flags, offered: copy.offered, refused: copy.refused });
  return add.length + remove.length === 0 ? { do: 'stay' } : { do: 'store', add, remove };
}

/** What a deletion elsewhere does to a copy; null: it stays. Trash and Junk are emptied only by their owner. */
export function discardHow(
  copy: Pick<CopyFacts, 'authority' | 'onDelete' | 'role'>,
): Exclude<DeletionPolicy, 'keep'> | null {
  if (copy.authority === 'upstream' || copy.onDelete === 'keep') return null;
  return copy.role === 'trash' || copy.role === 'junk' ? null : copy.onDelete;
}

/**
 * A client without MOVE copies, marks \Deleted and expunges. A mark that came from a copy that is gone was never meant
 * for those that stay, where the next EXPUNGE would destroy them.
 */
function withoutSpentMarks(flags: FlagText, copies: readonly CopyFacts[], seen: readonly CopyFlags[]): FlagText {
  const renewed = seen.some(({ base, observed }) => hasFlag(observed, '\\Deleted') && !hasFlag(base, '\\Deleted'));
  return copies.some(isSpentMark) && !renewed ? removeFlags(flags, ['\\Deleted']) : flags;
}

function isSpentMark({ observed, authority, base }: CopyFacts): boolean {
  if (observed.is !== 'gone' || authority === 'mergebox') return false;
  return hasFlag(base, '\\Deleted') && !hasFlag(observed.to?.flags ?? '', '\\Deleted');
}

function seenFlags({ base, observed, offered }: CopyFacts, entry: FlagText): FlagText {
  return observed.is === 'present' ? withUnholdable(observed.flags, entry, offered) : base;
}

/** What has to be sent to a copy's server for it to show `flags`. */
export function owedChange(copy: {
  readonly base: FlagText;
  readonly flags: FlagText;
  readonly offered: FlagText | null;
  readonly refused: FlagText;
}): { add: string[]; remove: string[] } {
  const { add, remove } = flagDelta(copy.base, copy.flags);
  const sendable = (flag: string): boolean =>
    !isAccountKeyword(flag) && canHold(copy.offered, flag) && !hasFlag(copy.refused, flag);
  return { add: add.filter(sendable), remove: remove.filter(sendable) };
}

/**
 * What counts as agreed on once `owedChange` is done: all of the flags, so that those the server cannot hold are never
 * read as cleared, but for those whose change it refused.
 */
export function agreedFlags(base: FlagText, flags: FlagText, refused: FlagText): FlagText {
  if (refused === '') return flags;
  const { add, remove } = flagDelta(base, flags);
  const isRefused = (flag: string): boolean => hasFlag(refused, flag);
  return addFlags(removeFlags(flags, add.filter(isRefused)), remove.filter(isRefused));
}

/** The same flags, however keywords are spelled: servers may keep the spelling they knew first. */
export function sameFlags(a: FlagText, b: FlagText): boolean {
  if (a === b) return true;
  const { add, remove } = flagDelta(a, b);
  return add.length + remove.length === 0;
}

/** What is known of one copy's flags: last agreed on with its server, and what the server shows now. */
export interface CopyFlags {
  readonly base: FlagText;
  readonly observed: FlagText;
}

/**
 * The flags of an entry after its copies were looked at. A flag that changed at a server since the base wins over an
 * entry that did not change it; where both sides changed a flag they agree, since a flag is set or not; where two
 * servers disagree, the set side wins. Applying it to its own result changes nothing.
 */
export function reconcileFlags(entry: FlagText, copies: readonly CopyFlags[]): FlagText {
  let added: string[] = [];
  let removed: string[] = [];
  for (const { base, observed } of copies) {
    if (base === observed) continue;
    const delta = flagDelta(base, observed);
    added = added.concat(delta.add);
    removed = removed.concat(delta.remove);
  }
  if (added.length === 0 && removed.length === 0) return entry;
  return addFlags(removeFlags(entry, removed), added);
}

/** The flags of a mail whose copies meet for the first time: what is set anywhere is set. */
export function joinFlags(texts: readonly FlagText[]): FlagText {
  return flagText(texts.flatMap((text) => flagList(text)));
}

/**
 * What a server shows, completed by the flags it cannot hold: those are never read as cleared. `offered` is its
 * PERMANENTFLAGS, null when it did not tell.
 */
export function withUnholdable(observed: FlagText, shown: FlagText, offered: FlagText | null): FlagText {
  const kept = flagList(shown).filter((flag) => !canHold(offered, flag));
  return kept.length === 0 ? observed : addFlags(observed, kept);
}

/** Whether a server with these PERMANENTFLAGS stores the flag (RFC 9051 §7.1: `\*` allows new keywords). */
export function canHold(offered: FlagText | null, flag: string): boolean {
  if (offered === null) return true;
  const list = flagList(offered).map((each) => each.toLowerCase());
  return list.includes(flag.toLowerCase()) || (!flag.startsWith('\\') && list.includes('\\*'));
}
