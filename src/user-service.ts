import { mkdir, open, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import type { AccountStatus, RefusedAction } from './admin/status.js';
import { openFound } from './auto-accounts.js';
import { BodyCache, type MemoryCache } from './cache/body-cache.js';
import { OfflineBodies } from './cache/offline-bodies.js';
import { PinnedFiles } from './cache/pinned-files.js';
import type { AccountConfig, Config, UserConfig } from './config/config.js';
import { sinceSeconds, windowAt } from './mail/window.js';
import { Bodies } from './mailbox/bodies.js';
import type { MailContext } from './mailbox/context.js';
import { Listings } from './mailbox/listings.js';
import { OutgoingMail } from './mailbox/outgoing.js';
import { PinnedSweeper } from './mailbox/pinned-sweeper.js';
import { Rescued, setPinnedAside } from './mailbox/rescued.js';
import { UserMail } from './mailbox/user-mail.js';
import { openAccounts } from './store/accounts.js';
import { actionCounts, actionErrors } from './store/actions.js';
import { openMergedMailboxes } from './store/mailboxes.js';
import { pinnedFiles } from './store/messages.js';
import { assignThreads } from './store/objects.js';
import { dropParked, onlyCopy, type ParkedAction, parkedAction, parkedActions, retryParked } from './store/parked.js';
import { Pop3Book } from './store/pop3-book.js';
import { LocalShelf } from './store/shelf.js';
import { finishRebuild } from './store/set-aside.js';
import { Store } from './store/store.js';
import { CheckedBodies } from './sync/checked-body.js';
import type { SyncContext } from './sync/context.js';
import type { Prefetch } from './sync/prefetch-types.js';
import type { AccountEngine } from './sync/engine.js';
import { UserSync } from './sync/user-sync.js';
import { createImapUpstream } from './upstream/imap.js';
import { LateUpstream } from './upstream/late.js';
import { LocalUpstream } from './upstream/local.js';
import { Pop3Upstream } from './upstream/pop3/upstream.js';
import type { Upstream } from './upstream/port.js';
import { MergeboxError } from './util/errors.js';
import type { Log } from './util/log.js';
import { KeyedMutex } from './util/mutex.js';
import { Quiet } from './util/quiet.js';

/** Bodies are fetched ahead when no client has asked for one for so long. */
const QUIET_MS = 250;

/** Refused actions that the status shows of an account. */
const SHOWN = 100;

/** Between two looks at folders in which nothing happens that was not done here. */
const LOCAL_POLL_SECONDS = 3_600;

/** Everything that runs for one user: store, caches, accounts. Nothing in it can reach another user's. */
export class UserService {
  readonly name: string;
  readonly sync: UserSync;
  /** What sending mail does in the mailboxes. */
  readonly outgoing: OutgoingMail;
  /** Where all that is this user's is kept. */
  readonly dir: string;
  readonly #store: Store;
  readonly #context: MailContext;
  readonly #listings: Listings;
  /** Sessions so far. */
  #sessions = 0;
  readonly #sweeper: PinnedSweeper;
  readonly #rescued: Rescued;

  private constructor(
    dir: string,
    store: Store,
    context: MailContext,
    sync: UserSync,
    sweeper: PinnedSweeper,
    log: Log,
  ) {
    this.name = context.user;
    this.dir = dir;
    this.sync = sync;
    this.outgoing = new OutgoingMail(context);
    this.#store = store;
    this.#context = context;
    this.#listings = new Listings(store, context.book);
    this.#sweeper = sweeper;
    this.#rescued = new Rescued(context, dir, log);
  }

  static async open(config: Config, user: UserConfig, memory: MemoryCache, log: Log): Promise<UserService> {
    const dir = path.join(config.dataDir, 'users', encodeURIComponent(user.name));
    const aside = await finishRebuild(dir);
    if (aside !== null) log.warn({ user: user.name, aside }, 'a rebuilt database takes the place of a damaged one');
    const store = await Store.open(dir);
    await setPinnedAside(store, dir);
    const book = await openAccounts(
      store,
      user.accounts.map((account) => policyOf(user, account)),
    );
    await openMergedMailboxes(store);
    // Mail of a database that is older than threads gets them behind everything else.
    assignThreads(store).catch((error: unknown) => {
      log.warn({ err: error, user: user.name }, 'threads were not assigned');
    });
    const pinned = await PinnedFiles.open(path.join(dir, 'pinned'));
    await pinned.sweep((names) => store.read((tx) => pinnedFiles(tx, names)));
    const sweeper = new PinnedSweeper(pinned, store);
    const offline = await openOffline(dir, store.id, config.limits.offlineBytes);
    const cache = await openCache(dir, store.id, user.name, memory, config.limits.diskCacheBytes, offline);
    const quiet = new Quiet(QUIET_MS);
    const upstreams = new Map<number, Upstream>();
    const checked = new CheckedBodies({ store, book, dedupe: user.dedupe, log: log.child({ user: user.name }) });
    const bodies = new Bodies(
      store,
      cache,
      pinned,
      async (place, sink) => {
        const upstream = upstreams.get(place.accountId);
        if (!upstream) throw new MergeboxError('unavailable', 'the account is not running');
        await quiet.during(() => checked.fetch(upstream, place, sink));
      },
      async (place, wanted) => {
        const ref = { path: place.path, uidValidity: place.uidValidity };
        const upstream = upstreams.get(place.accountId);
        return quiet.during(async () => (await upstream?.fetchPart?.(ref, place.uid, wanted)) ?? null);
      },
    );
    const contexts = book.all().map((policy): SyncContext => {
      const account = user.accounts.find(({ id }) => id === policy.name);
      const accountLog = log.child({ user: user.name, account: policy.name });
      if (!account) accountLog.warn('not configured any more: its mail, which is only here, stays as a local account');
      const upstream = upstreamOf(account, {
        store,
        pinned,
        accountId: policy.id,
        log: accountLog,
        config,
        user: user.name,
      });
      upstreams.set(policy.id, upstream);
      return {
        account: policy,
        pollSeconds: account?.pollSeconds ?? LOCAL_POLL_SECONDS,
        book,
        store,
        upstream,
        log: accountLog,
        dedupe: user.dedupe,
        folderLock: new KeyedMutex(),
        loadBytes: (messageId) => bodies.bytes(messageId),
        keep: (bytes, use, note) =>
          pinned.lease(async (lease) => {
            const name = await lease.add(bytes);
            if (note !== undefined) await lease.note(name, note);
            await lease.settle();
            return use(name);
          }),
        released: (sha256) => sweeper.release(sha256),
        guard: { share: config.limits.holdShare, count: config.limits.holdCount },
        ...selectionOf(account),
        ...prefetchOf(account, config.limits.prefetchBytesPerSecond, {
          fetch: (place, sink) => checked.fetch(upstream, place, sink, 'background'),
          bodies: offline,
          cached: (id) => bodies.atHand(id),
          quiet,
        }),
      };
    });
    const sync = new UserSync(store, book, contexts, { log, firstSyncSeconds: config.limits.firstSyncSeconds });
    const context: MailContext = {
      user: user.name,
      store,
      book,
      bodies,
      pinned,
      dedupe: user.dedupe,
      maxMessageBytes: config.limits.messageBytes,
    };
    return new UserService(dir, store, context, sync, sweeper, log);
  }

  /** Syncing begins; what a lost database left behind is put back as soon as the accounts' folders are known. */
  async start(): Promise<void> {
    await this.sync.start();
    void this.sync.whenOpened().then(() => this.putBack().catch(() => undefined));
  }

  /** How many mails of a lost database were put back just now; their upload is owed. */
  putBack(): Promise<number> {
    return this.#rescued.putBack();
  }

  /** A session of a client at the address `peer`. */
  session(peer: string): UserMail {
    this.#sessions += 1;
    return new UserMail({ ...this.#context, session: `session ${this.#sessions} from ${peer}` }, this.#listings);
  }

  /** Believes the deletions that the mass-deletion guard holds. */
  release(engine: AccountEngine): Promise<void> {
    return engine.release();
  }

  /** Tries the account's refused actions again, or one of them. Rejects with `nonexistent` for one that is not there. */
  async retry(engine: AccountEngine, action: number | null): Promise<void> {
    await this.#store.write((tx) => retryParked(tx, this.#context.book, engine.accountId, action));
  }

  /**
   * Gives a refused action up. Mail of which it held the only copy is written to a file first, whose path is returned.
   * Rejects with `nonexistent` and `cannot`.
   */
  async drop(engine: AccountEngine, action: number): Promise<string | null> {
    const { row, message } = await this.#store.read(async (tx) => {
      const row = await parkedAction(tx, engine.accountId, action);
      return { row, message: await onlyCopy(tx, row) };
    });
    const saved = message === null ? null : await this.#saveDropped(row.id, message);
    await this.#store.write(async (tx) =>
      dropParked(tx, this.#context.book, await parkedAction(tx, engine.accountId, action)),
    );
    return saved;
  }

  async #saveDropped(action: number, messageId: number): Promise<string> {
    const dir = path.join(this.dir, 'dropped');
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, `${action}.eml`);
    const handle = await open(file, 'w', 0o600);
    try {
      await handle.writeFile(await this.#context.bodies.bytes(messageId));
      await handle.sync();
    } finally {
      await handle.close();
    }
    return file;
  }

  async status(): Promise<AccountStatus[]> {
    const { counts, errors, sizes, parked } = await this.#store.read(async (tx) => ({
      parked: new Map(
        await Promise.all(
          this.sync.engines.map(
            async ({ accountId }) => [accountId, await parkedActions(tx, accountId, SHOWN)] as const,
          ),
        ),
      ),
      counts: await actionCounts(tx),
      errors: await actionErrors(tx),
      sizes: await tx.all<{ account_id: number; folders: number; messages: number }>(
        `SELECT account_id, COUNT(*) AS folders,
           SUM((SELECT COUNT(*) FROM copy WHERE copy.folder_id = folder.id AND state <> 'doomed')) AS messages
         FROM folder GROUP BY account_id`,
      ),
    }));
    return this.sync.engines.map((engine) => {
      const state = engine.status();
      const size = sizes.find((row) => row.account_id === engine.accountId);
      return {
        user: this.name,
        account: engine.name,
        ...state,
        lastError: state.lastError ?? errors.get(engine.accountId) ?? null,
        pending: counts.get(engine.accountId)?.pending ?? 0,
        parked: counts.get(engine.accountId)?.parked ?? 0,
        refused: (parked.get(engine.accountId) ?? []).map((action) => refusedAction(this.name, engine.name, action)),
        folders: size?.folders ?? 0,
        messages: size?.messages ?? 0,
      };
    });
  }

  async close(): Promise<void> {
    await this.sync.stop();
    await this.#rescued.close();
    await this.#sweeper.close();
    this.#listings.close();
    await this.#context.bodies.settle();
    await this.#store.close();
  }
}

