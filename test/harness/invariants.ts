import { accountKeyword, flagText } from '../../src/mail/flags.js';
import type { AccountBook } from '../../src/store/account-book.js';
import type { ActionRow } from '../../src/store/actions.js';
import type { CopyRow, EntryRow, FolderRow, MailboxRow } from '../../src/store/rows.js';
import type { ReadTx, Store } from '../../src/store/store.js';

interface World {
  readonly folders: ReadonlyMap<number, FolderRow>;
  readonly mailboxes: readonly MailboxRow[];
  readonly entries: ReadonlyMap<number, EntryRow>;
  readonly copies: readonly CopyRow[];
  readonly actions: readonly ActionRow[];
  readonly messages: ReadonlyMap<number, { id: number; size: number; pinned: string | null; merge_key: string | null }>;
  readonly expunged: readonly { mailbox_id: number; mod_seq: number; uid: number }[];
  readonly accounts: ReadonlyMap<number, string>;
  readonly modSeq: number;
}

export interface InvariantOptions {
  /** Whose accounts: also checks what authority has to do with it. */
  readonly book: AccountBook;
  /** The names of the pinned files there are; not looked at when absent. */
  readonly pinned?: ReadonlySet<string>;
}

/**
 * What must hold of a store at any moment between two writes (DESIGN.md §4), as a list of faults; empty when all is
 * well.
 */
export async function invariantFaults(store: Store, options: InvariantOptions): Promise<string[]> {
  const world = await store.snapshot(load);
  const torn = await store.read((tx) =>
    tx.all<{ id: number }>(
      `SELECT message.id FROM message LEFT JOIN metadata USING (id) WHERE metadata.id IS NULL
       UNION SELECT metadata.id FROM metadata LEFT JOIN message USING (id) WHERE message.id IS NULL`,
    ),
  );
  return [
    ...torn.map(({ id }) => `message ${id}: without its metadata, or the other way round`),
    ...mailboxFaults(world),
    ...entryFaults(world, options.book),
    ...copyFaults(world, options),
    ...actionFaults(world),
    ...messageFaults(world, options.pinned),
  ];
}

/** Throws with all faults when an invariant is broken. */
export async function checkInvariants(store: Store, options: InvariantOptions): Promise<void> {
  const faults = await invariantFaults(store, options);
  if (faults.length > 0) throw new Error(`invariants broken:\n  ${faults.join('\n  ')}`);
}

/** MODSEQ and UIDNEXT of each mailbox, to be compared with a later state by `fallenCounters`. */
export async function counters(store: Store): Promise<Map<number, { modSeq: number; uidNext: number; name: string }>> {
  const rows = await store.read((tx) => tx.all<MailboxRow>('SELECT * FROM mailbox'));
  return new Map(rows.map((row) => [row.id, { modSeq: row.mod_seq, uidNext: row.uid_next, name: row.name }]));
}

/** Mailboxes whose MODSEQ or UIDNEXT fell since `before`. */
export async function fallenCounters(store: Store, before: Awaited<ReturnType<typeof counters>>): Promise<string[]> {
  const now = await counters(store);
  return [...before].flatMap(([id, old]) => {
    const row = now.get(id);
    return row && (row.modSeq < old.modSeq || row.uidNext < old.uidNext) ? [`${old.name}: a counter fell`] : [];
  });
}

async function load(tx: ReadTx): Promise<World> {
  const byId = async <T extends { id: number }>(table: string): Promise<Map<number, T>> =>
    new Map((await tx.all<T>(`SELECT * FROM ${table}`)).map((row) => [row.id, row]));
  const meta = await tx.get<{ value: string }>("SELECT value FROM meta WHERE key = 'modSeq'");
  const accounts = await tx.all<{ id: number; name: string }>('SELECT id, name FROM account');
  return {
    folders: await byId<FolderRow>('folder'),
    mailboxes: await tx.all<MailboxRow>('SELECT * FROM mailbox'),
    entries: await byId<EntryRow>('entry'),
    copies: await tx.all<CopyRow>('SELECT * FROM copy'),
    actions: await tx.all<ActionRow>('SELECT * FROM action'),
    messages: await byId('message'),
    expunged: await tx.all('SELECT mailbox_id, mod_seq, uid FROM expunged'),
    accounts: new Map(accounts.map((row) => [row.id, row.name])),
    modSeq: Number(meta?.value ?? 1),
  };
}

