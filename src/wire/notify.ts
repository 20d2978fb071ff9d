import { expectFetchItems } from './fetch.js';
import type { FetchItem } from './fetch-item.js';
import { MAX_OPTIONS } from './limits.js';
import { expectMailboxFilter, type MailboxFilter } from './mailbox-filter.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** RFC 5465 §5, without AnnotationChange, which is of an extension that is not offered. */
export const NOTIFY_EVENTS = [
  'MessageNew',
  'MessageExpunge',
  'FlagChange',
  'MailboxName',
  'SubscriptionChange',
  'MailboxMetadataChange',
  'ServerMetadataChange',
] as const;
export type NotifyEvent = (typeof NOTIFY_EVENTS)[number];

const BY_LOWER = new Map<string, NotifyEvent>(NOTIFY_EVENTS.map((name) => [name.toLowerCase(), name]));
const MESSAGE_EVENTS: ReadonlySet<string> = new Set(['MessageNew', 'MessageExpunge', 'FlagChange']);

export interface NotifyGroup {
  readonly filter: MailboxFilter;
  /** Empty for NONE. */
  readonly events: ReadonlySet<NotifyEvent>;
  /** What is told of a new message in the selected mailbox; null for nothing. */
  readonly fetch: readonly FetchItem[] | null;
}

/** The arguments of NOTIFY. */
export interface NotifyArguments {
  /** Null for NOTIFY NONE. */
  readonly groups: readonly NotifyGroup[] | null;
  /** Whether STATUS of what is watched comes first. */
  readonly status: boolean;
  /** An event that is none of ours was asked for: that is NO, not BAD (§3.1). */
  readonly unknownEvent: boolean;
}

/** `SP ("NONE" / "SET" [SP "STATUS"] 1*(SP event-group))` (RFC 5465 §8). */
export function parseNotify(parser: CommandParser): NotifyArguments {
  parser.expectSp();
  if (parser.word('NONE')) return { groups: null, status: false, unknownEvent: false };
  if (!parser.word('SET')) throw new ParseError('Expected SET or NONE');
  parser.expectSp();
  const status = parser.word('STATUS');
  if (status) parser.expectSp();
  const reader = new GroupReader(parser);
  const groups: NotifyGroup[] = [];
  do {
    if (groups.length === MAX_OPTIONS) throw new ParseError(`More than ${MAX_OPTIONS} groups`);
    groups.push(reader.group());
  } while (parser.sp());
  // §6.1: one of the two, once.
  if (groups.filter(({ filter }) => filter.type.startsWith('selected')).length > 1) {
    throw new ParseError('SELECTED stands twice');
  }
  return { groups, status, unknownEvent: reader.unknownEvent };
}

class GroupReader {
  readonly #parser: CommandParser;
  unknownEvent = false;

  constructor(parser: CommandParser) {
    this.#parser = parser;
  }

  /** `event-group = "(" filter-mailboxes SP ("(" event *(SP event) ")" / "NONE") ")"`. */
  group(): NotifyGroup {
    const parser = this.#parser;
    parser.expectChar('(');
    const filter = expectMailboxFilter(parser);
    parser.expectSp();
    const events = new Set<NotifyEvent>();
    let fetch: FetchItem[] | null = null;
    if (!parser.word('NONE')) {
      parser.expectList('the events', { min: 1, max: MAX_OPTIONS }, () => {
        const event = BY_LOWER.get(parser.expectAtom('an event').toLowerCase());
        if (event === undefined) this.unknownEvent = true;
        else events.add(event);
        if (parser.peekText(' (')) {
          parser.expectSp();
          if (event !== 'MessageNew') throw new ParseError('Only MessageNew takes FETCH items');
          fetch = expectFetchItems(parser);
        }
      });
    }
    parser.expectChar(')');
    checkEvents(filter, events, fetch !== null);
    return { filter, events, fetch };
  }
}

/** §5, §6.1: which events go together, and with what. */
function checkEvents(filter: MailboxFilter, events: ReadonlySet<NotifyEvent>, fetches: boolean): void {
  const [arrivals, expunges] = [events.has('MessageNew'), events.has('MessageExpunge')];
  if (arrivals !== expunges) throw new ParseError('MessageNew and MessageExpunge go together');
  if (events.has('FlagChange') && !arrivals) throw new ParseError('FlagChange needs MessageNew and MessageExpunge');
  const selected = filter.type.startsWith('selected');
  if (selected && [...events].some((event) => !MESSAGE_EVENTS.has(event))) {
    throw new ParseError('Of the selected mailbox only messages are told of');
  }
  if (fetches && !selected) throw new ParseError('FETCH items are for the selected mailbox');
}
