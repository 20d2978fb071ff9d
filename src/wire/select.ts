import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import type { SequenceSet } from './sequence-set.js';

/** The arguments of SELECT and EXAMINE. */
export interface SelectArguments {
  readonly mailbox: string;
  readonly condstore: boolean;
  readonly qresync: QresyncArguments | null;
}

/** What the client knew of the mailbox when it last saw it (RFC 7162 §3.2.5). */
export interface QresyncArguments {
  readonly uidValidity: number;
  readonly modSeq: number;
  /** UIDs it still has; null for all. */
  readonly knownUids: SequenceSet | null;
  /** Sequence numbers and the UIDs they had, for a server that forgot what was expunged (§3.2.5.2). */
  readonly match: { readonly sequence: SequenceSet; readonly uids: SequenceSet } | null;
}

/** `SP mailbox [SP "(" select-param *(SP select-param) ")"]` (RFC 4466 §2.1). */
export function parseSelect(parser: CommandParser): SelectArguments {
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  let condstore = false;
  let qresync: QresyncArguments | null = null;
  if (parser.sp()) {
    parser.expectList('the SELECT parameters', { min: 1, max: 2 }, () => {
      if (parser.word('CONDSTORE')) {
        condstore = true;
      } else if (parser.word('QRESYNC') && qresync === null) {
        parser.expectSp();
        qresync = expectQresync(parser);
      } else {
        throw new ParseError('Unknown or repeated SELECT parameter');
      }
    });
  }
  parser.expectEnd();
  return { mailbox, condstore, qresync };
}

/**
 * `"(" uidvalidity SP mod-sequence-value [SP known-uids] [SP "(" known-sequence-set SP known-uid-set ")"] ")"`;
 * no set may hold `*` (RFC 7162 §7).
 */
function expectQresync(parser: CommandParser): QresyncArguments {
  parser.expectChar('(');
  const uidValidity = parser.expectNzNumber('UIDVALIDITY');
  parser.expectSp();
  const modSeq = parser.expectModSeq();
  let knownUids: SequenceSet | null = null;
  let match: QresyncArguments['match'] = null;
  while (parser.sp()) {
    if (match === null && parser.char('(')) {
      const sequence = expectKnownSet(parser);
      parser.expectSp();
      match = { sequence, uids: expectKnownSet(parser) };
      // RFC 7162 §3.2.5.2: both name as many messages.
      if (size(match.sequence) !== size(match.uids)) throw new ParseError('The match data differ in length');
      parser.expectChar(')');
    } else if (match === null && knownUids === null) {
      knownUids = expectKnownSet(parser);
    } else {
      throw new ParseError('Unexpected QRESYNC argument');
    }
  }
  parser.expectChar(')');
  return { uidValidity, modSeq, knownUids, match };
}

function expectKnownSet(parser: CommandParser): SequenceSet {
  const set = parser.expectSequenceSet();
  if (set.saved || set.usesStar) throw new ParseError('A known set may not hold * or $');
  return set;
}

function size(set: SequenceSet): number {
  return set.numberRanges(0, 0xffff_ffff).reduce((sum, [first, last]) => sum + last - first + 1, 0);
}
