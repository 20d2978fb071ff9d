import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Test } from 'tap';
import { BodyCache, MemoryCache } from '../../../src/cache/body-cache.js';
import { PinnedFiles } from '../../../src/cache/pinned-files.js';
import { Bodies } from '../../../src/mailbox/bodies.js';
import type { MailContext } from '../../../src/mailbox/context.js';
import { Listings } from '../../../src/mailbox/listings.js';
import type { SelectedMailbox } from '../../../src/mailbox/selected.js';
import { UserMail } from '../../../src/mailbox/user-mail.js';
import type { AccountBook, AccountPolicy } from '../../../src/store/account-book.js';
import { openAccounts } from '../../../src/store/accounts.js';
import { actionCounts } from '../../../src/store/actions.js';
import { openMergedMailboxes } from '../../../src/store/mailboxes.js';
import { pinnedFiles } from '../../../src/store/messages.js';
import { Store } from '../../../src/store/store.js';
import { CheckedBodies } from '../../../src/sync/checked-body.js';
import type { SyncContext } from '../../../src/sync/context.js';
import { UserSync } from '../../../src/sync/user-sync.js';
import { MergeboxError } from '../../../src/util/errors.js';
import { silentLog } from '../../../src/util/log.js';
import { KeyedMutex } from '../../../src/util/mutex.js';
import { checkInvariants, counters, fallenCounters } from '../../harness/invariants.js';
import { type FakeServer, subjectOf } from './fake-server.js';
import { FakeUpstream } from './fake-upstream.js';

export interface WorldOptions {
  readonly policies?: Readonly<Record<string, Partial<AccountPolicy>>>;
  readonly dedupe?: 'content' | 'messageId' | 'off';
  readonly guard?: { readonly share: number; readonly count: number };
  /** What of an account is synced. */
  readonly selection?: Readonly<Record<string, Pick<SyncContext, 'window' | 'choice' | 'prefetch'>>>;
}

export type Servers = Readonly<Record<string, FakeServer>>;

/** A user with all but sockets: the store on disk, the mailboxes on one side, engines over fake servers on the other. */
export class MailWorld {
  readonly dir: string;
  readonly servers: Servers;
  readonly store: Store;
  readonly book: AccountBook;
  readonly context: MailContext;
  readonly pinned: PinnedFiles;
  readonly mail: UserMail;
  readonly sync: UserSync;
  readonly upstreams: Readonly<Record<string, FakeUpstream>>;
  readonly #listings: Listings;
  readonly #counters: Awaited<ReturnType<typeof counters>>;
  #over = false;

  private constructor(parts: {
    dir: string;
    servers: Servers;
    context: MailContext;
    sync: UserSync;
    upstreams: Readonly<Record<string, FakeUpstream>>;
    counters: Awaited<ReturnType<typeof counters>>;
  }) {
    this.dir = parts.dir;
    this.servers = parts.servers;
    this.context = parts.context;
    this.store = parts.context.store;
    this.book = parts.context.book;
    this.pinned = parts.context.pinned;
    this.sync = parts.sync;
    this.upstreams = parts.upstreams;
    this.#counters = parts.counters;
    this.#listings = new Listings(this.store, this.book);
    this.mail = new UserMail(this.context, this.#listings);
  }

  /** Opens the store in `dir`; nothing is synced before `start`. */
  static async open(dir: string, servers: Servers, options: WorldOptions = {}): Promise<MailWorld> {
    const store = await Store.open(dir);
    const names = Object.keys(servers);
    const policies = names.map((name, index) => ({
      name,
      authority: 'both' as const,
      onUpstreamDelete: 'trash' as const,
      addresses: [`alice@${name}.example`],
      folders: {},
      isDefault: index === 0,
      ...options.policies?.[name],
    }));
    const book = await openAccounts(store, policies);
    await openMergedMailboxes(store);
    const pinned = await PinnedFiles.open(path.join(dir, 'pinned'));
    await pinned.sweep(() => store.read(pinnedFiles));
    // No room to keep a body: what nobody holds any more must not be saved by a cache.
    const cache = await BodyCache.open('alice', path.join(dir, 'cache', store.id), new MemoryCache(0), 0);
    const upstreams = Object.fromEntries(names.map((name) => [name, new FakeUpstream(servers[name]!)]));
    const dedupe = options.dedupe ?? 'content';
    const checked = new CheckedBodies({ store, book, dedupe, log: silentLog() });
    const bodies = new Bodies(store, cache, pinned, async (place, sink) => {
      const upstream = upstreams[book.get(place.accountId).name];
      if (!upstream) throw new MergeboxError('unavailable', 'the account is not running');
      await checked.fetch(upstream, place, sink);
    });
    const context: MailContext = { user: 'alice', store, book, bodies, pinned, dedupe, maxMessageBytes: 1 << 24 };
    const contexts = names.map(
      (name): SyncContext => ({
        account: book.named(name)!,
        pollSeconds: 3_600,
        book,
        store,
        upstream: upstreams[name]!,
        log: silentLog(),
        dedupe,
        folderLock: new KeyedMutex(),
        loadBytes: (messageId) => bodies.bytes(messageId),
        released: () => undefined,
        keep: (bytes, use) => pinned.put(bytes, use),
        guard: options.guard ?? { share: 0.2, count: 20 },
        ...options.selection?.[name],
      }),
    );
    const sync = new UserSync(store, book, contexts, { log: silentLog(), firstSyncSeconds: 30 });
    return new MailWorld({ dir, servers, context, sync, upstreams, counters: await counters(store) });
  }

  async start(): Promise<void> {
    await this.sync.start();
  }

  /** Until nothing is owed to any account and further looks change nothing; failed tries are tried again at once. */
  async settle(timeoutMs = 10_000): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (let before = -1; ; before = this.mutations()) {
      for (const engine of this.sync.engines) {
        await this.store.write((tx) => tx.run('UPDATE action SET next_try = 0 WHERE next_try > 0'));
        await engine.settle(signal);
      }
      await this.sync.whenOpened();
      const counts = [...(await this.store.read(actionCounts)).values()];
      // What one account did may be what another waited for.
      if (counts.every(({ pending, parked }) => pending + parked === 0) && before === this.mutations()) return;
    }
  }

