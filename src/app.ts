import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Admin, createAdmin } from './admin/admin.js';
import type { AccountRequest, SyncRequest } from './admin/request.js';
import { type AccountStatus, isHealthy, type StatusReport, type SyncReport } from './admin/status.js';
import { Authenticator } from './auth/authenticator.js';
import { MemoryCache } from './cache/body-cache.js';
import type { Config, UserConfig } from './config/config.js';
import type { Backend } from './imap/backend.js';
import { DEFAULT_LIMITS } from './imap/limits.js';
import { ImapServer } from './imap/server.js';
import { Outgoing, queueMetrics } from './outgoing.js';
import { answerQueue } from './queue-answer.js';
import { createSubmission, type Submission } from './submit/submission.js';
import { rebuildUser } from './rebuild-user.js';
import type { AccountEngine } from './sync/engine.js';
import { UserService } from './user-service.js';
import { ensureCertificate, fingerprint } from './util/certificate.js';
import { systemClock } from './util/clock.js';
import { errorText, isMergeboxError, MergeboxError } from './util/errors.js';
import type { Log } from './util/log.js';
import { Metrics } from './util/metrics.js';
import { VERSION } from './version.js';

/** One address that accepts connections, as the ready line reports it. */
export interface ListenerInfo {
  readonly service: 'imap' | 'submission' | 'admin';
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
}

/** What a client of such a user is told; the rest is for whoever runs Mergebox. */
const NOT_SERVED = 'The mail database of this user is damaged; whoever runs this server has to rebuild it';

/** The daemon: the only place that joins the parts. */
export class App {
  readonly #config: Config;
  readonly #log: Log;
  readonly #startedAt = new Date();
  readonly #metrics = new Metrics();
  readonly #authenticator: Authenticator;
  readonly #users = new Map<string, UserService>();
  readonly #outgoing = new Map<string, Outgoing>();
  /** Users whose database is damaged, and what to do about it. */
  readonly #refused = new Map<string, MergeboxError>();
  #memory = new MemoryCache(0);
  #queueMetrics: ReturnType<typeof queueMetrics> | null = null;
  #imap: ImapServer | null = null;
  #submission: Submission | null = null;
  #admin: Admin | null = null;
  #certificate: { cert: string; key: string } = { cert: '', key: '' };
  #ready = false;

  constructor(config: Config, log: Log) {
    this.#config = config;
    this.#log = log;
    const logins = this.#metrics.counter('mergebox_logins', 'Logins tried', ['result']);
    this.#authenticator = new Authenticator({
      users: config.users,
      clock: systemClock,
      onAttempt: ({ user, peer, ok }) => {
        logins.add(1, { result: ok ? 'ok' : 'refused' });
        // A name that is no user's may be a password that was typed in the wrong place.
        if (!ok) log.warn({ user: this.#users.has(user) ? user : '<unknown>', peer }, 'login refused');
      },
    });
  }

