import path from 'node:path';
import { errorText, MergeboxError } from '../../util/errors.js';
import { faultPoint } from '../../util/fault.js';
import { Mutex } from '../../util/mutex.js';
import { Relay } from '../relay.js';
import type { Sender } from '../sender.js';
import type { RelayTarget } from '../types.js';
import { QueueDatabase, type QueueEntry } from './database.js';
import { Delivery, serverOf } from './delivery.js';
import { Duties, isOver } from './duties.js';
import { type Job, type JobResult, Lane } from './lane.js';
import { hasState, isOpen, type QueuedMail, wantsDelay } from './mail.js';
import { dueAt, expired, isDue, restingState } from './progress.js';
import type { NewMail, QueueOptions } from './options.js';
import { answer, handBack } from './outcome.js';
import { Sessions } from './sessions.js';
import { Spool, type SpoolFile } from './spool.js';
import { Ticket } from './ticket.js';
import { within } from './within.js';

/** Mails read at once at start. */
const PAGE = 2_000;
/** How often late mail is looked for. */
const LATE_EVERY_MS = 60_000;

/** What a new mail is sent from while its client waits. */
interface Fresh {
  readonly mail: QueuedMail;
  readonly bytes: Buffer | null;
}

interface Way {
  readonly lane: Lane;
  readonly sessions: Sessions;
  /** Why its server could not be used the last time. */
  error: string | null;
}

/** Outgoing mail of one user, from the moment it is promised to be sent until it is delivered, bounced or dropped. */
export class OutgoingQueue {
  readonly #options: QueueOptions;
  readonly #db: QueueDatabase;
  readonly #spool: Spool;
  readonly #duties: Duties;
  readonly #delivery: Delivery;
  readonly #ways = new Map<string, Way>();
  readonly #tickets = new Map<number, { readonly ticket: Ticket; readonly way: Way }>();
  readonly #late: NodeJS.Timeout;
  #lateRun: Promise<void> = Promise.resolve();
  /** Whatever takes a mail out of its lane or puts it back, besides the lane itself: two at once would have it there twice. */
  readonly #byHand = new Mutex();
  #closed = false;

