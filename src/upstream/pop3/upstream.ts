import type { AccountConfig } from '../../config/config.js';
import { MergeboxError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import { INBOX, LocalUpstream, pour } from '../local.js';
import type { KeptFiles, Shelf } from '../local-parts.js';
import type {
  Authorisation,
  BodySink,
  CopyUids,
  FolderCursor,
  FolderReader,
  FolderRef,
  FolderState,
  Upstream,
  UpstreamFeatures,
  UpstreamFolder,
} from '../port.js';
import { DEFAULT_TIMING, type Timing } from '../timing.js';
import type { KnownMail, MailBook } from './book.js';
import { deleteMails } from './delete.js';
import { Pop3FolderReader } from './folder-reader.js';
import { MAX_NOTED } from './limits.js';
import type { Pop3Parts } from './look.js';
import { Maildrop } from './maildrop.js';
import { refetch } from './refetch.js';

export interface Pop3UpstreamOptions {
  readonly account: AccountConfig;
  readonly shelf: Shelf;
  readonly files: KeptFiles;
  readonly book: MailBook;
  readonly log: Log;
  readonly timing?: Partial<Timing>;
}

/**
 * A POP3 account: its maildrop is INBOX, everything else are folders that live here. A session that reads never deletes,
 * and one that deletes does nothing else.
 */
export class Pop3Upstream implements Upstream {
  readonly #account: AccountConfig;
  readonly #parts: Pop3Parts;
  readonly #local: LocalUpstream;
  readonly #maildrop: Maildrop;
  /** Notes that were written, so that a deletion that is tried again and again writes one. */
  readonly #noted = new Set<string>();

  constructor({ account, shelf, files, book, log, timing }: Pop3UpstreamOptions) {
    this.#account = account;
    const keepsMissing = account.authority === 'mergebox' || account.onUpstreamDelete === 'keep';
    this.#parts = { shelf, files, book, log, keepsMissing };
    this.#local = new LocalUpstream(shelf, files);
    this.#maildrop = new Maildrop(account, { ...DEFAULT_TIMING, ...timing }, this.#parts);
  }

  /** Local folders are at hand whatever the server does; the server is first met by a look at INBOX. */
  connect(): Promise<UpstreamFeatures> {
    return this.#local.connect();
  }

  listFolders(): Promise<readonly UpstreamFolder[]> {
    return this.#local.listFolders();
  }

  async status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>> {
    const states = new Map(await this.#local.status(paths));
    if (!paths.includes(INBOX)) return states;
    const { state } = await this.#maildrop.look();
    return states.set(INBOX, state);
  }

  read<T>(path: string, since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T> {
    if (path !== INBOX) return this.#local.read(path, since, use);
    return this.#maildrop.visit((session, view) =>
      this.#parts.files.lease((lease) => use(new Pop3FolderReader(view, session, lease, this.#parts))),
    );
  }

  /** From our own files; what is damaged there is read from the server again. */
  async fetchBody(ref: FolderRef, uid: number, sink: BodySink): Promise<void> {
    const { shelf, files, book } = this.#parts;
    const content = (await shelf.contents(ref.path, [uid])).get(uid);
    if (content === undefined) throw new MergeboxError('nonexistent', `no mail ${uid} in "${ref.path}"`);
    const mail = await files.get(content).catch(() => null);
    if (mail !== null) return pour(mail, sink);
    const rows = (await book.all()).filter((row) => row.content === content);
    await this.#maildrop.alone(async (session) => {
      await refetch(session, rows, content, files);
      await session.leave();
    });
    await pour(await files.get(content), sink);
  }

  storeFlags(): Promise<void> {
    return this.#local.storeFlags();
  }

  async copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    const copied = await this.#local.copy(ref, uids, target);
    if (target === INBOX && copied !== null) await this.#returnToInbox(ref, copied);
    return copied;
  }

  /** What goes to Trash is deleted at the server, what goes to any other folder is left there until it is deleted. */
  async move(
    ref: FolderRef,
    uids: readonly number[],
    target: string,
    authorised: Authorisation,
  ): Promise<CopyUids | null> {
    if (target === INBOX) return this.copy(ref, uids, target);
    const folders = await this.#parts.shelf.folders();
    const toTrash = folders.some(({ path, role }) => path === target && role === 'trash');
    await this.#release(ref.path, uids, authorised, toTrash ? 'Trash' : null);
    return this.#local.copy(ref, uids, target);
  }

  expunge(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void> {
    return this.#release(ref.path, uids, authorised, null);
  }

  append(path: string): Promise<{ uidValidity: number; uid: number }> {
    if (path === INBOX) this.#maildrop.changed();
    return this.#local.append(path);
  }

  createFolder(path: string): Promise<void> {
    return this.#local.createFolder(path);
  }

  /** The mail of the folder is gone from the store by now. */
  async deleteFolder(_path: string, authorised: Authorisation): Promise<void> {
    const filed = (await this.#parts.book.all()).filter(({ state, content }) => state === 'filed' && content !== null);
    const kept = await this.#parts.shelf.filed(filed.map(({ content }) => content!));
    await this.#destroy(
      filed.filter(({ content }) => !kept.has(content!)),
      authorised,
      null,
    );
  }

  renameFolder(): Promise<void> {
    return this.#local.renameFolder();
  }

  subscribe(): Promise<void> {
    return this.#local.subscribe();
  }

  /** POP3 knows no push. */
  watch(): Promise<() => void> {
    return this.#local.watch();
  }

  async disconnect(): Promise<void> {
    this.#maildrop.disconnect();
  }

  async retirable(): Promise<readonly number[]> {
    const days = this.#account.leaveOnServer;
    if (typeof days !== 'number') return [];
    const before = Math.floor(Date.now() / 1000) - days * 86_400;
    const rows = await this.#parts.book.all();
    return rows.filter((row) => isAtServer(row) && row.state === 'here' && row.seen <= before).map(({ uid }) => uid);
  }

  async retire(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void> {
    const wanted = new Set(uids);
    const rows = (await this.#parts.book.all()).filter((row) => wanted.has(row.uid) && isAtServer(row));
    const contents = await this.#parts.shelf.contents(ref.path, uids);
    // Each is read and checked once more before the server's is given up.
    for (const { uid } of rows) await this.#parts.files.get(contents.get(uid) ?? '');
    await this.#deleteAtServer(rows, authorised, INBOX);
    await this.#save(rows.map((row) => ({ ...row, state: 'retired', missing: Math.floor(Date.now() / 1000) })));
  }

  /**
   * Mail leaves a folder for good or for another one. As long as a folder other than Trash has it, the server keeps it;
   * else it is deleted there, and only then (the engine does so next) here.
   */
  async #release(
    path: string,
    uids: readonly number[],
    authorised: Authorisation,
    keptIn: 'Trash' | null,
  ): Promise<void> {
    const { shelf, book } = this.#parts;
    const contents = new Set((await shelf.contents(path, uids)).values());
    const wanted = new Set(uids);
    const going = (await book.all()).filter((row) =>
      path === INBOX
        ? wanted.has(row.uid) && row.state !== 'left'
        : row.state === 'filed' && row.content !== null && contents.has(row.content),
    );
    if (path === INBOX) this.#maildrop.changed();
    if (going.length === 0) return;
    const kept = await shelf.filed(going.flatMap(({ content }) => content ?? []));
    const filed = going.filter(({ content }) => content !== null && kept.has(content));
    await this.#save(filed.map((row) => ({ ...row, state: row.state === 'retired' ? 'left' : 'filed' })));
    await this.#destroy(
      going.filter((row) => !filed.includes(row)),
      authorised,
      keptIn,
    );
  }

  async #destroy(rows: readonly KnownMail[], authorised: Authorisation, keptIn: 'Trash' | null): Promise<void> {
    const owed = this.#account.leaveOnServer === 'forever' ? [] : rows.filter(isAtServer);
    await this.#deleteAtServer(owed, authorised, keptIn);
    const now = Math.floor(Date.now() / 1000);
    const deleted = new Set(owed);
    await this.#save(rows.map((row) => ({ ...row, state: 'left', missing: deleted.has(row) ? now : row.missing })));
  }

  /** `keptIn` is the mailbox that shows the mails from now on, when they stay here. */
  async #deleteAtServer(
    rows: readonly KnownMail[],
    authorised: Authorisation,
    keptIn: 'INBOX' | 'Trash' | null,
  ): Promise<void> {
    if (rows.length === 0) return;
    if (keptIn !== null) await this.#noteWhere(rows, keptIn, authorised.reason);
    await this.#maildrop.alone((session) => deleteMails(session, rows, authorised, this.#parts.log));
  }

  /** What no server has any more must find its way back without a database, too. */
  async #noteWhere(rows: readonly KnownMail[], mailbox: string, reason: string): Promise<void> {
    await this.#parts.files.lease(async (lease) => {
      for (const { content, seen } of rows) {
        if (content === null || this.#noted.has(`${mailbox} ${content}`)) continue;
        const note = { mailbox, account: this.#account.id, flags: '', internalDate: seen, reason };
        await lease.keep(content);
        await lease.note(content, JSON.stringify(note));
      }
      await lease.settle();
    });
    for (const { content } of rows) this.#noted.add(`${mailbox} ${content}`);
    if (this.#noted.size > MAX_NOTED) this.#noted.clear();
  }

  /** Filed mail that comes back is known under its name at the server again. */
  async #returnToInbox(ref: FolderRef, { uids }: CopyUids): Promise<void> {
    this.#maildrop.changed();
    const { shelf, book } = this.#parts;
    const filed = (await book.all()).filter(({ state, content }) => state === 'filed' && content !== null);
    if (filed.length === 0) return;
    const back: { readonly row: KnownMail; readonly uid: number }[] = [];
    for (const [source, content] of await shelf.contents(ref.path, [...uids.keys()])) {
      const at = filed.findIndex((row) => row.content === content);
      if (at >= 0) back.push({ row: filed.splice(at, 1)[0]!, uid: uids.get(source)! });
    }
    await book.save(
      back.map(({ row, uid }) => ({ ...row, uid, state: 'here' })),
      back.map(({ row }) => row.uid),
    );
  }

  async #save(rows: readonly KnownMail[]): Promise<void> {
    if (rows.length === 0) return;
    this.#maildrop.changed();
    await this.#parts.book.save(rows);
  }
}

/** As far as the last look told. */
function isAtServer({ uidl, state, missing }: KnownMail): boolean {
  return uidl !== null && state !== 'retired' && missing === null;
}
