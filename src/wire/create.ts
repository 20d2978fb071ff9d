import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** The arguments of CREATE. */
export interface CreateArguments {
  readonly mailbox: string;
  /** SPECIAL-USE attributes as spelled by the client, such as `\Sent` (RFC 6154 §3). */
  readonly specialUse: readonly string[];
}

/** `SP mailbox [SP "(" "USE" SP "(" [use-attr *(SP use-attr)] ")" ")"]`. */
export function parseCreate(parser: CommandParser): CreateArguments {
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  let specialUse: readonly string[] = [];
  if (parser.sp()) {
    parser.expectList('the CREATE parameters', { min: 1, max: 1 }, () => {
      if (!parser.word('USE')) throw new ParseError('Unknown CREATE parameter');
      parser.expectSp();
      specialUse = parser.expectFlagList();
    });
  }
  parser.expectEnd();
  return { mailbox, specialUse };
}
