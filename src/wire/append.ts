import { MAX_APPEND_MESSAGES, MAX_CATENATE_PARTS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** The arguments of APPEND, with several messages in MULTIAPPEND (RFC 3502). */
export interface AppendArguments {
  readonly mailbox: string;
  readonly messages: readonly AppendedMessage[];
}

/** Octets sent, or the URL of some that the server has. */
export type CatenatePart = { readonly text: Buffer } | { readonly url: string };

export interface AppendedMessage {
  readonly flags: readonly string[];
  /** Seconds since the Unix epoch. */
  readonly internalDate: number | null;
  /** Empty with `parts`. */
  readonly bytes: Buffer;
  /** What the message is put together from (RFC 4469); null when it was sent whole. */
  readonly parts: readonly CatenatePart[] | null;
  /** Sent as literal8, so that NUL is legal in it (RFC 3516 §4.4). */
  readonly binary: boolean;
  /** Sent as `UTF8 (~{n})`: its header holds UTF-8 (RFC 6855 §4). */
  readonly utf8: boolean;
}

/** `SP mailbox 1*append-message`, `append-message = [SP flag-list] [SP date-time] SP append-data` (RFC 4466 §2.5). */
export function parseAppend(parser: CommandParser): AppendArguments {
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  const messages: AppendedMessage[] = [];
  do {
    if (messages.length === MAX_APPEND_MESSAGES) throw new ParseError(`More than ${MAX_APPEND_MESSAGES} messages`);
    parser.expectSp();
    messages.push(expectMessage(parser));
  } while (!parser.atEnd());
  return { mailbox, messages };
}

/** The arguments of REPLACE and UID REPLACE (RFC 8508 §5). */
export interface ReplaceArguments {
  readonly number: number;
  readonly mailbox: string;
  readonly message: AppendedMessage;
}

/** `SP nz-number SP mailbox append-message`. */
export function parseReplace(parser: CommandParser): ReplaceArguments {
  parser.expectSp();
  const number = parser.expectNzNumber('a message');
  parser.expectSp();
  const mailbox = parser.expectMailbox();
  parser.expectSp();
  return { number, mailbox, message: expectMessage(parser) };
}

function expectMessage(parser: CommandParser): AppendedMessage {
  let flags: string[] = [];
  if (parser.peekChar('(')) {
    flags = parser.expectFlagList();
    parser.expectSp();
  }
  let internalDate: number | null = null;
  if (parser.peekChar('"')) {
    internalDate = parser.expectDateTime();
    parser.expectSp();
  }
  if (parser.word('CATENATE')) {
    parser.expectSp();
    return { flags, internalDate, bytes: NOTHING, parts: expectParts(parser), binary: false, utf8: false };
  }
  const utf8 = parser.word('UTF8');
  if (utf8) {
    parser.expectSp();
    parser.expectChar('(');
  }
  const { bytes, binary } = parser.expectLiteral('the message');
  if (utf8) {
    if (!binary) throw new ParseError('UTF8 needs a literal8');
    parser.expectChar(')');
  }
  return { flags, internalDate, bytes, parts: null, binary, utf8 };
}

const NOTHING = Buffer.alloc(0);

/** `"(" cat-part *(SP cat-part) ")"`, `cat-part = "TEXT" SP literal / "URL" SP astring` (RFC 4469 §5). */
function expectParts(parser: CommandParser): CatenatePart[] {
  const parts: CatenatePart[] = [];
  parser.expectList('the parts', { min: 1, max: MAX_CATENATE_PARTS }, () => {
    if (parser.word('TEXT')) {
      parser.expectSp();
      parts.push({ text: parser.expectLiteral('a part').bytes });
    } else if (parser.word('URL')) {
      parser.expectSp();
      parts.push({ url: parser.expectAstringText('a URL') });
    } else throw new ParseError('Expected TEXT or URL');
  });
  return parts;
}