  /** Opens every user's store, then all listeners; resolves once they accept. Syncing goes on behind. */
  async start(): Promise<readonly ListenerInfo[]> {
    const { dataDir, users, limits } = this.#config;
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    // The socket of the admin service is also the lock that keeps a second daemon from this dataDir.
    this.#admin = this.#createAdmin();
    const admin = await this.#admin.start();
    this.#certificate = await this.#loadCertificate();
    this.#memory = new MemoryCache(limits.memoryCacheBytes);
    for (const user of users) {
      await this.#openUser(user);
    }
    const [refused] = this.#refused.values();
    if (refused !== undefined && this.#users.size === 0) throw refused;
    for (const service of this.#users.values()) await service.start();
    for (const user of users) if (this.#users.has(user.name)) await this.#openQueue(user);
    const imap = await this.#startImap();
    this.#submission = this.#createSubmission();
    const submission = await this.#submission.start();
    this.#observe();
    this.#ready = true;
    return [...imap, ...submission.map(({ service, host, port, tls }) => ({ service, host, port, tls })), admin];
  }

  /** Reads the certificate again; later handshakes use it. Throws and keeps the old one when it is unusable. */
  async reload(): Promise<void> {
    const before = this.#certificate;
    this.#certificate = await this.#loadCertificate();
    try {
      this.#imap?.reloadCertificate();
      this.#submission?.setCertificate(this.#certificate);
    } catch (error) {
      this.#certificate = before;
      throw error;
    }
  }

  /** Answers what is under way, then stops; everything owed upstream stays owed. */
  async close(): Promise<void> {
    this.#ready = false;
    await Promise.all([this.#imap?.close(), this.#submission?.close()]);
    await Promise.all([...this.#outgoing.values()].map((outgoing) => outgoing.close()));
    await Promise.all([...this.#users.values()].map((service) => service.close()));
    await this.#admin?.close();
  }

  async #startImap(): Promise<ListenerInfo[]> {
    const { imap, limits } = this.#config;
    const backend: Backend = {
      login: async (user, password, peer) => {
        if (!(await this.#authenticator.authenticate(user, password, peer))) return null;
        if (this.#refused.has(user)) throw new MergeboxError('corrupt', NOT_SERVED);
        return this.#user(user).session(peer);
      },
    };
    this.#imap = new ImapServer({
      backend,
      limits: {
        ...DEFAULT_LIMITS,
        messageBytes: limits.messageBytes,
        sessionsPerUser: limits.sessionsPerUser,
        sessionsPerAddress: limits.sessionsPerAddress,
        idleMs: limits.idleMinutes * 60_000,
      },
      log: this.#log.child({ part: 'imap' }),
      version: VERSION,
      now: () => systemClock.now(),
      certificate: () => this.#certificate,
    });
    const infos: ListenerInfo[] = [];
    for (const listener of imap.listeners) {
      infos.push({
        service: 'imap',
        ...(await this.#imap.listen({ host: listener.host, port: listener.port, tls: listener.tls })),
      });
    }
    return infos;
  }

  /** A user whose database is damaged is refused; the others are served. */
  async #openUser(user: UserConfig): Promise<void> {
    try {
      this.#users.set(user.name, await UserService.open(this.#config, user, this.#memory, this.#log));
      this.#refused.delete(user.name);
    } catch (error) {
      if (!isMergeboxError(error, 'corrupt')) throw error;
      this.#refused.set(user.name, error);
      this.#log.error({ user: user.name, err: error.message }, 'this user is not served');
    }
  }

  async #openQueue(user: UserConfig): Promise<void> {
    this.#queueMetrics ??= queueMetrics(this.#metrics);
    const parts = { log: this.#log.child({ part: 'queue' }), metrics: this.#queueMetrics };
    const outgoing = await Outgoing.open(this.#config, user, this.#user(user.name), parts);
    this.#outgoing.set(user.name, outgoing);
  }

  /** Builds a refused user's database anew and serves it from then on. */
  async #rebuild({ user: name }: { readonly user: string }): Promise<SyncReport> {
    const user = this.#config.users.find((each) => each.name === name);
    if (user === undefined) throw new MergeboxError('nonexistent', `no user "${name}"`);
    if (!this.#refused.has(name)) {
      throw new MergeboxError('cannot', `the database of "${name}" is in use; stop mergebox to rebuild it`);
    }
    const lines = await rebuildUser(this.#config, name);
    await this.#openUser(user);
    await this.#user(name).start();
    await this.#openQueue(user);
    return { ok: true, accounts: lines.map((result) => ({ user: name, account: '*', result })) };
  }

  #createSubmission(): Submission {
    const { submission, limits } = this.#config;
    return createSubmission({
      listeners: submission.listeners,
      hostname: submission.hostname,
      messageBytes: limits.messageBytes,
      waitMs: submission.waitSeconds * 1_000,
      submitter: (user) => this.#outgoing.get(user) ?? null,
      certificate: this.#certificate,
      authenticate: (user, password, peer) => this.#authenticator.authenticate(user, password, peer),
      clock: systemClock,
      log: this.#log.child({ part: 'submission' }),
      metrics: this.#metrics,
    });
  }

  #createAdmin(): Admin {
    const { admin, dataDir } = this.#config;
    return createAdmin({
      host: admin.host,
      port: admin.port,
      token: admin.token,
      dataDir,
      status: () => this.#status(),
      sync: (request, signal) => this.#sync(request, signal),
      release: (request) =>
        this.#forAccount(request, async (service, engine) => {
          await service.release(engine);
          return 'released';
        }),
      retry: (request) =>
        this.#forAccount(request, async (service, engine) => {
          await service.retry(engine, request.action);
          return 'trying again';
        }),
      drop: (request) =>
        this.#forAccount(request, async (service, engine) => {
          const saved = await service.drop(engine, request.action);
          return saved === null ? 'dropped' : `dropped; the mail was only here and is now in ${saved}`;
        }),
      rebuild: (request) => this.#rebuild(request),
      queue: (request) => answerQueue(new Map([...this.#outgoing].map(([name, { queue }]) => [name, queue])), request),
      ready: () => this.#ready,
      metrics: this.#metrics,
      log: this.#log.child({ part: 'admin' }),
    });
  }

  async #status(): Promise<StatusReport> {
    const served = (await Promise.all([...this.#users.values()].map((service) => service.status()))).flat();
    const accounts = [...served, ...this.#refusedStatus()];
    return {
      healthy: accounts.every(isHealthy),
      version: VERSION,
      startedAt: this.#startedAt.toISOString(),
      accounts,
      queue: await this.#queueCounts(),
    };
  }

  #refusedStatus(): AccountStatus[] {
    return [...this.#refused].flatMap(([user, error]) =>
      (this.#config.users.find(({ name }) => name === user)?.accounts ?? []).map(({ id }) => ({
        ...{ user, account: id, state: 'failed: damaged database' as const, lastSync: null, lastError: error.message },
        ...{ pending: 0, parked: 0, refused: [], folders: 0, messages: 0 },
      })),
    );
  }

  async #queueCounts(): Promise<StatusReport['queue']> {
    const counts = await Promise.all([...this.#outgoing.values()].map(({ queue }) => queue.counts()));
    return {
      waiting: counts.reduce((sum, { waiting }) => sum + waiting, 0),
      held: counts.reduce((sum, { held }) => sum + held, 0),
    };
  }

  async #sync(request: SyncRequest, signal: AbortSignal): Promise<SyncReport> {
    const services = request.user === undefined ? [...this.#users.values()] : [this.#user(request.user)];
    const deadline = AbortSignal.timeout(request.timeoutMs);
    const work = services.flatMap((service) =>
      service.sync.engines
        .filter((engine) => request.account === undefined || engine.name === request.account)
        .map((engine) => ({ service, engine })),
    );
    if (request.account !== undefined && work.length === 0) {
      throw new MergeboxError('nonexistent', `no account "${request.account}"`);
    }
    const accounts = await Promise.all(
      work.map(async ({ service, engine }) => {
        const head = { user: service.name, account: engine.name };
        if (!request.wait) {
          void engine.round().catch(() => undefined);
          return { ...head, result: 'started' };
        }
        try {
          const ended = AbortSignal.any([signal, deadline]);
          await engine.settle(ended);
          if (await this.#outgoing.get(service.name)?.settle(engine.name, ended)) await engine.settle(ended);
          await service.sync.whenOpened();
          if ((await service.putBack()) > 0) await engine.settle(ended);
          return { ...head, result: 'in sync' };
        } catch (error) {
          return { ...head, result: deadline.aborted ? 'timed out' : errorText(error) };
        }
      }),
    );
    const unserved = [...this.#refused]
      .filter(([user]) => request.user === undefined || request.user === user)
      .map(([user, error]) => ({ user, account: '*', result: error.message }));
    const all = [...accounts, ...unserved];
    return { ok: all.every(({ result }) => result === 'in sync' || result === 'started'), accounts: all };
  }

  async #forAccount(
    { user, account }: AccountRequest,
    run: (service: UserService, engine: AccountEngine) => Promise<string>,
  ): Promise<SyncReport> {
    const services = user === undefined ? [...this.#users.values()] : [this.#user(user)];
    const found = services.flatMap((service) =>
      service.sync.engines.filter((engine) => engine.name === account).map((engine) => ({ service, engine })),
    );
    if (found.length === 0) throw new MergeboxError('nonexistent', `no account "${account}"`);
    if (found.length > 1)
      throw new MergeboxError('cannot', `several users have an account "${account}": name one with --user`);
    const { service, engine } = found[0]!;
    const result = await run(service, engine);
    return { ok: true, accounts: [{ user: service.name, account, result }] };
  }

  #user(name: string): UserService {
    const service = this.#users.get(name);
    if (!service) throw this.#refused.get(name) ?? new MergeboxError('nonexistent', `no user "${name}"`);
    return service;
  }

  async #loadCertificate(): Promise<{ cert: string; key: string }> {
    const { tls, dataDir } = this.#config;
    if (tls) return { cert: await readFile(tls.cert, 'utf8'), key: await readFile(tls.key, 'utf8') };
    const own = await ensureCertificate(path.join(dataDir, 'certs'));
    this.#log.info({ fingerprint256: fingerprint(own.cert) }, 'using a self-signed certificate');
    return own;
  }

  #observe(): void {
    this.#metrics.observed(
      'mergebox_imap_connections',
      'IMAP connections of clients',
      () => this.#imap?.connections ?? 0,
    );
    this.#metrics.observed('process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss());
  }
}
