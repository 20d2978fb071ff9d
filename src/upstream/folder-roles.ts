import type { ListResponse } from 'imapflow';
import type { AccountConfig } from '../config/config.js';
import type { Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import { decodeMutf7 } from '../wire/mutf7.js';
import { MAX_FOLDERS } from './limits.js';
import type { UpstreamFolder } from './port.js';

type Overrides = AccountConfig['folders'];
type Listed = Pick<
  ListResponse,
  'pathAsListed' | 'delimiter' | 'flags' | 'specialUse' | 'specialUseSource' | 'subscribed'
>;

const ROLE_BY_USE: Readonly<Record<string, Role>> = {
  '\\drafts': 'drafts',
  '\\sent': 'sent',
  '\\archive': 'archive',
  '\\junk': 'junk',
  '\\trash': 'trash',
};

/** RFC 6154: views of mail that lies elsewhere. */
const VIRTUAL = ['\\all', '\\flagged', '\\important'];

interface Candidate {
  readonly listed: Listed;
  readonly path: string;
  readonly delimiter: string | null;
  readonly selectable: boolean;
  readonly attributes: ReadonlySet<string>;
}

/**
 * The account's folders with their roles: what the configuration says, then SPECIAL-USE, then the names that imapflow
 * knows in some sixty languages, but those only at the top or right below `prefix` or INBOX: `Projects/Archive` is no
 * Archive.
 */
export function foldersWithRoles(list: readonly Listed[], overrides: Overrides, prefix: string): UpstreamFolder[] {
  const candidates = distinct(list.map(candidate));
  const roles = new Map<Candidate, Role>();
  const taken = new Set<Role>();
  const assign = (found: Candidate | undefined, role: Role): void => {
    if (found === undefined || taken.has(role) || roles.has(found) || !found.selectable) return;
    roles.set(found, role);
    taken.add(role);
  };
  assign(
    candidates.find(({ path }) => path === 'INBOX'),
    'inbox',
  );
  for (const [role, path] of Object.entries(overrides) as [Role, string | undefined][]) {
    if (path === undefined) continue;
    const named = candidates.find((each) => each.path === path);
    assign(named ?? candidates.find((each) => each.path === prefix + path), role);
  }
  for (const found of candidates) {
    const role = ROLE_BY_USE[found.listed.specialUse?.toLowerCase() ?? ''];
    if (role !== undefined && (found.listed.specialUseSource !== 'name' || isTop(found, prefix))) assign(found, role);
  }
  return candidates.map((found) => folder(found, roles.get(found) ?? null));
}

function candidate(listed: Listed): Candidate {
  const decoded = decodeMutf7(listed.pathAsListed);
  const path = decoded ?? listed.pathAsListed;
  const attributes = new Set(Array.from(listed.flags, (flag) => flag.toLowerCase()));
  const missing = attributes.has('\\noselect') || attributes.has('\\nonexistent');
  return {
    listed,
    // INBOX in any case is the one INBOX (RFC 9051 §5.1).
    path: path.toUpperCase() === 'INBOX' ? 'INBOX' : path,
    delimiter: listed.delimiter || null,
    // A name that is not modified UTF-7 could not be sent back as it came.
    selectable: decoded !== null && decoded !== '' && !/\p{Cc}/u.test(decoded) && !missing,
    attributes,
  };
}

/** A server may list a name twice, and INBOX in two spellings; the first counts. Throws `protocol` for a list without end. */
function distinct(candidates: readonly Candidate[]): Candidate[] {
  const byPath = new Map<string, Candidate>();
  for (const each of candidates) if (!byPath.has(each.path)) byPath.set(each.path, each);
  if (byPath.size > MAX_FOLDERS) {
    throw new MergeboxError(
      'protocol',
      `list folders: the server has ${byPath.size}, at most ${MAX_FOLDERS} are shown`,
    );
  }
  return [...byPath.values()];
}

function isTop({ path, delimiter }: Candidate, prefix: string): boolean {
  if (delimiter === null) return true;
  const inbox = `INBOX${delimiter}`;
  const below = prefix !== '' && path.startsWith(prefix) ? prefix : path.toUpperCase().startsWith(inbox) ? inbox : '';
  return !path.slice(below.length).includes(delimiter);
}

function folder({ listed, path, delimiter, selectable, attributes }: Candidate, role: Role | null): UpstreamFolder {
  const virtual = role === null && VIRTUAL.some((use) => attributes.has(use));
  return { path, delimiter, role, virtual, selectable, subscribed: Boolean(listed.subscribed) };
}