  /** kill -9: no server answers any more, what was asked of the database is on disk or not, everything is dropped. */
  async crash(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    for (const upstream of Object.values(this.upstreams)) upstream.step = () => new Promise(() => undefined);
    this.#listings.close();
    await this.store.close();
    // Only clears its timers: its loops hang where the servers left them.
    void this.sync.stop();
  }

  /** An orderly end, with the invariants checked. */
  async close(): Promise<void> {
    if (this.#over) return;
    this.#over = true;
    await this.sync.stop();
    this.#listings.close();
    try {
      await this.check();
    } finally {
      await this.store.close();
    }
  }

  async check(): Promise<void> {
    const files = new Set(await readdir(path.join(this.dir, 'pinned')));
    await checkInvariants(this.store, { book: this.book, pinned: files });
    const fallen = await fallenCounters(this.store, this.#counters);
    if (fallen.length > 0) throw new Error(fallen.join('\n'));
  }

  /** Runs `use` on an open mailbox. */
  async in<T>(name: string, use: (mailbox: SelectedMailbox) => Promise<T>): Promise<T> {
    const mailbox = await this.mail.open(name);
    try {
      return await use(mailbox);
    } finally {
      mailbox.close();
    }
  }

  /** The UIDs of the mails with this subject, ascending. */
  async uids(name: string, subject: string): Promise<number[]> {
    return (await this.entries(name)).filter((each) => each.subject === subject).map(({ uid }) => uid);
  }

  async uid(name: string, subject: string): Promise<number> {
    const [uid] = await this.uids(name, subject);
    if (uid === undefined) throw new Error(`test: no "${subject}" in ${name}`);
    return uid;
  }

  /** What a client sees in a mailbox, in UID order; `hash` is of the bytes it would be served. */
  async entries(name: string): Promise<{ uid: number; subject: string; flags: string; hash: string }[]> {
    return this.in(name, async (mailbox) => {
      const uids = [...mailbox.listing.uids.subarray(0, mailbox.listing.length)];
      const found: { uid: number; subject: string; flags: string; hash: string }[] = [];
      for (const uid of uids) {
        const body = await mailbox.body(uid);
        const bytes = await body.read(0, body.size);
        const flags = mailbox.listing.flags(mailbox.listing.indexOf(uid));
        found.push({ uid, subject: subjectOf(bytes), flags, hash: createHash('sha256').update(bytes).digest('hex') });
      }
      return found;
    });
  }

  /** Everything a client can see: `mailbox: subject [flags]`, sorted. */
  async view(options: { uids?: boolean } = {}): Promise<string[]> {
    const lines: string[] = [];
    for (const { name, selectable } of await this.mail.list()) {
      if (!selectable) continue;
      for (const { uid, subject, flags, hash } of await this.entries(name)) {
        lines.push(`${name}: ${options.uids ? `${uid} ` : ''}${subject} ${hash.slice(0, 6)} [${flags}]`);
      }
    }
    return lines.sort();
  }

  /** All rows but the counters that every look moves. */
  async dump(): Promise<string[]> {
    const tables = ['account', 'folder', 'message', 'mailbox', 'entry', 'copy', 'expunged', 'action', 'ledger'];
    return this.store.snapshot(async (tx) => {
      const rows: string[] = [];
      for (const table of tables) {
        for (const row of await tx.all(`SELECT * FROM ${table} ORDER BY 1, 2`)) {
          const text = JSON.stringify(row, (key, value) =>
            key === 'pulled' || value?.type === 'Buffer' ? undefined : value,
          );
          rows.push(`${table} ${text}`);
        }
      }
      return rows;
    });
  }

  mutations(): number {
    return Object.values(this.upstreams).reduce((sum, upstream) => sum + upstream.mutations.length, 0);
  }
}

/** A directory in memory where there is one: tests open many databases, and each commit is synced. */
export async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(path.join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'mergebox-test-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

/** A world that ends, with its invariants checked, at the end of the test. */
export async function openWorld(t: Test, servers: Servers, options: WorldOptions = {}): Promise<MailWorld> {
  const world = await MailWorld.open(await scratch(t), servers, options);
  t.teardown(() => world.close());
  await world.start();
  return world;
}

export async function copyDir(from: string, to: string): Promise<void> {
  await cp(from, to, { recursive: true });
}