/** UIDs unique, below UIDNEXT, never live again once expunged; MODSEQ never above the counter. */
function mailboxFaults(world: World): string[] {
  const faults: string[] = [];
  for (const mailbox of world.mailboxes) {
    const rows =
      mailbox.folder_id === null
        ? [...world.entries.values()].filter((entry) => entry.mailbox_id === mailbox.id)
        : world.copies
            .filter((copy) => copy.folder_id === mailbox.folder_id && copy.mirror_uid !== null && isShown(copy))
            .map((copy) => ({ uid: copy.mirror_uid!, mod_seq: copy.mod_seq }));
    const live = new Set<number>();
    const gone = new Set(world.expunged.filter((each) => each.mailbox_id === mailbox.id).map(({ uid }) => uid));
    for (const { uid, mod_seq } of rows) {
      if (live.has(uid)) faults.push(`${mailbox.name}: UID ${uid} twice`);
      if (gone.has(uid)) faults.push(`${mailbox.name}: UID ${uid} lives after its EXPUNGE`);
      if (uid >= mailbox.uid_next) faults.push(`${mailbox.name}: UID ${uid} is not below UIDNEXT ${mailbox.uid_next}`);
      if (mod_seq > mailbox.mod_seq)
        faults.push(`${mailbox.name}: UID ${uid} has MODSEQ ${mod_seq}, the mailbox ${mailbox.mod_seq}`);
      live.add(uid);
    }
    if (mailbox.mod_seq > world.modSeq) faults.push(`${mailbox.name}: MODSEQ above the counter`);
    if (mailbox.folder_id !== null && !world.folders.has(mailbox.folder_id)) faults.push(`${mailbox.name}: no folder`);
  }
  for (const each of world.expunged) {
    if (!world.mailboxes.some(({ id }) => id === each.mailbox_id))
      faults.push(`expunged UID ${each.uid} of no mailbox`);
  }
  for (const folder of world.folders.values()) {
    if (!world.mailboxes.some(({ folder_id }) => folder_id === folder.id)) faults.push(`${folder.path}: no mirror`);
    if (!world.accounts.has(folder.account_id)) faults.push(`${folder.path}: no account`);
  }
  return faults;
}

/** A live entry has a shown copy, at most one of an account, one set of flags, and true account keywords. */
function entryFaults(world: World, book: AccountBook): string[] {
  const faults: string[] = [];
  for (const entry of world.entries.values()) {
    const name = `entry ${entry.id} (UID ${entry.uid})`;
    const mailbox = world.mailboxes.find(({ id }) => id === entry.mailbox_id);
    if (!mailbox || mailbox.role === null) faults.push(`${name}: in no merged mailbox`);
    if (!world.messages.has(entry.message_id)) faults.push(`${name}: no content`);
    const own = world.copies.filter((copy) => copy.entry_id === entry.id);
    const shown = own.filter(isShown);
    if (shown.length === 0) faults.push(`${name}: no copy`);
    const accounts = shown.map((copy) => world.folders.get(copy.folder_id)!.account_id);
    if (new Set(accounts).size !== accounts.length) faults.push(`${name}: two copies of one account`);
    for (const copy of shown) {
      if (copy.flags !== entry.flags) faults.push(`${name}: flags "${entry.flags}", copy ${copy.id} "${copy.flags}"`);
      const folder = world.folders.get(copy.folder_id)!;
      if (folder.virtual === 1 || folder.role !== mailbox?.role)
        faults.push(`${name}: copy ${copy.id} of ${folder.path}`);
    }
    const keywords = flagText(accounts.flatMap((id) => (book.has(id) ? accountKeyword(book.get(id).name) : [])));
    if (entry.accounts !== keywords) faults.push(`${name}: accounts "${entry.accounts}", not "${keywords}"`);
    const reachable =
      world.messages.get(entry.message_id)?.pinned != null ||
      world.copies.some((copy) => copy.message_id === entry.message_id);
    if (!reachable) faults.push(`${name}: nobody holds the bytes it shows`);
  }
  return faults;
}

