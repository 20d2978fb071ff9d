import type { AccountConfig } from '../config/config.js';
import type { Role } from '../mail/ids.js';
import { type Clock, systemClock } from '../util/clock.js';
import { isMergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { fetchBody, fetchPart } from './body-fetch.js';
import { connectSocket } from './connector.js';
import { LaneFolderReader } from './folder-reader.js';
import { foldersWithRoles } from './folder-roles.js';
import { folderStates } from './folder-status.js';
import { MutateClient } from './mutate-client.js';
import { MutateLane } from './mutate-lane.js';
import * as mutations from './mutations.js';
import type {
  Authorisation,
  BodySink,
  CopyUids,
  FlagChange,
  FolderCursor,
  FolderReader,
  FolderRef,
  FolderState,
  PartWanted,
  Upstream,
  UpstreamAppend,
  UpstreamFeatures,
  UpstreamFolder,
  UpstreamQuota,
} from './port.js';
import { fetchQuotas } from './quota.js';
import { ReaderLane } from './reader-lane.js';
import { imapStartTls, loginReader } from './reader-login.js';
import { ReaderSession } from './reader-session.js';
import { isTooManyConnections } from './refusals.js';
import { DEFAULT_TIMING, type Timing } from './timing.js';

export interface ImapUpstreamOptions {
  readonly account: AccountConfig;
  readonly log: Log;
  readonly clock?: Clock;
  readonly timing?: Partial<Timing>;
}

/**
 * An IMAP account within its budget of connections: one for changes and IDLE, the rest read. From three connections on,
 * one of them is kept for bodies, so that a client's FETCH never waits behind a large pull; with two, bodies go between
 * the pages of one.
 */
export function createImapUpstream(options: ImapUpstreamOptions): Upstream {
  return new ImapUpstream(options);
}

class ImapUpstream implements Upstream {
  readonly #account: AccountConfig;
  readonly #log: Log;
  readonly #timing: Timing;
  readonly #changes: MutateLane;
  readonly #bulk: readonly ReaderLane[];
  readonly #bodies: ReaderLane;
  /** PERMANENTFLAGS as SELECT told them, which EXAMINE often does not. */
  readonly #permanentFlags = new Map<string, readonly string[]>();

  constructor({ account, log, clock = systemClock, timing }: ImapUpstreamOptions) {
    this.#account = account;
    this.#log = log;
    this.#timing = { ...DEFAULT_TIMING, ...timing };
    const context = { timing: this.#timing, log, clock };
    this.#changes = new MutateLane((signal) => this.#openChanges(signal), context);
    const lane = (): ReaderLane => new ReaderLane((signal) => this.#openReader(signal), context);
    const readers = Math.max(1, account.connections - 1);
    this.#bulk = Array.from({ length: Math.max(1, readers - 1) }, lane);
    this.#bodies = readers > 1 ? lane() : this.#bulk[0]!;
  }

  connect(): Promise<UpstreamFeatures> {
    return this.#changes.run(async (client) => client.features);
  }

  listFolders(): Promise<readonly UpstreamFolder[]> {
    return this.#changes.run(async (client) =>
      foldersWithRoles(await client.list(), this.#account.folders, client.features.prefix),
    );
  }

  status(paths: readonly string[]): Promise<ReadonlyMap<string, FolderState>> {
    if (paths.length === 0) return Promise.resolve(new Map());
    return this.#onFreest((lane) => lane.run('bulk', (session) => folderStates(session, paths)));
  }

  read<T>(path: string, since: FolderCursor | null, use: (folder: FolderReader) => Promise<T>): Promise<T> {
    return this.#onFreest((lane) => this.#read(lane, path, since, use));
  }

  async #read<T>(
    lane: ReaderLane,
    path: string,
    since: FolderCursor | null,
    use: (folder: FolderReader) => Promise<T>,
  ): Promise<T> {
    lane.readers += 1;
    const { signal } = lane;
    try {
      return await lane.reads.run(async () => {
        // Called off while it waited for its turn.
        signal.throwIfAborted();
        return use(await this.#openFolder(lane, path, since));
      });
    } finally {
      lane.readers -= 1;
    }
  }

  async fetchBody(ref: FolderRef, uid: number, sink: BodySink, priority?: 'background'): Promise<void> {
    if (priority === 'background') {
      return this.#freest().run('bulk', (session) => fetchBody(session, ref, uid, sink));
    }
    const lane = this.#bodyLane();
    let begun = false;
    const job = (session: ReaderSession): Promise<void> => {
      begun = true;
      return fetchBody(session, ref, uid, sink);
    };
    try {
      await lane.run('body', job);
    } catch (error) {
      // A server that takes no further connection still serves bodies on one that stands.
      const other = this.#bulk.find((each) => each !== lane && each.connected);
      if (begun || other === undefined || !isMergeboxError(error, 'connection')) throw error;
      await other.run('body', job);
    }
  }

  fetchPart(ref: FolderRef, uid: number, wanted: PartWanted): Promise<Buffer | null> {
    return this.#bodyLane().run('body', (session) => fetchPart(session, ref, uid, wanted));
  }

  async storeFlags(
    ref: FolderRef,
    uids: readonly number[],
    change: FlagChange,
    authorised?: Authorisation,
  ): Promise<void> {
    if (uids.length === 0) return;
    if (authorised !== undefined) this.#audit('store flags', ref.path, uids.length, authorised);
    await this.#changes.run(async (client) => {
      await mutations.storeFlags(client, ref, uids, change, authorised);
      this.#learnFlags(client);
    });
  }

  copy(ref: FolderRef, uids: readonly number[], target: string): Promise<CopyUids | null> {
    if (uids.length === 0) return Promise.resolve(null);
    return this.#changes.run((client) => mutations.copyMessages(client, ref, uids, target));
  }

  move(ref: FolderRef, uids: readonly number[], target: string, authorised: Authorisation): Promise<CopyUids | null> {
    if (uids.length === 0) return Promise.resolve(null);
    this.#audit('move', ref.path, uids.length, authorised);
    return this.#changes.run((client) => mutations.moveMessages(client, ref, uids, target, authorised));
  }

  async expunge(ref: FolderRef, uids: readonly number[], authorised: Authorisation): Promise<void> {
    if (uids.length === 0) return;
    this.#audit('expunge', ref.path, uids.length, authorised);
    await this.#changes.run((client) => mutations.expungeMessages(client, ref, uids, authorised));
  }

  append(path: string, message: UpstreamAppend): Promise<{ uidValidity: number; uid: number } | null> {
    return this.#changes.run((client) => mutations.appendMessage(client, path, message));
  }

  createFolder(path: string, role: Role | null): Promise<void> {
    return this.#changes.run((client) => mutations.createFolder(client, path, role));
  }

  deleteFolder(path: string, authorised: Authorisation): Promise<void> {
    this.#audit('delete folder', path, 0, authorised);
    return this.#changes.run((client) => mutations.deleteFolder(client, path, authorised));
  }

  renameFolder(from: string, to: string): Promise<void> {
    return this.#changes.run((client) => mutations.renameFolder(client, from, to));
  }

  subscribe(path: string, subscribed: boolean): Promise<void> {
    return this.#changes.run((client) => mutations.subscribeFolder(client, path, subscribed));
  }

  quota(): Promise<readonly UpstreamQuota[]> {
    return this.#changes.run(fetchQuotas);
  }

  watch(path: string, onEvent: () => void, onLost: (error: Error) => void): Promise<() => void> {
    return this.#changes.watch(path, onEvent, onLost);
  }

  async disconnect(): Promise<void> {
    this.#changes.disconnect();
    for (const lane of new Set([...this.#bulk, this.#bodies])) lane.disconnect();
  }

  async #openFolder(lane: ReaderLane, path: string, since: FolderCursor | null): Promise<FolderReader> {
    return lane.run('bulk', async (session) => {
      const opened = await session.examine(path, since);
      const flagsOffered = opened.flagsOffered ?? this.#permanentFlags.get(path) ?? null;
      return new LaneFolderReader(lane, session, path, { ...opened, flagsOffered });
    });
  }

  /** Without it nothing goes out: where the server has too many, a reader that rests makes room. */
  async #openChanges(signal: AbortSignal): Promise<MutateClient> {
    const open = (): Promise<MutateClient> => MutateClient.open(this.#account, this.#timing, this.#log, signal);
    try {
      return await open();
    } catch (error) {
      if (!isTooManyConnections(error)) throw error;
      const resting = [this.#bodies, ...this.#bulk].find((lane) => lane.connected && lane.load + lane.readers === 0);
      if (resting === undefined) throw error;
      resting.disconnect();
      return open();
    }
  }

  async #openReader(signal: AbortSignal): Promise<ReaderSession> {
    const { endpoint, auth } = this.#account;
    const socket = await connectSocket({ endpoint, startTls: imapStartTls, timing: this.#timing, signal });
    const abort = (): void => void socket.destroy();
    signal.addEventListener('abort', abort, { once: true });
    try {
      const greeted = endpoint.tls === 'starttls';
      const { connection, capabilities } = await loginReader(socket, auth, greeted, this.#timing.silenceMs);
      return new ReaderSession(connection, capabilities);
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Runs `use` on the freest lane, or on one that stands where the server takes no further connection. */
  async #onFreest<T>(use: (lane: ReaderLane) => Promise<T>): Promise<T> {
    const lane = this.#freest();
    try {
      return await use(lane);
    } catch (error) {
      // Only a lane that was refused its connection is barred: nothing has been done on it.
      const other = [...this.#bulk, this.#bodies].find((each) => each.connected);
      if (!lane.barred || !isTooManyConnections(error) || other === undefined) throw error;
      return use(other);
    }
  }

  /** The lane for pulls with the least to do; that of bodies where the server takes no other. */
  #freest(): ReaderLane {
    const open = this.#bulk.filter((lane) => !lane.barred);
    if (open.length === 0 && !this.#bodies.barred) return this.#bodies;
    const lanes = open.length === 0 ? this.#bulk : open;
    return lanes.reduce((best, lane) => (lane.readers + lane.load < best.readers + best.load ? lane : best));
  }

  /** The lane kept for bodies, or one that is connected and has nothing to do when that is taken. */
  #bodyLane(): ReaderLane {
    const connected = this.#bulk.filter((lane) => lane.connected);
    if (this.#bodies.barred && connected.length > 0) return connected[0]!;
    if (this.#bodies.load === 0) return this.#bodies;
    return connected.find((lane) => lane.load === 0 && lane.readers === 0) ?? this.#bodies;
  }

  #learnFlags(client: MutateClient): void {
    const { selected } = client;
    if (selected?.permanentFlags === undefined) return;
    this.#permanentFlags.set(selected.path, [...selected.permanentFlags]);
  }

  /** Destruction leaves a trace beside the durable record that authorises it. */
  #audit(what: string, path: string, messages: number, { actions, reason }: Authorisation): void {
    this.#log.info({ what, path, messages, actions, reason }, 'authorised change upstream');
  }
}
