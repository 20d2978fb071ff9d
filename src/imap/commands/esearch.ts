import { isMergeboxError } from '../../util/errors.js';
import { MAX_OPTIONS } from '../../wire/limits.js';
import { expectMailboxFilter, type MailboxFilter } from '../../wire/mailbox-filter.js';
import { ParseError } from '../../wire/parse-error.js';
import type { CommandParser } from '../../wire/parser.js';
import { parseSearchProgram } from '../../wire/search.js';
import type { SearchArguments, SearchReturn } from '../../wire/search-key.js';
import { AUTHENTICATED, type Call, defineCommand } from '../command.js';
import { correlator, extendedItems } from '../esearch.js';
import { isMeant } from '../mailbox-filter.js';
import { ok, type Reply } from '../reply.js';
import { searchIn } from '../search-run.js';
import { Selected } from '../selected.js';
import type { Session } from '../session.js';
import { sortMailboxes } from './list.js';
import { checked, unavailableReply } from './search.js';

interface EsearchArguments extends SearchArguments {
  readonly returns: SearchReturn;
  /** Null for the selected mailbox. */
  readonly sources: readonly MailboxFilter[] | null;
}

/** RFC 7377 §2: one search over many mailboxes, answered mailbox by mailbox, in UIDs. */
export const esearchCommand = defineCommand({
  name: 'ESEARCH',
  states: AUTHENTICATED,
  parse(parser): EsearchArguments {
    parser.expectSp();
    const sources = parser.word('IN') ? expectSources(parser) : null;
    const args = parseSearchProgram(parser);
    return { ...args, sources, returns: args.returns ?? ALL };
  },
  run: (session, args, call) => checked(session, args, () => esearch(session, args, call)),
});

/** RFC 4731 §3.1: what RETURN () asks for. */
const ALL: SearchReturn = {
  min: false,
  max: false,
  all: true,
  count: false,
  save: false,
  partial: null,
  update: null,
};

/** `SP "(" source-mbox [SP "(" scope-options ")"] ")" SP`; no scope option is defined (RFC 7377 §2.2.1). */
function expectSources(parser: CommandParser): MailboxFilter[] {
  parser.expectSp();
  const sources: MailboxFilter[] = [];
  parser.expectList('the mailboxes', { min: 1, max: MAX_OPTIONS }, () => sources.push(expectMailboxFilter(parser)));
  parser.expectSp();
  return sources;
}

async function esearch(session: Session, args: EsearchArguments, call: Call): Promise<Reply> {
  const { sources, returns } = args;
  const ownOnly = sources === null || sources.every(({ type }) => type.startsWith('selected'));
  const needsOwn = sources === null || sources.some(({ type }) => type.startsWith('selected'));
  if (needsOwn && session.selectedOrNull === null) throw new ParseError('No mailbox is selected');
  // RFC 7377 §2.2: results are saved of the selected mailbox alone; updates are told of none.
  if (returns.save && !ownOnly) throw new ParseError('SAVE is for the selected mailbox');
  if (returns.update !== null) throw new ParseError('UPDATE is not for many mailboxes');
  let unavailable = 0;
  const own = session.selectedOrNull;
  if (needsOwn && own !== null) {
    const result = await searchIn(session, own, args);
    if (returns.save) own.saved = result.uids;
    write(session, args, own, result.uids, call);
    unavailable += result.unavailable;
  }
  const infos = sources === null || ownOnly ? [] : sortMailboxes(await session.user.list());
  for (const info of infos) {
    if (!info.selectable || info.nonexistent === true || !sources!.some((filter) => isMeant(filter, info))) continue;
    if (info.name === own?.mailbox.name && needsOwn) continue;
    unavailable += await searchOther(session, args, info.name, call);
  }
  return unavailable === 0 ? ok('ESEARCH completed') : unavailableReply(unavailable);
}

/** Searches a mailbox that is not selected; how many of its messages could not be looked into. */
async function searchOther(session: Session, args: EsearchArguments, name: string, call: Call): Promise<number> {
  let selected: Selected;
  try {
    selected = await Selected.create(await session.user.open(name), { readOnly: true, recent: false });
  } catch (error) {
    // It went between LIST and here.
    if (isMergeboxError(error, 'nonexistent')) return 0;
    throw error;
  }
  try {
    const { uids, unavailable } = await searchIn(session, selected, args);
    write(session, args, selected, uids, call);
    return unavailable;
  } finally {
    selected.close();
  }
}

/** Mailboxes without a match are left out (RFC 7377 §2.1). */
function write(
  session: Session,
  args: EsearchArguments,
  selected: Selected,
  uids: readonly number[],
  call: Call,
): void {
  if (uids.length === 0) return;
  const items = extendedItems(args, args.returns, selected, uids, uids);
  session.out.utf8(`* ESEARCH ${correlator(session, call.tag, selected)} UID${items}\r\n`);
}
