import { ROLE_ATTRIBUTES } from '../../mail/ids.js';
import { isMergeboxError } from '../../util/errors.js';
import { formatFlagList, formatMailbox } from '../../wire/format.js';
import { type ListArguments, parseList } from '../../wire/list.js';
import type { MailboxInfo } from '../backend.js';
import { AUTHENTICATED, defineCommand } from '../command.js';
import { ListPattern } from '../list-pattern.js';
import { ok } from '../reply.js';
import type { Session } from '../session.js';
import { writeStatus } from '../status-response.js';

/** LIST (RFC 9051 §6.3.9), with LIST-EXTENDED (RFC 5258), SPECIAL-USE (RFC 6154) LIST-STATUS (RFC 5819) and LIST-MYRIGHTS (RFC 8440). */
export const listCommand = defineCommand({
  name: 'LIST',
  states: AUTHENTICATED,
  parse: parseList,
  async run(session, args) {
    if (!args.extended && args.patterns[0] === '') {
      // RFC 9051 §6.3.9: asks for the hierarchy separator and the root of the reference.
      session.out.text('* LIST (\\Noselect) "/" ""\r\n');
      return ok('LIST completed');
    }
    await list(session, args);
    return ok('LIST completed');
  },
});

/** Names that are looked at before others may run. */
const SLICE = 50;

async function list(session: Session, args: ListArguments): Promise<void> {
  const infos = sortMailboxes(await session.user.list());
  const patterns = args.patterns.map((pattern) => new ListPattern(args.reference + pattern));
  const parents = parentNames(infos.filter((info) => info.nonexistent !== true).map(({ name }) => name));
  const matches = (name: string): boolean => patterns.some((pattern) => pattern.matches(name));
  const below = args.select.recursiveMatch ? parentNames(hiddenMatches(infos, args, matches)) : new Set<string>();
  session.out.startSlice();
  for (const [index, info] of infos.entries()) {
    // A pattern takes some microseconds a name.
    if (index % SLICE === SLICE - 1) await session.out.breathe();
    if (!matches(info.name)) continue;
    const chosen = isChosen(info, args);
    if (!chosen && !below.has(info.name)) continue;
    const attributes = formatFlagList(listAttributes(info, parents.has(info.name), args));
    const childInfo = below.has(info.name) ? ` ("CHILDINFO" (${childCriteria(args)}))` : '';
    session.out.utf8(`* LIST ${attributes} "/" ${formatMailbox(info.name, session)}${childInfo}\r\n`);
    if (args.returns.myRights && chosen && info.selectable) await writeMyRights(session, info.name);
    if (args.returns.status !== null && chosen && info.selectable) await listStatus(session, info.name, args);
  }
}

/** What the selection options choose; without any, all that exists. */
function isChosen(info: MailboxInfo, { select }: ListArguments): boolean {
  if (info.nonexistent === true && !select.subscribed) return false;
  if (select.subscribed && !info.subscribed) return false;
  return !select.specialUse || specialUse(info) !== undefined;
}

/** RFC 5258 §3.5: chosen mailboxes that the patterns leave out; their parents tell of them. */
function hiddenMatches(
  infos: readonly MailboxInfo[],
  args: ListArguments,
  matches: (name: string) => boolean,
): string[] {
  return infos.filter((info) => isChosen(info, args) && !matches(info.name)).map(({ name }) => name);
}

function childCriteria({ select }: ListArguments): string {
  const criteria = [...(select.subscribed ? ['"SUBSCRIBED"'] : []), ...(select.specialUse ? ['"SPECIAL-USE"'] : [])];
  return criteria.join(' ');
}

function specialUse(info: MailboxInfo): string | undefined {
  return info.role === null ? undefined : ROLE_ATTRIBUTES[info.role];
}

function listAttributes(info: MailboxInfo, hasChildren: boolean, args: ListArguments): string[] {
  const attributes: string[] = [];
  if (info.nonexistent === true) attributes.push('\\NonExistent');
  else if (!info.selectable) attributes.push('\\Noselect');
  attributes.push(hasChildren ? '\\HasChildren' : '\\HasNoChildren');
  const use = specialUse(info);
  if (use !== undefined) attributes.push(use);
  if (info.subscribed && (args.select.subscribed || args.returns.subscribed)) attributes.push('\\Subscribed');
  return attributes;
}

async function listStatus(session: Session, name: string, args: ListArguments): Promise<void> {
  try {
    await writeStatus(session, name, args.returns.status!);
  } catch (error) {
    // RFC 5819 §2: a mailbox whose STATUS fails is listed without it.
    if (!isMergeboxError(error)) throw error;
  }
}

/** RFC 8440 §3: behind the LIST response; left out when the mailbox is gone by now. */
async function writeMyRights(session: Session, name: string): Promise<void> {
  try {
    const rights = await session.user.rights(name);
    session.out.utf8(`* MYRIGHTS ${formatMailbox(name, session)} ${rights}\r\n`);
  } catch (error) {
    if (!isMergeboxError(error)) throw error;
  }
}

/** INBOX first, then by name; so parents come before what is below them. */
export function sortMailboxes(infos: readonly MailboxInfo[]): MailboxInfo[] {
  const key = ({ name }: MailboxInfo): string => (name === 'INBOX' ? '' : name);
  return [...infos].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

/** Every name that has one of `names` below it, at any depth. */
export function parentNames(names: readonly string[]): Set<string> {
  const parents = new Set<string>();
  for (const name of names) {
    for (let at = name.lastIndexOf('/'); at > 0; at = name.lastIndexOf('/', at - 1)) {
      const parent = name.slice(0, at);
      if (parents.has(parent)) break;
      parents.add(parent);
    }
  }
  return parents;
}
