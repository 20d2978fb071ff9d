import { MAX_LIST_PATTERNS, MAX_OPTIONS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';
import { expectStatusItems, type StatusItem } from './status-item.js';

/** The arguments of LIST (RFC 9051 §6.3.9, RFC 5258). */
export interface ListArguments {
  readonly reference: string;
  readonly patterns: readonly string[];
  readonly select: ListSelection;
  readonly returns: ListReturn;
  /** Whether anything of RFC 5258 was used; `LIST "" ""` then is no question for the delimiter (RFC 9051 §6.3.9). */
  readonly extended: boolean;
}

export interface ListSelection {
  readonly subscribed: boolean;
  readonly remote: boolean;
  /** Only together with another one that is not REMOTE. */
  readonly recursiveMatch: boolean;
  /** RFC 6154 §2. */
  readonly specialUse: boolean;
}

export interface ListReturn {
  readonly subscribed: boolean;
  readonly children: boolean;
  readonly specialUse: boolean;
  /** RFC 8440. */
  readonly myRights: boolean;
  /** RFC 5819; null when not asked for. */
  readonly status: readonly StatusItem[] | null;
}

/** `SP [list-select-opts SP] mailbox SP mbox-or-pat [SP list-return-opts]`. */
export function parseList(parser: CommandParser): ListArguments {
  parser.expectSp();
  const hasSelection = parser.peekChar('(');
  const select = hasSelection ? expectSelection(parser) : NO_SELECTION;
  if (hasSelection) parser.expectSp();
  const reference = parser.expectMailbox();
  parser.expectSp();
  const hasPatterns = parser.peekChar('(');
  const patterns = hasPatterns ? expectPatterns(parser) : [parser.expectListMailbox()];
  const hasReturn = parser.sp();
  const returns = hasReturn ? expectReturn(parser) : NO_RETURN;
  parser.expectEnd();
  return { reference, patterns, select, returns, extended: hasSelection || hasPatterns || hasReturn };
}

/** The arguments of LSUB (RFC 3501 §6.3.9): `SP mailbox SP list-mailbox`. */
export function parseLsub(parser: CommandParser): { reference: string; pattern: string } {
  parser.expectSp();
  const reference = parser.expectMailbox();
  parser.expectSp();
  const pattern = parser.expectListMailbox();
  parser.expectEnd();
  return { reference, pattern };
}

const NO_SELECTION: ListSelection = { subscribed: false, remote: false, recursiveMatch: false, specialUse: false };
const NO_RETURN: ListReturn = {
  subscribed: false,
  children: false,
  specialUse: false,
  myRights: false,
  status: null,
};

/** `list-select-opts = "(" [*(list-select-opt SP) …] ")"`. */
function expectSelection(parser: CommandParser): ListSelection {
  const words = new Set(parser.expectWords('the LIST selection options', { min: 0 }));
  const select: ListSelection = {
    subscribed: words.delete('SUBSCRIBED'),
    remote: words.delete('REMOTE'),
    recursiveMatch: words.delete('RECURSIVEMATCH'),
    specialUse: words.delete('SPECIAL-USE'),
  };
  if (words.size > 0) throw new ParseError('Unknown LIST selection option');
  // RFC 5258 §3.1: RECURSIVEMATCH alone or only with REMOTE is an error.
  if (select.recursiveMatch && !select.subscribed && !select.specialUse) {
    throw new ParseError('RECURSIVEMATCH needs SUBSCRIBED or SPECIAL-USE');
  }
  return select;
}

/** `patterns = "(" list-mailbox *(SP list-mailbox) ")"`. */
function expectPatterns(parser: CommandParser): string[] {
  const patterns: string[] = [];
  parser.expectList('the LIST patterns', { min: 1, max: MAX_LIST_PATTERNS }, () => {
    patterns.push(parser.expectListMailbox());
  });
  return patterns;
}

/** `list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"`. */
function expectReturn(parser: CommandParser): ListReturn {
  if (!parser.word('RETURN')) throw new ParseError('Expected RETURN');
  parser.expectSp();
  const words = new Set<string>();
  let status: readonly StatusItem[] | null = null;
  parser.expectList('the LIST return options', { min: 0, max: MAX_OPTIONS }, () => {
    const word = parser.expectAtom('a LIST return option').toUpperCase();
    if (word === 'STATUS') {
      parser.expectSp();
      status = expectStatusItems(parser);
    } else {
      words.add(word);
    }
  });
  const returns = {
    subscribed: words.delete('SUBSCRIBED'),
    children: words.delete('CHILDREN'),
    specialUse: words.delete('SPECIAL-USE'),
    myRights: words.delete('MYRIGHTS'),
    status,
  };
  if (words.size > 0) throw new ParseError('Unknown LIST return option');
  return returns;
}
