import { MergeboxError } from '../util/errors.js';
import type { KeptFiles, KeptMail, Shelf, ShelfFolder } from './local-parts.js';
import type {
  BodySink,
  CopyUids,
  FolderCursor,
  FolderReader,
  FolderRef,
  FolderState,
  UidFlags,
  Upstream,
  UpstreamFeatures,
  UpstreamFolder,
} from './port.js';

/** Local folders never lose their UIDs, so one UIDVALIDITY serves them all (RFC 9051 §2.3.1.1). */
export const LOCAL_UIDVALIDITY = 1;
export const INBOX = 'INBOX';
/** Octets handed over at once. */
const STEP = 1 << 18;

/**
 * A server without a server: folders that live in our own database and files. What the engine brings here needs a UID
 * and nothing else, because the copy it records is the mail; what it takes away is gone with its row. Flags are kept by
 * the rows alone, so no folder can hold one.
 */
export class LocalUpstream implements Upstream {
  readonly #shelf: Shelf;
  readonly #files: KeptFiles;

  constructor(shelf: Shelf, files: KeptFiles) {
    this.#shelf = shelf;
    this.#files = files;
  }

  async connect(): Promise<UpstreamFeatures> {
    return {
      ...{ condstore: true, qresync: false, uidplus: true, move: true, idle: false, specialUse: true },
      ...{ capabilities: [], prefix: '', delimiter: '/' },
    };
  }

  async listFolders(): Promise<readonly UpstreamFolder[]> {
    const known = await this.#shelf.folders();
    const inbox = known.some(({ path }) => path === INBOX) ? [] : [listed({ path: INBOX, role: 'inbox' })];
    return [...inbox, ...known.map(listed)];
  }

  async status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>> {
    const wanted = new Set(paths);
    const known = await this.#shelf.folders();
    return new Map(known.filter(({ path }) => wanted.has(path)).map((each) => [each.path, stateOf(each)]));
  }

  async read<T>(path: string, _since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T> {
    const state = (await this.status([path])).get(path);
    if (!state) throw new MergeboxError('nonexistent', `no local folder "${path}"`);
    const uids = (): Promise<number[]> => this.#shelf.uids(path);
    return use({
      state,
      flagsOffered: [],
      resync: null,
      uids: async () => Uint32Array.from(await uids()),
      flags: async (since) => (since === null ? (await uids()).map(unflagged) : []),
      // Whatever is here was recorded when it came.
      messages: async () => undefined,
    });
  }

  async fetchBody(ref: FolderRef, uid: number, sink: BodySink): Promise<void> {
    const content = (await this.#shelf.contents(ref.path, [uid])).get(uid);
    if (content === undefined) throw new MergeboxError('nonexistent', `no mail ${uid} in local folder "${ref.path}"`);
    await pour(await this.#files.get(content), sink);
  }

  async storeFlags(): Promise<void> {}

  async copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    const present = [...(await this.#shelf.contents(ref.path, uids)).keys()];
    const first = await this.#shelf.take(target, present.length);
    return { uidValidity: LOCAL_UIDVALIDITY, uids: new Map(present.map((uid, index) => [uid, first + index])) };
  }

  move(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    return this.copy(ref, uids, target);
  }

  async expunge(): Promise<void> {}

  async append(path: string): Promise<{ uidValidity: number; uid: number }> {
    return { uidValidity: LOCAL_UIDVALIDITY, uid: await this.#shelf.take(path, 1) };
  }

  createFolder(path: string): Promise<void> {
    return this.#shelf.created(path);
  }

  async deleteFolder(): Promise<void> {}

  async renameFolder(): Promise<void> {}

  async subscribe(): Promise<void> {}

  /** Nothing happens here that was not done here. */
  async watch(): Promise<() => void> {
    return () => undefined;
  }

  async disconnect(): Promise<void> {}
}

function listed({ path, role }: Pick<ShelfFolder, 'path' | 'role'>): UpstreamFolder {
  return { path, delimiter: '/', role, virtual: false, selectable: true, subscribed: true };
}

function stateOf({ uidNext, exists }: ShelfFolder): FolderState {
  // Nothing changes but by mail that comes, which raises both, and by mail that goes, of which the engine knows.
  return { uidValidity: LOCAL_UIDVALIDITY, uidNext, exists, highestModSeq: String(uidNext) };
}

export function unflagged(uid: number): UidFlags {
  return { uid, flags: '' };
}

/** Hands a mail over in steps. */
export async function pour(mail: KeptMail, sink: BodySink): Promise<void> {
  sink.start(mail.size);
  for (let at = 0; at < mail.size; at += STEP) await sink.chunk(await mail.read(at, Math.min(mail.size, at + STEP)));
}