function refusedAction(user: string, account: string, action: ParkedAction): RefusedAction {
  const { created, ...shown } = action;
  const args = `${account} ${action.id} --user ${user}`;
  return {
    ...shown,
    since: new Date(created * 1_000).toISOString(),
    retry: `mergebox retry ${args}`,
    drop: `mergebox drop ${args}`,
  };
}

function upstreamOf(
  account: AccountConfig | undefined,
  {
    store,
    pinned,
    accountId,
    log,
    config,
    user,
  }: { store: Store; pinned: PinnedFiles; accountId: number; log: Log; config: Config; user: string },
): Upstream {
  if (account?.protocol === 'imap') return createImapUpstream({ account, log });
  if (account?.protocol === 'auto') return new LateUpstream(() => openFound(config, user, account, log));
  const shelf = new LocalShelf(store, accountId);
  if (account?.protocol !== 'pop3') return new LocalUpstream(shelf, pinned);
  return new Pop3Upstream({ account, shelf, files: pinned, book: new Pop3Book(store, accountId), log });
}

/** What of the account is synced; POP3 and local mail lives here and is shown whole. */
function selectionOf(account: AccountConfig | undefined): Pick<SyncContext, 'window' | 'choice'> {
  if (account?.protocol !== 'imap') return {};
  const { include, exclude, since, maxMessages } = account;
  return { choice: { include, exclude }, window: () => windowAt(since, maxMessages, Math.floor(Date.now() / 1000)) };
}

