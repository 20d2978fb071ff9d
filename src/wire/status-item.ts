import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/**
 * `status-att` of RFC 9051 §9, with RECENT (RFC 3501), HIGHESTMODSEQ (RFC 7162), APPENDLIMIT (RFC 7889), MAILBOXID
 * (RFC 8474) and DELETED-STORAGE (RFC 9208). The session refuses those it does not offer.
 */
export const STATUS_ITEMS = [
  'MESSAGES',
  'UIDNEXT',
  'UIDVALIDITY',
  'UNSEEN',
  'RECENT',
  'DELETED',
  'SIZE',
  'HIGHESTMODSEQ',
  'APPENDLIMIT',
  'MAILBOXID',
  'DELETED-STORAGE',
] as const;
export type StatusItem = (typeof STATUS_ITEMS)[number];

const KNOWN: ReadonlySet<string> = new Set(STATUS_ITEMS);

/** The arguments of STATUS. */
export interface StatusArguments {
  readonly mailbox: string;
  readonly items: readonly StatusItem[];
}

/** `SP mailbox SP "(" status-att *(SP status-att) ")"`. */
export function parseStatus(parser: CommandParser): StatusArguments {
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  parser.expectSp();
  const items = expectStatusItems(parser);
  parser.expectEnd();
  return { mailbox, items };
}

/** `"(" status-att *(SP status-att) ")"`, without repetitions; also for LIST-STATUS (RFC 5819). */
export function expectStatusItems(parser: CommandParser): StatusItem[] {
  const words = [...new Set(parser.expectWords('the STATUS items'))];
  if (!words.every((word) => KNOWN.has(word))) throw new ParseError('Unknown STATUS item');
  return words as StatusItem[];
}
