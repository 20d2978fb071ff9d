import { type FlagText, flagText, removeFlags } from '../../../src/mail/flags.js';
import { canHold } from '../../../src/mail/reconcile.js';
import type { Role } from '../../../src/mail/ids.js';
import type {
  Authorisation,
  BodySink,
  CopyUids,
  FlagChange,
  FolderCursor,
  FolderReader,
  FolderRef,
  FolderState,
  UidFlags,
  Upstream,
  UpstreamAppend,
  UpstreamFeatures,
  UpstreamFolder,
  UpstreamMessage,
  UpstreamQuota,
} from '../../../src/upstream/port.js';
import { MergeboxError } from '../../../src/util/errors.js';
import { type FakeFolder, type FakeMessage, type FakeServer, isDeleted, metadataOf } from './fake-server.js';

/** `before`: nothing was done yet; `after`: it was done, but the answer is not known yet. */
export type Moment = 'before' | 'after';

/**
 * Awaited at every point where a real connection awaits its server. It may throw what a connection throws, never
 * settle (a crash of Mergebox), or change the server.
 */
export type Step = (call: string, moment: Moment) => Promise<void> | void;

/** One page of metadata; small, so that a crash between pages happens. */
const PAGE = 3;

/** The Upstream port over a `FakeServer`. */
export class FakeUpstream implements Upstream {
  readonly server: FakeServer;
  step: Step = () => undefined;
  /** Every change that was made, for counting. */
  readonly mutations: string[] = [];
  quotas: readonly UpstreamQuota[] = [];
  /** Contents that FETCH leaves out although they are listed. */
  readonly unreadable = new Set<Buffer>();
  /** The authorisations that destructive calls came with. */
  readonly authorisations: Authorisation[] = [];
  readonly #watchers = new Set<{ path: string; onEvent: () => void; onLost: (error: Error) => void }>();

  constructor(server: FakeServer) {
    this.server = server;
  }