/** POP3 and local mail is here anyway. */
function prefetchOf(
  account: AccountConfig | undefined,
  bytesPerSecond: number,
  parts: Pick<Prefetch, 'bodies' | 'cached' | 'fetch' | 'quiet'>,
): Pick<SyncContext, 'prefetch'> {
  if (account?.protocol !== 'imap' || account.bodies === 'on-demand') return {};
  const { bodies: policy, bodyMaxBytes: maxBytes } = account;
  const since = (): number | null =>
    policy === 'all' ? null : sinceSeconds(policy.slice('recent:'.length), Math.floor(Date.now() / 1000));
  return { prefetch: { ...parts, policy, bytesPerSecond, wish: () => ({ since: since(), maxBytes }) } };
}

function policyOf(user: UserConfig, account: AccountConfig) {
  return {
    name: account.id,
    authority: account.authority,
    onUpstreamDelete: account.onUpstreamDelete,
    addresses: account.addresses.map((address) => address.toLowerCase()),
    folders: Object.fromEntries(Object.entries(account.folders).filter(([, folder]) => folder !== undefined)),
    isDefault: account.id === user.defaultAccount,
    local: account.protocol === 'pop3' || account.protocol === 'local',
  };
}

/** The disk cache names bodies by row ids, so it belongs to one database; what another one left is removed. */
async function openCache(
  dir: string,
  storeId: string,
  user: string,
  memory: MemoryCache,
  bytes: number,
  offline: OfflineBodies,
): Promise<BodyCache> {
  return BodyCache.open(
    `${user}/${storeId}`,
    await ownDirectory(path.join(dir, 'cache'), storeId),
    memory,
    bytes,
    offline,
  );
}

async function openOffline(dir: string, storeId: string, bytes: number): Promise<OfflineBodies> {
  return OfflineBodies.open(await ownDirectory(path.join(dir, 'offline'), storeId), bytes);
}

async function ownDirectory(root: string, storeId: string): Promise<string> {
  for (const name of await readdir(root).catch(() => [])) {
    if (name !== storeId) await rm(path.join(root, name), { recursive: true, force: true });
  }
  return path.join(root, storeId);
}