  private constructor(options: QueueOptions, db: QueueDatabase, spool: Spool) {
    this.#options = options;
    this.#db = db;
    this.#spool = spool;
    const { host, clock, log, hostname, times, metrics } = options;
    this.#duties = new Duties({
      db,
      host,
      clock,
      log,
      hostname,
      giveUpMs: times.giveUpMs,
      content: (mail) => this.#content(mail),
      onNotFiled: () => metrics.notFiled(),
    });
    this.#delivery = new Delivery({
      db,
      host,
      duties: this.#duties,
      clock,
      log,
      times,
      onUnknown: () => metrics.unknown(),
      record: (mail) => this.#durably(() => this.#db.update(mail)),
    });
    this.#late = setInterval(
      () => {
        this.#lateRun = this.#lateRun.then(() => this.lookForLate());
      },
      Math.min(LATE_EVERY_MS, times.warnMs, times.giveUpMs),
    );
    this.#late.unref();
  }

  /** Opens the queue; nothing is sent before `start`. Throws `corrupt` for a damaged database. */
  static async open(options: QueueOptions): Promise<OutgoingQueue> {
    const db = await QueueDatabase.open(options.dir);
    try {
      return new OutgoingQueue(options, db, await Spool.open(path.join(options.dir, 'spool')));
    } catch (error) {
      await db.close();
      throw error;
    }
  }

  /** Schedules what waited when the process ended, and removes spool files that no mail refers to. */
  async start(): Promise<void> {
    const needed = new Set<string>();
    for (let after = 0; ; ) {
      const page = await this.#db.entries(after, PAGE);
      for (const entry of page) {
        if (entry.spool !== null) needed.add(entry.spool);
        if (entry.state !== 'held') this.#schedule(entry);
      }
      const last = page.at(-1);
      if (last === undefined) break;
      after = last.id;
    }
    await this.#spool.sweep(needed);
  }

  /** A file for the content of a mail that is coming in. */
  createFile(): Promise<SpoolFile> {
    return this.#spool.create();
  }

  /**
   * Takes responsibility for a mail: when it resolves, mail and envelope are on disk, and the first try is under way
   * unless the mail is for later. Rejects with `overquota` or `unavailable` when it could not be kept; then nothing is.
   */
  async accept(
    mail: NewMail,
    content: { readonly bytes: Buffer | null; readonly file: SpoolFile | null },
  ): Promise<Ticket> {
    const { releaseAt, ...given } = mail;
    const now = this.#options.clock.now();
    const queued: QueuedMail = {
      ...given,
      id: this.#db.takeId(),
      created: now,
      since: Math.max(now, releaseAt),
      nextTry: releaseAt,
      dutyAt: 0,
      state: 'waiting',
      attempts: 0,
      error: null,
      warned: false,
      filed: false,
      looks: 0,
      marked: false,
      reports: 0,
      repeated: false,
    };
    try {
      await content.file?.commit();
      await this.#db.insert(queued, content.bytes);
    } catch (error) {
      await content.file?.discard();
      throw error;
    }
    const way = this.#way(queued.account, queued.viaRelay);
    const ticket = new Ticket();
    const fresh: Fresh = { mail: queued, bytes: content.bytes };
    if (releaseAt > now) ticket.leave('to be sent later');
    else if (this.#when(queued) !== 'now') ticket.leave('to be sent when its account is in reach');
    else this.#tickets.set(queued.id, { ticket, way });
    const job = jobOf(queued, ticket.waiting ? fresh : null);
    // Behind a server that hangs or is down there may be any number of them: none keeps its content in memory then.
    void ticket.outcome.then(() => {
      job.fresh = null;
      this.#tickets.delete(queued.id);
    });
    way.lane.add(job);
    return ticket;
  }

  /** The account was synced, so its server can be reached. */
  synced(account: string): void {
    for (const [key, { lane }] of this.#ways) if (key === account || key === RELAY) lane.synced();
  }

  /** Whether mail of that account is being sent or settled this moment, or is about to be. */
  isBusy(account: string): boolean {
    return [...this.#ways].some(([key, { lane }]) => (key === account || key === RELAY) && lane.busy);
  }

  /** Files what waits for its copy in that account's Sent, as a sync is to leave nothing owed; whether there was any. */
  async settleAccount(account: string): Promise<boolean> {
    let any = false;
    for (let after = 0; ; ) {
      const page = await this.#db.page(after, 100, 'settling');
      for (const mail of page) {
        if (mail.account !== account) continue;
        any = true;
        await this.#byHand.run(() => this.#settleNow(mail));
      }
      const last = page.at(-1);
      if (last === undefined) return any;
      after = last.id;
    }
  }

  counts(): Promise<{ readonly waiting: number; readonly held: number }> {
    return this.#db.counts();
  }

  /** Mails in the order they came, above id `after`; see `QueueDatabase.listing`. */
  listing(after: number, limit: number): Promise<{ readonly json: string; readonly last: number | null }> {
    return this.#db.listing(after, limit);
  }

  /** Why servers could not be used the last time, by account or `the relay`. */
  obstacles(): ReadonlyMap<string, string> {
    return new Map([...this.#ways].flatMap(([key, { error }]) => (error === null ? [] : [[key, error] as const])));
  }

  async has(id: number): Promise<boolean> {
    return (await this.#db.get(id)) !== null;
  }

  /** Throws `nonexistent`. */
  async show(id: number): Promise<QueuedMail> {
    const mail = await this.#db.get(id);
    if (mail === null) throw new MergeboxError('nonexistent', `no mail ${id} in the queue`);
    return this.#withObstacle(mail);
  }

  /** Tries a mail now, a held one too; all that wait without `id`. Throws `nonexistent`. */
  async retry(id?: number): Promise<void> {
    if (id === undefined) {
      for (const { lane } of this.#ways.values()) lane.retry();
      return;
    }
    await this.#byHand.run(() => this.#retryOne(id));
  }

  async #retryOne(id: number): Promise<void> {
    const mail = await this.show(id);
    const { lane } = this.#way(mail.account, mail.viaRelay);
    if (mail.state !== 'held') {
      lane.retry(id);
      return;
    }
    // One that was held while an answer was missing is looked for first, as it would have been.
    const recipients = mail.recipients.map((each) =>
      each.state === 'sent' && mail.repeated ? { ...each, state: 'waiting' as const } : each,
    );
    const freed: QueuedMail = { ...mail, recipients, nextTry: 0, dutyAt: 0, since: this.#options.clock.now() };
    await this.#db.update({ ...freed, state: restingState(freed) });
    lane.add({ ...jobOf(freed, null), released: true });
  }

  /** Keeps a mail from being sent until `retry`. Throws `nonexistent`, or `unavailable` while it is being sent. */
  hold(id: number): Promise<void> {
    return this.#byHand.run(async () => {
      const mail = await this.#takeOut(id);
      await this.#db.update({ ...mail, state: 'held', error: 'held by hand' });
    });
  }

  /** Forgets a mail: it is not sent and nobody is told. Throws as `hold`. */
  async drop(id: number): Promise<void> {
    const mail = await this.#byHand.run(async () => {
      const found = await this.#takeOut(id);
      await this.#forget(found);
      return found;
    });
    this.#options.metrics.ended('dropped');
    this.#options.log.warn({ mail: id, account: mail.account }, 'a queued mail was dropped by hand');
  }

  /** Warns of mail that waits long, and gives up what waited too long. */
  async lookForLate(): Promise<void> {
    const { clock, times, log } = this.#options;
    const now = clock.now();
    for (const id of await this.#db.late(now - times.warnMs, now - times.giveUpMs).catch(() => [])) {
      if (this.#closed) return;
      await this.#byHand
        .run(() => this.#lateMail(id))
        .catch((error: unknown) => {
          log.error({ mail: id, error: errorText(error) }, 'a late mail could not be looked after');
        });
    }
  }

  /** Ends what is under way, then everything; what waits goes on at the next start. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#late);
    for (const { ticket } of this.#tickets.values()) ticket.leave('Mergebox is stopping');
    const over = Promise.all([...this.#ways.values()].map(({ lane }) => lane.close()));
    if (!(await within(over, GRACE_MS))) {
      for (const { sessions } of this.#ways.values()) sessions.abort();
      await within(over, ABORT_MS);
    }
    for (const { sessions } of this.#ways.values()) sessions.close();
    await within(this.#lateRun, ABORT_MS);
    await this.#db.close();
  }

  #schedule({ id, account, via_relay, sender, priority, next_try }: QueueEntry): void {
    const { lane } = this.#way(account, via_relay === 1);
    lane.add({ id, sender, priority, nextTry: next_try, ordered: false, gone: false, released: false, fresh: null });
  }

  #way(account: string, viaRelay: boolean): Way {
    const key = viaRelay ? RELAY : account;
    const known = this.#ways.get(key);
    if (known !== undefined) return known;
    const { clock, times, host, hostname, timeouts } = this.#options;
    const target = (): RelayTarget => {
      const found = this.#options.book().route(account, viaRelay)?.target;
      if (!found) throw new MergeboxError('unavailable', `account ${account} has no SMTP server any more`);
      return found;
    };
    const first = this.#options.book().route(account, viaRelay)?.target;
    const way: Way = {
      sessions: new Sessions(() => Relay.open(target(), hostname, timeouts)),
      error: null,
      lane: new Lane({
        run: (job) => this.#run(job, way),
        clock,
        width: first?.connections ?? CONNECTIONS,
        when: first?.when ?? 'now',
        // The relay's lane is everybody's, whichever account was the first to use it.
        reachable: () =>
          viaRelay ? this.#options.book().user.accounts.some(({ id }) => host.reachable(id)) : host.reachable(account),
        retryMs: Math.min(times.retryMs, DOWN_MS),
        onDown: () => this.#sendAway(way),
      }),
    };
    this.#ways.set(key, way);
    return way;
  }

  #when({ account, viaRelay }: Pick<QueuedMail, 'account' | 'viaRelay'>): 'now' | 'reachable' | 'sync' {
    return this.#options.book().route(account, viaRelay)?.target?.when ?? 'now';
  }

  /** Answers the clients whose mail has to wait for that server. */
  #sendAway(way: Way): void {
    for (const { ticket, way: own } of this.#tickets.values()) {
      if (own === way) ticket.leave(way.error ?? 'its server cannot be reached now');
    }
  }

  async #run(job: Job, way: Way): Promise<JobResult> {
    const fresh = job.fresh as Fresh | null;
    const ticket = this.#tickets.get(job.id)?.ticket ?? null;
    try {
      const mail = fresh?.mail ?? (await this.#db.get(job.id));
      if (mail === null || mail.state === 'held') return { kind: 'finished' };
      return await this.#work(mail, way, fresh, ticket, job.released);
    } catch (error) {
      const { log, clock, times } = this.#options;
      log.error({ mail: job.id, error: errorText(error) }, 'a queued mail could not be worked on');
      return { kind: 'again', at: clock.now() + Math.max(times.retryMs, 5_000) };
    } finally {
      this.#tickets.delete(job.id);
      ticket?.settle({ kind: 'queued', why: 'queued' });
    }
  }

  async #work(
    mail: QueuedMail,
    way: Way,
    fresh: Fresh | null,
    ticket: Ticket | null,
    released: boolean,
  ): Promise<JobResult> {
    const { clock, metrics } = this.#options;
    const route = this.#options.book().route(mail.account, mail.viaRelay);
    let current = mail;
    if (isOpen(current) && route === null) {
      const error = `account ${mail.account} is not configured to send any more`;
      return this.#record({ ...current, state: 'held', error }, route);
    }
    if (hasState(current, 'sent') && (released || isDue(current, clock)))
      current = await this.#delivery.resolve(current);
    const attempted = current.state !== 'held' && hasState(current, 'waiting') && !hasState(current, 'sent');
    if (attempted && (released || isDue(current, clock))) {
      const after = await this.#delivery.send(current, way.sessions, () => this.#blocks(current, fresh));
      if (!('id' in after)) {
        way.error = after.error;
        this.#options.log.warn({ account: mail.account, error: after.error }, 'sending is held up');
        if (current !== mail) await this.#db.update(current);
        return { kind: 'unreachable', patience: after.patience };
      }
      way.error = null;
      current = after;
      const verdict = handBack(current);
      if (verdict !== null && ticket?.claim()) {
        await this.#db.remove(current);
        await this.#removeFile(current);
        metrics.ended('refused');
        ticket.settle({ kind: 'refused', verdict });
        return { kind: 'finished' };
      }
    }
    if (ticket !== null) answer(ticket, current);
    return await this.#record(current, route);
  }

  /** Records what came of a mail, does what it owes, and forgets it when nothing is left. */
  async #record(mail: QueuedMail, route: Sender | null): Promise<JobResult> {
    let current = mail;
    if (current.state !== 'held') {
      current = { ...current, state: restingState(current) };
      if (this.#duties.owed(current, route) && this.#dutiesDue(current)) {
        await this.#durably(() => this.#db.update(current));
        faultPoint('queue.settling');
        current = await this.#duties.perform(current, route, serverOf(route));
        if (current.state !== 'held') current = { ...current, state: restingState(current) };
      }
    }
    if (isOver(current, this.#duties.owed(current, route))) {
      await this.#forget(current);
      this.#options.metrics.ended(hasState(current, 'delivered') ? 'delivered' : 'failed');
      return { kind: 'finished' };
    }
    await this.#durably(() => this.#db.update(current));
    return current.state === 'held' ? { kind: 'finished' } : { kind: 'again', at: dueAt(current) };
  }

  #dutiesDue({ dutyAt }: QueuedMail): boolean {
    return dutyAt <= this.#options.clock.now();
  }

  async #settleNow(mail: QueuedMail): Promise<void> {
    const { lane } = this.#way(mail.account, mail.viaRelay);
    if (!lane.remove(mail.id)) return;
    const route = this.#options.book().route(mail.account, mail.viaRelay);
    const current = (await this.#db.get(mail.id)) ?? null;
    if (current === null) return;
    const filed = await this.#duties.fileNow(current, route).catch(() => current);
    const result = await this.#record({ ...filed, dutyAt: 0 }, route);
    if (result.kind === 'again') lane.add({ ...jobOf(mail, null), nextTry: result.at });
  }

  async #lateMail(id: number): Promise<void> {
    const found = await this.#db.get(id);
    if (found === null || found.state !== 'waiting') return;
    const way = this.#way(found.account, found.viaRelay);
    if (!way.lane.remove(id)) return;
    const { clock, times } = this.#options;
    const route = this.#options.book().route(found.account, found.viaRelay);
    const mail = this.#withObstacle((await this.#db.get(id)) ?? found);
    let result: JobResult = { kind: 'again', at: dueAt(mail) };
    try {
      const ended = expired(mail, way.error, clock.now(), times);
      if (ended !== mail) result = await this.#record({ ...ended, dutyAt: 0 }, route);
      else {
        const about = mail.recipients.filter(wantsDelay);
        const warned = await this.#duties.warn(mail, about, serverOf(route));
        await this.#db.update({ ...warned, warned: true });
      }
    } finally {
      if (result.kind === 'again') way.lane.add({ ...jobOf(mail, null), nextTry: result.at });
    }
  }

  async #takeOut(id: number): Promise<QueuedMail> {
    const mail = await this.show(id);
    const { lane } = this.#way(mail.account, mail.viaRelay);
    if (!lane.remove(id)) {
      throw new MergeboxError('unavailable', `mail ${id} is being sent this moment: look again`);
    }
    return await this.show(id);
  }

  /** First the record, then the file: a crash in between leaves an orphan. */
  async #forget(mail: QueuedMail): Promise<void> {
    await this.#durably(() => this.#db.remove(mail));
    faultPoint('queue.forgotten');
    await this.#removeFile(mail);
  }

  async #removeFile({ envelope }: QueuedMail): Promise<void> {
    if (envelope.spool !== null) await this.#spool.remove(envelope.spool);
  }

  /**
   * What became of a mail is known here alone until it is recorded: while the disk is full it is tried again, since
   * to forget it would be to send the mail twice.
   */
  async #durably(write: () => Promise<void>): Promise<void> {
    const { log, clock } = this.#options;
    for (;;) {
      try {
        await write();
        return;
      } catch (error) {
        if (this.#closed) throw error;
        log.error({ error: errorText(error) }, 'what became of a mail cannot be recorded; trying again');
        await clock.sleep(RECORD_MS);
      }
    }
  }

  #blocks(mail: QueuedMail, fresh: Fresh | null): AsyncIterable<Buffer> | Iterable<Buffer> {
    return fresh?.bytes ? [fresh.bytes] : this.#content(mail);
  }

  async *#content({ id, envelope }: QueuedMail): AsyncGenerator<Buffer, void, void> {
    if (envelope.spool !== null) yield* this.#spool.read(envelope.spool);
    else yield await this.#db.bytes(id);
  }

  #withObstacle(mail: QueuedMail): QueuedMail {
    const error = this.#ways.get(mail.viaRelay ? RELAY : mail.account)?.error ?? null;
    return error === null || mail.state !== 'waiting' ? mail : { ...mail, error };
  }
}

/** Stands for the user's relay among the ids of accounts, none of which has a space. */
const RELAY = 'the relay';
/** How long closing waits for mail that is being sent, and for it to notice that its connection is gone. */
const GRACE_MS = 5_000;
const ABORT_MS = 2_000;
/** How long a record that cannot be written is waited with. */
const RECORD_MS = 2_000;
/** Sessions with one server. */
const CONNECTIONS = 8;
/** First wait for a server that cannot be reached. */
const DOWN_MS = 5_000;

function jobOf({ id, sender, priority, nextTry }: QueuedMail, fresh: Fresh | null): Job {
  return { id, sender, priority, nextTry, ordered: false, gone: false, released: false, fresh };
}
