import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import type { SequenceSet } from './sequence-set.js';

/** The arguments of STORE and UID STORE. */
export interface StoreArguments {
  readonly set: SequenceSet;
  readonly mode: 'add' | 'remove' | 'replace';
  /** `.SILENT`: no FETCH responses for our own change. */
  readonly silent: boolean;
  /** As spelled by the client; may hold \Recent, which cannot be stored. */
  readonly flags: readonly string[];
  /** RFC 7162 §3.1.3; 0 makes every message fail. */
  readonly unchangedSince: number | null;
}

/** `SP sequence-set [SP "(" "UNCHANGEDSINCE" SP mod-sequence-valzer ")"] SP store-att-flags` (RFC 9051 §6.4.6). */
export function parseStore(parser: CommandParser): StoreArguments {
  parser.expectSp();
  const set = parser.expectSequenceSet();
  parser.expectSp();
  const unchangedSince = parser.peekChar('(') ? expectStoreModifiers(parser) : null;
  const mode = parser.char('+') ? 'add' : parser.char('-') ? 'remove' : 'replace';
  const silent = parser.word('FLAGS.SILENT');
  if (!silent && !parser.word('FLAGS')) throw new ParseError('Expected FLAGS, +FLAGS or -FLAGS');
  parser.expectSp();
  const flags = parser.expectFlags();
  parser.expectEnd();
  return { set, mode, silent, flags, unchangedSince };
}

function expectStoreModifiers(parser: CommandParser): number {
  let unchangedSince = 0;
  parser.expectList('the STORE modifiers', { min: 1, max: 1 }, () => {
    if (!parser.word('UNCHANGEDSINCE')) throw new ParseError('Unknown STORE modifier');
    parser.expectSp();
    unchangedSince = parser.expectModSeq();
  });
  parser.expectSp();
  return unchangedSince;
}
