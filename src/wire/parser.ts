import { ATOM, LIST, SET } from './chars.js';
import { Cursor, decodeUtf8 } from './cursor.js';
import { parseDate, parseDateTime } from './dates.js';
import { MAX_FLAG, MAX_FLAGS, MAX_LIST_PATTERN, MAX_LIST_WILDCARDS, MAX_MAILBOX_NAME, MAX_OPTIONS } from './limits.js';
import { decodeMutf7 } from './mutf7.js';
import { ParseError } from './parse-error.js';
import { SequenceSet } from './sequence-set.js';

/**
 * The arguments of one command, read from left to right with methods named after the grammar of RFC 9051 §9. What only
 * one command has (FETCH items, SEARCH keys, LIST options, …) is in files of its own, as functions on this class.
 */
export class CommandParser extends Cursor {
  /**
   * How mailbox names are read: false (IMAP4rev1) as modified UTF-7; true, after ENABLE UTF8=ACCEPT (RFC 6855 §3) or
   * IMAP4rev2 (RFC 9051 §5.1), as UTF-8 in which `&` stands for itself. Set it before parsing a name.
   */
  utf8 = false;

  /** A parser over text without literals; for tests and for arguments that come from elsewhere. */
  static of(text: string | Buffer): CommandParser {
    return new CommandParser([typeof text === 'string' ? Buffer.from(text) : text], []);
  }

  /**
   * `mailbox = "INBOX" / astring`, as UTF-8 text; any spelling of INBOX is `INBOX` (RFC 9051 §5.1). A name that is no
   * modified UTF-7 stands for itself, as does one in raw UTF-8. It may be empty.
   */
  expectMailbox(): string {
    return this.#mailboxName(this.expectAstring('a mailbox name'), MAX_MAILBOX_NAME);
  }

  /** `list-mailbox = 1*list-char / string`: a LIST pattern with `*` and `%`, decoded like a mailbox name. */
  expectListMailbox(): string {
    const word = this.run(LIST);
    const bytes = word === null ? this.expectString('a mailbox pattern') : Buffer.from(word, 'latin1');
    const pattern = this.#mailboxName(bytes, MAX_LIST_PATTERN);
    if ((pattern.match(/[*%]/g)?.length ?? 0) > MAX_LIST_WILDCARDS) throw new ParseError('Too many wildcards');
    return pattern;
  }

  #mailboxName(bytes: Buffer, max: number): string {
    // Modified UTF-7 is at most three times as long as UTF-8.
    if (bytes.length > 3 * max) throw new ParseError(`A mailbox name is longer than ${max} octets`);
    const raw = decodeUtf8(bytes, 'a mailbox name');
    const name = this.utf8 ? raw : (decodeMutf7(raw) ?? raw);
    if (Buffer.byteLength(name) > max) throw new ParseError(`A mailbox name is longer than ${max} octets`);
    // Nothing can display these, and a name is sent and logged on one line (RFC 5198 §2 forbids them).
    if (/[\0\r\n]/.test(name)) throw new ParseError('A mailbox name holds CR, LF or NUL');
    // RFC 6855 §3 forbids all of them; in modified UTF-7 upstream names may have some.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not get through
    if (this.utf8 && /[\x00-\x1f\x7f-\x9f\u2028\u2029]/.test(name))
      throw new ParseError('A mailbox name holds controls');
    return name.length === 5 && name.toUpperCase() === 'INBOX' ? 'INBOX' : name;
  }

  /** `sequence-set = (seq-number / seq-range) ["," sequence-set]`, or `$` (RFC 9051 §9 seq-last-command). */
  expectSequenceSet(): SequenceSet {
    const set = this.sequenceSet();
    if (set === null) throw new ParseError('Expected a sequence set');
    return set;
  }

  /** Null when the next octet starts no set; throws for a malformed one. */
  sequenceSet(): SequenceSet | null {
    const text = this.run(SET);
    if (text === null) return null;
    const set = SequenceSet.parse(text);
    if (set === null) throw new ParseError('Malformed or too long sequence set');
    return set;
  }

  /**
   * `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" / flag-keyword / flag-extension`, as spelled by
   * the client. \Recent is let through; the store drops it.
   */
  expectFlag(): string {
    const backslash = this.char('\\');
    const word = this.run(ATOM);
    if (word === null) throw new ParseError('Expected a flag');
    if (word.length > MAX_FLAG) throw new ParseError(`A flag is longer than ${MAX_FLAG} octets`);
    return backslash ? `\\${word}` : word;
  }

  /** `flag-list = "(" [flag *(SP flag)] ")"`. */
  expectFlagList(): string[] {
    const flags: string[] = [];
    this.expectList('the flags', { min: 0, max: MAX_FLAGS }, () => flags.push(this.expectFlag()));
    return flags;
  }

  /** `store-att-flags`' `(flag-list / (flag *(SP flag)))`: the parentheses may be missing. */
  expectFlags(): string[] {
    if (this.peekChar('(')) return this.expectFlagList();
    const flags = [this.expectFlag()];
    while (this.sp()) {
      if (flags.length === MAX_FLAGS) throw new ParseError(`More than ${MAX_FLAGS} flags`);
      flags.push(this.expectFlag());
    }
    return flags;
  }

  /** `date-time` (INTERNALDATE) in seconds since the Unix epoch. */
  expectDateTime(): number {
    const seconds = parseDateTime(this.quoted()?.toString('latin1') ?? '');
    if (seconds === null) throw new ParseError('Expected a date and time such as "17-Jul-1996 02:44:25 -0700"');
    return seconds;
  }

  /** `date = date-text / DQUOTE date-text DQUOTE`: midnight UTC in seconds since the Unix epoch. */
  expectDate(): number {
    const seconds = parseDate(this.quoted()?.toString('latin1') ?? this.atom() ?? '');
    if (seconds === null) throw new ParseError('Expected a date such as 17-Jul-1996');
    return seconds;
  }

  /** `mod-sequence-value / mod-sequence-valzer` (RFC 7162 §7), capped as `expectNumber64`. */
  expectModSeq(): number {
    return this.expectNumber64('a mod-sequence');
  }

  /** `initial-resp = (base64 / "=")` (RFC 4959 §3); `=` is the empty response. */
  expectBase64(): Buffer {
    const text = this.atom();
    const bytes = text === null ? null : decodeBase64(text);
    if (bytes === null) throw new ParseError('Expected base64');
    return bytes;
  }

  /** `"(" word *(SP word) ")"`, in upper case: the shape of most option lists. */
  expectWords(what: string, { min = 1 }: { min?: number } = {}): string[] {
    const words: string[] = [];
    this.expectList(what, { min, max: MAX_OPTIONS }, () => words.push(this.expectAtom(what).toUpperCase()));
    return words;
  }
}

/** Octets of canonical base64 (RFC 4648 §4), of `=` (none), or null. Takes an AUTHENTICATE continuation line too. */
export function decodeBase64(text: string | Buffer): Buffer | null {
  const encoded = typeof text === 'string' ? text : text.toString('latin1');
  if (encoded === '=' || encoded === '') return Buffer.alloc(0);
  if (encoded.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) return null;
  return Buffer.from(encoded, 'base64');
}