function copyFaults(world: World, options: InvariantOptions): string[] {
  const faults: string[] = [];
  const seen = new Set<string>();
  for (const copy of world.copies) {
    const name = `copy ${copy.id} (${copy.state})`;
    const folder = world.folders.get(copy.folder_id);
    if (!folder) faults.push(`${name}: no folder`);
    if (!world.messages.has(copy.message_id)) faults.push(`${name}: no content`);
    if (copy.entry_id !== null && !world.entries.has(copy.entry_id)) faults.push(`${name}: no entry ${copy.entry_id}`);
    if (copy.state === 'doomed' && copy.entry_id !== null) faults.push(`${name}: is in an entry`);
    if (copy.mod_seq > world.modSeq) faults.push(`${name}: MODSEQ above the counter`);
    const merged = folder !== undefined && folder.role !== null && folder.virtual === 0;
    const placed = isShown(copy) && copy.mirror_uid !== null;
    if (placed && merged !== (copy.entry_id !== null)) faults.push(`${name}: merged mailbox and role disagree`);
    if (copy.uid !== null) {
      const key = `${copy.folder_id} ${copy.uid}`;
      if (seen.has(key)) faults.push(`${name}: UID ${copy.uid} is another copy's`);
      seen.add(key);
    }
    faults.push(...owedFaults(world, copy, name, options.book));
  }
  return faults;
}

/** What is on its way has somebody who carries it, and bytes to carry. */
function owedFaults(world: World, copy: CopyRow, name: string, book: AccountBook): string[] {
  const faults: string[] = [];
  const account = world.folders.get(copy.folder_id)?.account_id;
  if (copy.state === 'pending') {
    if (copy.uid !== null) faults.push(`${name}: has a UID`);
    if (!world.actions.some((action) => action.target_id === copy.id)) faults.push(`${name}: nothing brings it there`);
    const pinned = world.messages.get(copy.message_id)?.pinned != null;
    const elsewhere = world.copies.some((each) => each.message_id === copy.message_id && each.uid !== null);
    const source = world.actions.find((action) => action.target_id === copy.id && action.copy_id !== null);
    if (!pinned && !elsewhere && !source) faults.push(`${name}: nobody holds its bytes`);
  }
  if (copy.state === 'doomed' && account !== undefined && book.has(account) && book.pushes(account)) {
    const owed = world.actions.some(
      ({ copy_id, kind }) => copy_id === copy.id && (kind === 'expunge' || kind === 'move'),
    );
    if (!owed) faults.push(`${name}: nothing removes it`);
  }
  return faults;
}

/** Every action has what it is about, and waits for nothing that has gone. */
function actionFaults(world: World): string[] {
  const faults: string[] = [];
  const copies = new Map(world.copies.map((copy) => [copy.id, copy]));
  for (const action of world.actions) {
    const name = `action ${action.id} (${action.kind})`;
    if (!world.accounts.has(action.account_id)) faults.push(`${name}: no account`);
    // A COPY or MOVE whose source is gone is settled by its executor.
    const settles = action.kind === 'copy' || action.kind === 'move';
    if (action.copy_id !== null && !settles && !copies.has(action.copy_id)) faults.push(`${name}: no copy`);
    if (action.folder_id !== null && !world.folders.has(action.folder_id)) faults.push(`${name}: no folder`);
    // A parked one has been taken back: the mail is shown again.
    const owed = action.state === 'pending' && action.kind === 'expunge';
    if (owed && copies.get(action.copy_id ?? 0)?.state !== 'doomed') {
      faults.push(`${name}: its copy is not to go`);
    }
  }
  return faults;
}

function messageFaults(world: World, files: ReadonlySet<string> | undefined): string[] {
  const faults: string[] = [];
  const used = new Set([...world.copies, ...world.entries.values()].map(({ message_id }) => message_id));
  for (const message of world.messages.values()) {
    if (!used.has(message.id)) faults.push(`message ${message.id}: an orphan`);
    if (message.pinned !== null && files && !files.has(message.pinned))
      faults.push(`message ${message.id}: no pinned file`);
  }
  return faults;
}

function isShown(copy: CopyRow): boolean {
  return copy.state !== 'doomed';
}
