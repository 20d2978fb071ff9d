import type { Role } from '../mail/ids.js';
import type {
  Authorisation,
  BodySink,
  CopyUids,
  FlagChange,
  FolderCursor,
  FolderReader,
  FolderRef,
  FolderState,
  Upstream,
  UpstreamAppend,
  UpstreamFeatures,
  UpstreamFolder,
} from './port.js';

/** An account whose server has to be found before it can be talked to; each `connect` tries until it is. */
export class LateUpstream implements Upstream {
  readonly #find: () => Promise<Upstream>;
  #found: Upstream | null = null;
  #finding: Promise<Upstream> | null = null;

  constructor(find: () => Promise<Upstream>) {
    this.#find = find;
  }

  async connect(): Promise<UpstreamFeatures> {
    return (await this.#upstream()).connect();
  }

  async listFolders(): Promise<readonly UpstreamFolder[]> {
    return (await this.#upstream()).listFolders();
  }

  async status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>> {
    return (await this.#upstream()).status(paths);
  }

  async read<T>(path: string, since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T> {
    return (await this.#upstream()).read(path, since, use);
  }

  async fetchBody(ref: FolderRef, uid: number, sink: BodySink, priority?: 'background'): Promise<void> {
    return (await this.#upstream()).fetchBody(ref, uid, sink, priority);
  }

  async storeFlags(
    ref: FolderRef,
    uids: readonly number[],
    change: FlagChange,
    authorised?: Authorisation,
  ): Promise<void> {
    return (await this.#upstream()).storeFlags(ref, uids, change, authorised);
  }

  async copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    return (await this.#upstream()).copy(ref, uids, target);
  }

  async move(
    ref: FolderRef,
    uids: readonly number[],
    target: string,
    authorised: Authorisation,
  ): Promise<CopyUids | null> {
    return (await this.#upstream()).move(ref, uids, target, authorised);
  }

  async expunge(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void> {
    return (await this.#upstream()).expunge(ref, uids, authorised);
  }

  async append(path: string, message: UpstreamAppend): Promise<{ uidValidity: number; uid: number } | null> {
    return (await this.#upstream()).append(path, message);
  }

  async createFolder(path: string, role: Role | null): Promise<void> {
    return (await this.#upstream()).createFolder(path, role);
  }

  async deleteFolder(path: string, authorised: Authorisation): Promise<void> {
    return (await this.#upstream()).deleteFolder(path, authorised);
  }

  async renameFolder(from: string, to: string): Promise<void> {
    return (await this.#upstream()).renameFolder(from, to);
  }

  async subscribe(path: string, subscribed: boolean): Promise<void> {
    return (await this.#upstream()).subscribe(path, subscribed);
  }

  async watch(path: string, onEvent: () => void, onLost: (error: Error) => void): Promise<() => void> {
    return (await this.#upstream()).watch(path, onEvent, onLost);
  }

  async disconnect(): Promise<void> {
    await this.#found?.disconnect();
  }

  async #upstream(): Promise<Upstream> {
    if (this.#found !== null) return this.#found;
    this.#finding ??= this.#find().finally(() => {
      this.#finding = null;
    });
    this.#found = await this.#finding;
    return this.#found;
  }
}