  async connect(): Promise<UpstreamFeatures> {
    const { condstore, qresync, uidplus, move } = this.server.features;
    return this.#do('connect', () => ({
      condstore,
      qresync,
      uidplus,
      move,
      idle: true,
      specialUse: true,
      capabilities: [],
      prefix: '',
      delimiter: '/',
    }));
  }

  async listFolders(): Promise<readonly UpstreamFolder[]> {
    return this.#do('list', () =>
      [...this.server.folders]
        .filter(([path]) => !this.server.unlisted.has(path))
        .map(([path, { role, virtual }]) => ({
          path,
          delimiter: '/',
          role,
          virtual,
          selectable: true,
          subscribed: true,
        })),
    );
  }

  async status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>> {
    return this.#do(
      'status',
      () =>
        new Map(
          paths.flatMap((path) => {
            const folder = this.server.folders.get(path);
            return folder ? [[path, this.#state(folder)] as const] : [];
          }),
        ),
    );
  }

  async read<T>(path: string, since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T> {
    // One view for the whole visit, as EXAMINE gives until the next command.
    const folder = await this.#do(`examine ${path}`, () => this.#folder(path).clone());
    const { condstore, qresync } = this.server.features;
    const resynced = qresync && since !== null && since.modSeq !== null && since.uidValidity === folder.uidValidity;
    const after = Number(since?.modSeq ?? 0);
    return use({
      state: this.#state(folder),
      flagsOffered: folder.offered,
      resync: resynced
        ? {
            vanished: folder.expunged.filter((each) => each.modSeq > after).map(({ uid }) => [uid, uid] as const),
            changed: folder.messages.filter((each) => each.modSeq > after).map(uidFlags),
          }
        : null,
      uids: (from = 0) =>
        this.#do(`uids ${path}`, () =>
          Uint32Array.from(
            folder.messages.filter(({ internalDate }) => internalDate >= from - 86_400),
            ({ uid }) => uid,
          ),
        ),
      flags: (changedSince) =>
        this.#do(`flags ${path}`, () =>
          folder.messages
            .filter((each) => changedSince === null || !condstore || each.modSeq > Number(changedSince))
            .map(uidFlags),
        ),
      messages: async (uids, onPage) => {
        for (let start = 0; start < uids.length; start += PAGE) {
          const wanted = uids.slice(start, start + PAGE);
          const page = await this.#do(`messages ${path}`, () =>
            wanted.flatMap((uid) => {
              const message = folder.find(uid);
              return message && !this.unreadable.has(message.bytes)
                ? [{ ...upstreamMessage(message), ...this.server.quirk(message) }]
                : [];
            }),
          );
          await onPage(page);
        }
      },
    });
  }

  async fetchBody(ref: FolderRef, uid: number, sink: BodySink): Promise<void> {
    const bytes = await this.#do(`fetch body ${ref.path}`, () => {
      const message = this.#exactly(ref).find(uid);
      if (!message) throw new MergeboxError('nonexistent', `fetch ${ref.path}: no message ${uid}`);
      return message.bytes;
    });
    sink.start(bytes.length);
    for (let at = 0; at < bytes.length; at += 1_000) await sink.chunk(bytes.subarray(at, at + 1_000));
  }

  async storeFlags(
    ref: FolderRef,
    uids: readonly number[],
    change: FlagChange,
    authorised?: Authorisation,
  ): Promise<void> {
    if (change.add.includes('\\Deleted')) this.#require(authorised);
    await this.#change(
      `store ${ref.path} ${uids.join(',')} +${change.add.join(' ')} -${change.remove.join(' ')}`,
      () => {
        const folder = this.#exactly(ref);
        const offered = folder.offered === null ? null : flagText(folder.offered);
        folder.flag(
          uids,
          change.add.filter((flag) => canHold(offered, flag)),
          change.remove,
        );
      },
    );
  }

  async copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    return this.#change(`copy ${ref.path} ${uids.join(',')} ${target}`, () => this.#copy(ref, uids, target));
  }

  async move(
    ref: FolderRef,
    uids: readonly number[],
    target: string,
    authorised: Authorisation,
  ): Promise<CopyUids | null> {
    this.#require(authorised);
    const call = `${ref.path} ${uids.join(',')} ${target}`;
    if (!this.server.features.move) {
      // Two commands: a connection may break between them.
      const copied = await this.#change(`move: copy ${call}`, () => this.#copy(ref, uids, target));
      await this.expunge(ref, uids, authorised);
      return copied;
    }
    return this.#change(`move ${call}`, () => {
      const copied = this.#copy(ref, uids, target);
      this.#exactly(ref).remove(uids);
      return copied;
    });
  }

  async expunge(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void> {
    this.#require(authorised);
    await this.#change(`expunge: mark ${ref.path} ${uids.join(',')}`, () =>
      this.#exactly(ref).flag(uids, ['\\Deleted']),
    );
    await this.#change(`expunge ${ref.path} ${uids.join(',')}`, () => {
      const folder = this.#exactly(ref);
      folder.remove(uids.filter((uid) => folder.messages.some((each) => each.uid === uid && isDeleted(each))));
    });
  }

  async append(path: string, message: UpstreamAppend): Promise<{ uidValidity: number; uid: number } | null> {
    return this.#change(`append ${path}`, () => {
      const folder = this.#folder(path);
      const bytes = this.server.rewrite(Buffer.from(message.bytes));
      const { uid } = folder.add(bytes, message.flags, message.internalDate);
      return this.server.features.uidplus ? { uidValidity: folder.uidValidity, uid } : null;
    });
  }

  async createFolder(path: string, role: Role | null): Promise<void> {
    await this.#change(`create ${path}`, () => {
      if (this.server.folders.has(path)) throw new MergeboxError('refused', `create ${path}: [ALREADYEXISTS] exists`);
      this.server.create(path, role);
    });
  }

  async deleteFolder(path: string, authorised: Authorisation): Promise<void> {
    this.#require(authorised);
    await this.#change(`delete ${path}`, () => {
      this.#folder(path);
      this.server.folders.delete(path);
    });
  }

  async renameFolder(from: string, to: string): Promise<void> {
    await this.#change(`rename ${from} ${to}`, () => {
      this.#folder(from);
      for (const [path, folder] of [...this.server.folders]) {
        if (path !== from && !path.startsWith(`${from}/`)) continue;
        this.server.folders.delete(path);
        this.server.folders.set(to + path.slice(from.length), folder);
      }
    });
  }

  async quota(): Promise<readonly UpstreamQuota[]> {
    return this.quotas;
  }

  async subscribe(path: string, subscribed: boolean): Promise<void> {
    await this.#change(`${subscribed ? '' : 'un'}subscribe ${path}`, () => undefined);
  }

  async watch(path: string, onEvent: () => void, onLost: (error: Error) => void): Promise<() => void> {
    const watcher = { path, onEvent, onLost };
    await this.#do(`watch ${path}`, () => this.#watchers.add(watcher));
    return () => void this.#watchers.delete(watcher);
  }

  async disconnect(): Promise<void> {
    this.#watchers.clear();
  }

  /** Tells whoever watches, as IDLE does. */
  notify(): void {
    for (const watcher of [...this.#watchers]) watcher.onEvent();
  }

  async #do<T>(call: string, effect: () => T): Promise<T> {
    await this.step(call, 'before');
    const result = effect();
    await this.step(call, 'after');
    return result;
  }

  async #change<T>(call: string, effect: () => T): Promise<T> {
    return this.#do(call, () => {
      const result = effect();
      this.mutations.push(call);
      return result;
    });
  }

  #copy(ref: FolderRef, uids: readonly number[], target: string): CopyUids | null {
    const source = this.#exactly(ref);
    const folder = this.#folder(target);
    const copied = new Map<number, number>();
    // A set names a message once, however often the caller does.
    for (const uid of [...new Set(uids)].sort((a, b) => a - b)) {
      const message = source.find(uid);
      if (message) copied.set(uid, folder.add(message.bytes, message.flags, message.internalDate).uid);
    }
    return this.server.features.uidplus ? { uidValidity: folder.uidValidity, uids: copied } : null;
  }

  #require(authorised: Authorisation | undefined): void {
    if (!authorised || authorised.actions.length === 0) throw new Error('test: destruction without an authorisation');
    this.authorisations.push(authorised);
  }

  #folder(path: string): FakeFolder {
    const folder = this.server.folders.get(path);
    if (!folder) throw new MergeboxError('nonexistent', `no folder ${path}`);
    return folder;
  }

  #exactly(ref: FolderRef): FakeFolder {
    const folder = this.#folder(ref.path);
    if (folder.uidValidity !== ref.uidValidity) throw new MergeboxError('uidvalidity', `select ${ref.path}: changed`);
    return folder;
  }

  #state(folder: FakeFolder): FolderState {
    return {
      uidValidity: folder.uidValidity,
      uidNext: folder.uidNext,
      exists: folder.messages.length,
      highestModSeq: this.server.features.condstore ? String(folder.highestModSeq) : null,
    };
  }
}

function uidFlags({ uid, flags }: FakeMessage): UidFlags {
  return { uid, flags: shown(flags) };
}

function upstreamMessage(message: FakeMessage): UpstreamMessage {
  return {
    ...uidFlags(message),
    internalDate: message.internalDate,
    size: message.bytes.length,
    ...metadataOf(message.bytes),
  };
}

function shown(flags: FlagText): FlagText {
  return removeFlags(flags, ['\\Recent']);
}
