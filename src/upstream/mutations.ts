import type { MailboxObject } from 'imapflow';
import { flagList } from '../mail/flags.js';
import { ROLE_ATTRIBUTES, type Role } from '../mail/ids.js';
import { MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { ATOM, isAll } from '../wire/chars.js';
import { formatDateTime } from '../wire/dates.js';
import { parseRanges, spreadRanges } from '../wire/response-set.js';
import { SetBuilder } from '../wire/set-builder.js';
import { refusal } from './errors.js';
import { MAX_SET_TEXT } from './limits.js';
import { type Argument, atom, type MutateClient, mailboxArgument } from './mutate-client.js';
import type { ParsedResponse } from './mutate-errors.js';
import { responseCode } from './mutate-errors.js';
import type { Authorisation, CopyUids, FlagChange, FolderRef, UpstreamAppend } from './port.js';

/** The mutations of the port on one client. All look first that the folder is the one that was meant. */

const DELETED = '\\Deleted';

/** Selects the folder and verifies that its UIDs are the ones that the caller knows; throws `uidvalidity`. */
export async function selectExactly(client: MutateClient, ref: FolderRef): Promise<MailboxObject> {
  const mailbox = await client.select(ref.path);
  if (mailbox.uidValidity !== BigInt(ref.uidValidity)) {
    throw new MergeboxError(
      'uidvalidity',
      `select ${ref.path}: UIDVALIDITY is ${mailbox.uidValidity}, not ${ref.uidValidity} any more`,
    );
  }
  return mailbox;
}

/** UID STORE of what the folder can hold (PERMANENTFLAGS); the rest is the caller's to keep. */
export async function storeFlags(
  client: MutateClient,
  ref: FolderRef,
  uids: readonly number[],
  change: FlagChange,
  authorised: Authorisation | undefined,
): Promise<void> {
  if (change.add.some((flag) => flag.toLowerCase() === '\\deleted') && authorised === undefined) {
    throw new MergeboxError('noperm', `store flags in ${ref.path}: \\Deleted needs an authorisation`);
  }
  const mailbox = await selectExactly(client, ref);
  await store(client, ref.path, uids, '+', permitted(mailbox, change.add));
  await store(client, ref.path, uids, '-', change.remove);
}

/** RFC 9051 §7.1 PERMANENTFLAGS: `\*` lets new keywords be made; nothing told permits everything. */
function permitted(mailbox: MailboxObject, flags: readonly string[]): string[] {
  const known = mailbox.permanentFlags;
  if (known === undefined) return [...flags];
  const lower = new Set(Array.from(known, (flag) => flag.toLowerCase()));
  return flags.filter((flag) => lower.has(flag.toLowerCase()) || (lower.has('\\*') && !flag.startsWith('\\')));
}

async function store(
  client: MutateClient,
  path: string,
  uids: readonly number[],
  sign: '+' | '-',
  flags: readonly string[],
): Promise<void> {
  if (flags.length === 0) return;
  for (const set of uidSets(uids)) {
    const list = flagArguments(flags);
    await client.exec(`store flags in ${path}`, 'UID STORE', [sequence(set), atom(`${sign}FLAGS.SILENT`), list]);
  }
}

/** UID COPY. */
export async function copyMessages(
  client: MutateClient,
  ref: FolderRef,
  uids: readonly number[],
  target: string,
): Promise<CopyUids | null> {
  await selectExactly(client, ref);
  const copied = new CopiedUids(uids);
  for (const set of uidSets(uids)) {
    const doing = `copy from ${ref.path} to ${target}`;
    copied.take(await client.exec(doing, 'UID COPY', [sequence(set), mailboxArgument(target)]));
  }
  return copied.result();
}

/**
 * UID MOVE (RFC 6851), else UID COPY and then, when the server has said OK to that, the removal of exactly these UIDs.
 * A crash between the two leaves a message in both folders, never in none.
 */
export async function moveMessages(
  client: MutateClient,
  ref: FolderRef,
  uids: readonly number[],
  target: string,
  authorised: Authorisation,
): Promise<CopyUids | null> {
  await selectExactly(client, ref);
  const doing = `move from ${ref.path} to ${target}`;
  const copied = new CopiedUids(uids);
  if (!client.has('MOVE')) {
    for (const set of uidSets(uids)) {
      copied.take(await client.exec(doing, 'UID COPY', [sequence(set), mailboxArgument(target)]));
    }
    faultPoint('transfer.copied');
    await expungeMessages(client, ref, uids, authorised);
    return copied.result();
  }
  const untagged = {
    // RFC 6851 §4.3: COPYUID comes in an untagged OK, before the EXPUNGEs.
    OK: async (response: ParsedResponse): Promise<void> => copied.take(responseCode(response)),
  };
  for (const set of uidSets(uids)) {
    copied.take(await client.exec(doing, 'UID MOVE', [sequence(set), mailboxArgument(target)], { untagged }));
  }
  return copied.result();
}

/**
 * Removes exactly these UIDs. `authorised` is proof that somebody may; nothing here looks into it.
 *
 * Without UIDPLUS the only command is EXPUNGE, which removes all that carries \Deleted. So the others' \Deleted is
 * taken away, it is verified that nothing but our UIDs carries it, EXPUNGE is sent, and the others are marked again;
 * `setAside` writes down before that they are to be, for a crash in between.
 * The other order of danger, leaving ours marked until nobody else's are, would let any client's EXPUNGE decide when
 * ours go and would never end beside a client that marks and does not expunge. What remains is another client that
 * marks messages between our check and our EXPUNGE: those go a moment before their owner's own EXPUNGE.
 */
export async function expungeMessages(
  client: MutateClient,
  ref: FolderRef,
  uids: readonly number[],
  authorised: Authorisation,
): Promise<void> {
  if (uids.length === 0) return;
  await selectExactly(client, ref);
  await store(client, ref.path, uids, '+', [DELETED]);
  faultPoint('expunge.marked');
  if (client.has('UIDPLUS')) {
    for (const set of uidSets(uids)) await client.exec(`expunge in ${ref.path}`, 'UID EXPUNGE', [sequence(set)]);
    return;
  }
  await expungeWithoutUidplus(client, ref, uids, authorised);
}

async function expungeWithoutUidplus(
  client: MutateClient,
  ref: FolderRef,
  uids: readonly number[],
  authorised: Authorisation,
): Promise<void> {
  const { path } = ref;
  const ours = new Set(uids);
  const others = (await deletedUids(client, path)).filter((uid) => !ours.has(uid));
  if (others.length > 0) await authorised.setAside?.(ref, others);
  await store(client, path, others, '-', [DELETED]);
  faultPoint('expunge.unmarked');
  try {
    // Only now is it certain, and only for this moment.
    const marked = await deletedUids(client, path);
    const strangers = marked.filter((uid) => !ours.has(uid));
    if (strangers.length > 0) {
      throw refusal(`expunge in ${path}`, {
        status: 'NO',
        code: 'INUSE',
        text: `${strangers.length} other messages are marked \\Deleted and would go as well`,
      });
    }
    if (marked.length > 0) await client.exec(`expunge in ${path}`, 'EXPUNGE', []);
    faultPoint('expunge.removed');
  } finally {
    if (!client.closed) await store(client, path, others, '+', [DELETED]);
  }
}

async function deletedUids(client: MutateClient, path: string): Promise<number[]> {
  const found: number[] = [];
  const untagged = {
    SEARCH: async (response: ParsedResponse): Promise<void> => {
      for (const token of response.attributes ?? []) {
        const uid = Number((token as { value?: unknown } | null)?.value);
        if (Number.isInteger(uid) && uid > 0) found.push(uid);
      }
    },
  };
  await client.exec(`look for \\Deleted in ${path}`, 'UID SEARCH', [atom('DELETED')], { untagged });
  return found.sort((a, b) => a - b);
}

/** APPEND with all flags; which of them stay is the server's to say. */
export async function appendMessage(
  client: MutateClient,
  path: string,
  message: UpstreamAppend,
): Promise<{ uidValidity: number; uid: number } | null> {
  const doing = `append to ${path}`;
  checkAppendLimit(client, doing, message.bytes.length);
  const date = formatDateTime(message.internalDate).slice(1, -1);
  const code = await client.exec(
    doing,
    'APPEND',
    [
      mailboxArgument(path),
      flagArguments(flagList(message.flags)),
      { type: 'STRING', value: date },
      // RFC 3516 §4.4: only literal8 may hold NUL.
      { type: 'LITERAL', value: message.bytes, isLiteral8: client.has('BINARY') && message.bytes.includes(0) },
    ],
    {},
    message.bytes.length,
  );
  if (code[0]?.toUpperCase() !== 'APPENDUID') return null;
  const [uidValidity, uid] = [Number(code[1]), Number(code[2])];
  return Number.isInteger(uidValidity) && Number.isInteger(uid) && uid > 0 ? { uidValidity, uid } : null;
}

/** RFC 7889: spares sending what is too large anyway. */
function checkAppendLimit(client: MutateClient, doing: string, size: number): void {
  for (const name of client.features.capabilities) {
    const limit = Number(/^APPENDLIMIT=(\d+)$/.exec(name)?.[1] ?? Number.POSITIVE_INFINITY);
    if (size > limit) {
      throw refusal(doing, { status: 'NO', code: 'TOOBIG', text: `it has ${size} octets, the limit is ${limit}` });
    }
  }
}

/** CREATE, with the use where the server takes one (RFC 6154 §3). */
export async function createFolder(client: MutateClient, path: string, role: Role | null): Promise<void> {
  const use = role === null ? undefined : ROLE_ATTRIBUTES[role];
  const extra: Argument[] = use !== undefined && client.has('CREATE-SPECIAL-USE') ? [[atom('USE'), [atom(use)]]] : [];
  await client.exec(`create ${path}`, 'CREATE', [mailboxArgument(path), ...extra]);
}

/** DELETE of the folder with all its mail. */
export async function deleteFolder(client: MutateClient, path: string, _authorised: Authorisation): Promise<void> {
  await client.leave(path);
  await client.exec(`delete ${path}`, 'DELETE', [mailboxArgument(path)]);
}

export async function renameFolder(client: MutateClient, from: string, to: string): Promise<void> {
  await client.leave(from);
  await client.exec(`rename ${from} to ${to}`, 'RENAME', [mailboxArgument(from), mailboxArgument(to)]);
}

export async function subscribeFolder(client: MutateClient, path: string, subscribed: boolean): Promise<void> {
  const command = subscribed ? 'SUBSCRIBE' : 'UNSUBSCRIBE';
  await client.exec(`${command.toLowerCase()} ${path}`, command, [mailboxArgument(path)]);
}

function sequence(set: string): Argument {
  return { type: 'SEQUENCE', value: set };
}

/** The UIDs as sets short enough for any server's command line. */
function uidSets(uids: readonly number[]): string[] {
  const builder = new SetBuilder();
  for (const uid of [...uids].sort((a, b) => a - b)) builder.add(uid);
  return builder.chunks(MAX_SET_TEXT);
}

/** A flag list; a flag that is no atom would break the command and is refused. */
function flagArguments(flags: readonly string[]): readonly Argument[] {
  for (const flag of flags) {
    if (!isAll(flag.replace(/^\\/, ''), ATOM)) {
      throw refusal('store flags', {
        status: 'BAD',
        code: 'CANNOT',
        text: `no flag can be called ${JSON.stringify(flag)}`,
      });
    }
  }
  return flags.map(atom);
}

/** Puts COPYUID responses (RFC 4315 §3) together. */
class CopiedUids {
  readonly #asked: number;
  readonly #uids = new Map<number, number>();
  #uidValidity: number | null = null;

  constructor(asked: readonly number[]) {
    this.#asked = asked.length;
  }

  take(code: readonly string[]): void {
    const [name, uidValidity, from, to] = code;
    if (name?.toUpperCase() !== 'COPYUID' || !/^\d{1,10}$/.test(uidValidity ?? '')) return;
    const sources = this.#numbers(from);
    const targets = this.#numbers(to);
    // Sets of different length pair nothing.
    if (sources === null || targets === null || sources.length !== targets.length) return;
    this.#uidValidity = Number(uidValidity);
    for (const [index, uid] of sources.entries()) this.#uids.set(uid, targets[index]!);
  }

  /** Null for what is no set or more than was asked for: the copy has been made, only where to is not known then. */
  #numbers(set: string | undefined): Uint32Array | null {
    try {
      return spreadRanges(parseRanges(set ?? '', 'COPYUID'), 'COPYUID', this.#asked);
    } catch {
      return null;
    }
  }

  result(): CopyUids | null {
    return this.#uidValidity === null ? null : { uidValidity: this.#uidValidity, uids: this.#uids };
  }
}
