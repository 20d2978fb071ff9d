import { addFlags, type FlagText, flagDelta, flagList, flagText, removeFlags } from './flags.js';

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
