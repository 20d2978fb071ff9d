import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import { Handle, type SqlParams } from './driver.js';
import { requireHealth } from './health.js';
import { migrate } from './migrate.js';
import { damaged, StateFile } from './state-file.js';
import { whyUnwritable } from './unwritable.js';

/** Reads; inside a `write` they see its own changes. */
export interface ReadTx {
  all<T>(sql: string, params?: SqlParams): Promise<T[]>;
  get<T>(sql: string, params?: SqlParams): Promise<T | undefined>;
}

/** One unit of change: all of it is committed or none. Never await the network inside. */
export interface WriteTx extends ReadTx {
  /** The number of rows changed. */
  run(sql: string, params?: SqlParams): Promise<number>;
  /** The MODSEQ of everything this unit changes; above all earlier ones of the user. */
  readonly modSeq: number;
  /** A number above all earlier ones and not below the Unix time, for UIDVALIDITY (RFC 9051 §2.3.1.1). */
  nextUidValidity(): number;
  /** Declares that mailbox's view changed; its MODSEQ is raised and listeners hear of it after the commit. */
  touch(mailboxId: number): void;
  /** Declares that mailboxes came, went or were renamed, or that subscriptions changed. */
  touchNames(): void;
  /** Declares that actions were added for that account. */
  owe(accountId: number): void;
  /** Runs after the commit, before listeners. */
  afterCommit(task: () => void): void;
}

/** What a commit changed. */
export interface Committed {
  readonly mailboxes: ReadonlySet<number>;
  readonly accounts: ReadonlySet<number>;
  /** Whether mailboxes came, went or were renamed, or subscriptions changed. */
  readonly names: boolean;
}

interface Opened {
  readonly id: string;
  readonly writer: Handle;
  readonly readers: readonly Handle[];
  readonly state: StateFile;
  readonly modSeq: number;
  readonly uidValidity: number;
}

interface Job {
  readonly task: (tx: WriteTx) => Promise<unknown>;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** How many waiting writes may share one commit: bounds how long the first of them waits for the last. */
const GROUP = 64;
const READERS = 2;

/**
 * The database of one user: a single writer handle behind a queue that owns BEGIN…COMMIT and lets writes that wait
 * at the same time share one commit (and its fsync), and a few read-only handles. WAL, synchronous=FULL: a resolved
 * `write` is on disk.
 */
export class Store {
  /** Random, made with the database: what is derived from row ids is thrown away when it changes. */
  readonly id: string;
  readonly #writer: Handle;
  readonly #idleReaders: Handle[];
  readonly #readers: readonly Handle[];
  readonly #waitingReads: { take: (reader: Handle) => void; reject: (error: unknown) => void }[] = [];
  readonly #jobs: Job[] = [];
  readonly #listeners = new Set<(committed: Committed) => void>();
  readonly #state: StateFile;
  #damaged = false;
  #draining: Promise<void> | null = null;
  /** Called whenever no read is running. */
  #allIdle: () => void = () => undefined;
  #modSeq: number;
  #uidValidity: number;
  #commits = 0;
  #closed = false;

  private constructor({ id, writer, readers, state, modSeq, uidValidity }: Opened) {
    this.id = id;
    this.#writer = writer;
    this.#readers = readers;
    this.#idleReaders = [...readers];
    this.#state = state;
    this.#modSeq = modSeq;
    this.#uidValidity = uidValidity;
  }

  /** Opens or creates `mergebox.db` in `dir`. Throws `corrupt` for a damaged one, with what to do. */
  static async open(dir: string): Promise<Store> {
    await mkdir(dir, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw new MergeboxError('unavailable', `make the directory ${dir}: ${errorText(error)}`, { cause: error });
    });
    const file = path.join(dir, 'mergebox.db');
    const state = new StateFile(file);
    const explain = async (error: unknown): Promise<never> => {
      throw isMergeboxError(error, 'corrupt') ? error : ((await whyUnwritable(dir)) ?? error);
    };
    await requireHealth(file, state).catch(explain);
    const writer = await Handle.open(file, 'write').catch(explain);
    const readers: Handle[] = [];
    try {
      // Of a new file: small pages would hold one mail's envelope, structure and header and be a third empty.
      await writer.exec('PRAGMA page_size = 8192');
      await writer.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000');
      await writer.exec('PRAGMA foreign_keys = OFF; PRAGMA cache_size = -12000; PRAGMA temp_store = MEMORY');
      await migrate(writer);
      for (let i = 0; i < READERS; i += 1) {
        const reader = await Handle.open(file, 'read');
        readers.push(reader);
        await reader.exec('PRAGMA busy_timeout = 10000; PRAGMA cache_size = -4000');
      }
      await writer.run("INSERT INTO meta (key, value) VALUES ('storeId', ?) ON CONFLICT (key) DO NOTHING", [
        randomBytes(8).toString('hex'),
      ]);
      const meta = await writer.all<{ key: string; value: string }>('SELECT key, value FROM meta');
      const number = (key: string): number => Number(meta.find((row) => row.key === key)?.value ?? 1);
      const id = meta.find((row) => row.key === 'storeId')!.value;
      await state.opened();
      return new Store({ id, writer, readers, state, modSeq: number('modSeq'), uidValidity: number('uidValidity') });
    } catch (error) {
      await Promise.all([writer, ...readers].map((handle) => handle.close().catch(() => undefined)));
      if (isMergeboxError(error, 'corrupt') && error.cause !== undefined) throw damaged(file, error.message);
      return explain(error);
    }
  }

  /** Runs `task` on a read-only handle of its own; it sees the last commit as of each statement. */
  async read<T>(task: (tx: ReadTx) => Promise<T>): Promise<T> {
    if (this.#closed) throw new MergeboxError('unavailable', 'read database: it is closed');
    const reader =
      this.#idleReaders.pop() ??
      (await new Promise<Handle>((take, reject) => this.#waitingReads.push({ take, reject })));
    try {
      return await task(readTx(reader));
    } catch (error) {
      this.#notice(error);
      throw error;
    } finally {
      const next = this.#waitingReads.shift();
      if (next) next.take(reader);
      else this.#idleReaders.push(reader);
      if (this.#idleReaders.length === this.#readers.length) this.#allIdle();
    }
  }

  /** As `read`, but all statements of `task` see the same commit. */
  snapshot<T>(task: (tx: ReadTx) => Promise<T>): Promise<T> {
    return this.read(async (tx) => {
      await tx.all('BEGIN');
      try {
        return await task(tx);
      } finally {
        await tx.all('COMMIT');
      }
    });
  }

  /** Runs `task` as one unit; resolves once it is durable and its listeners were told. */
  write<T>(task: (tx: WriteTx) => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new MergeboxError('unavailable', 'write database: it is closed'));
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ task, resolve: resolve as (value: unknown) => void, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Calls `listener` after every commit that changed something, before the write resolves. */
  onCommit(listener: (committed: Committed) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Lets what is running come to its end and refuses everything else. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const refusal = new MergeboxError('unavailable', 'read database: it is closed');
    for (const { reject } of this.#waitingReads.splice(0)) reject(refusal);
    await this.#draining;
    if (this.#idleReaders.length < this.#readers.length) {
      await new Promise<void>((resolve) => {
        this.#allIdle = resolve;
      });
    }
    const written = await this.#checkpoint();
    await Promise.all(this.#readers.map((reader) => reader.close()));
    await this.#writer.close();
    // Without it the next start reads the file through, that is all.
    if (written) await this.#state.closed().catch(() => undefined);
  }

  /** Whether all is in the database file now and was readable so far; the state file knows of it. */
  async #checkpoint(): Promise<boolean> {
    try {
      const [result] = await this.#writer.all<{ busy: number }>('PRAGMA wal_checkpoint(TRUNCATE)');
      if (this.#damaged) await this.#state.damaged();
      else await this.#state.closing();
      return result?.busy === 0 && !this.#damaged;
    } catch {
      // A full disk, for one: what is in the log is found there again.
      return false;
    }
  }

  /** A damage that shows only when its page is read; the next start must not overlook it. */
  #notice(error: unknown): void {
    if (isMergeboxError(error, 'corrupt')) this.#damaged = true;
  }

  async #drain(): Promise<void> {
    // The caller that starts the queue may still be adding to it in this turn: let those share the first commit.
    await Promise.resolve();
    while (this.#jobs.length > 0) await this.#commitGroup();
    // In the turn that saw the queue empty, so that the next write starts it again.
    this.#draining = null;
  }

  /**
   * Every statement is a trip to another thread and back, so those that only frame the units travel together: what ends
   * a unit goes with what begins the next, or with the COMMIT.
   */
  async #commitGroup(): Promise<void> {
    const done: { job: Job; value: unknown }[] = [];
    const units: Unit[] = [];
    let frame = 'BEGIN IMMEDIATE; SAVEPOINT unit';
    for (let n = 0; n < GROUP && this.#jobs.length > 0; n += 1) {
      if (!(await this.#frame(frame, done))) return;
      const job = this.#jobs.shift()!;
      const unit = new Unit(this.#writer, this.#modSeq + 1, () => this.#nextUidValidity());
      try {
        const value = await job.task(unit);
        this.#modSeq += 1;
        done.push({ job, value });
        units.push(unit);
        frame = `${unit.ending()} RELEASE unit; SAVEPOINT unit`;
      } catch (error) {
        this.#notice(error);
        job.reject(error);
        frame = '';
        if (await this.#undoUnit()) continue;
        // SQLite itself ended the transaction (a full disk, a failing one): nothing of it is left.
        await this.#abandon(done, error);
        return;
      }
    }
    try {
      faultPoint('store.commit');
      await this.#writer.exec(`${units.at(-1)?.ending() ?? ''} ${this.#countersSaved()} COMMIT`);
      faultPoint('store.committed');
    } catch (error) {
      await this.#abandon(done, error);
      return;
    }
    this.#publish(units);
    for (const { job, value } of done) job.resolve(value);
  }

  async #frame(sql: string, done: readonly { job: Job }[]): Promise<boolean> {
    if (sql === '') return true;
    try {
      await this.#writer.exec(sql);
      return true;
    } catch (error) {
      await this.#abandon(done.length === 0 ? this.#jobs.splice(0).map((job) => ({ job })) : done, error);
      return false;
    }
  }

  /** Back to where the unit began; its savepoint serves the next one. */
  #undoUnit(): Promise<boolean> {
    return this.#writer.exec('ROLLBACK TO unit').then(
      () => true,
      () => false,
    );
  }

  async #abandon(done: readonly { job: Job }[], error: unknown): Promise<void> {
    await this.#writer.exec('ROLLBACK').catch(() => undefined);
    for (const { job } of done) job.reject(error);
  }

  #nextUidValidity(): number {
    this.#uidValidity = Math.max(this.#uidValidity + 1, Math.floor(Date.now() / 1000));
    return this.#uidValidity;
  }

  #countersSaved(): string {
    return `INSERT INTO meta (key, value) VALUES ('modSeq', '${this.#modSeq}'), ('uidValidity', '${this.#uidValidity}')
      ON CONFLICT (key) DO UPDATE SET value = excluded.value;`;
  }

  /** How many commits there were: what is read from now on shows them all. */
  get commits(): number {
    return this.#commits;
  }

  #publish(units: readonly Unit[]): void {
    this.#commits += 1;
    const mailboxes = new Set<number>();
    const accounts = new Set<number>();
    const names = units.some((unit) => unit.names);
    for (const unit of units) {
      for (const task of unit.tasks) task();
      for (const id of unit.mailboxes) mailboxes.add(id);
      for (const id of unit.accounts) accounts.add(id);
    }
    if (mailboxes.size === 0 && accounts.size === 0 && !names) return;
    for (const listener of this.#listeners) {
      try {
        listener({ mailboxes, accounts, names });
      } catch {
        // What was committed stays so, and the writes that wait are not this listener's.
      }
    }
  }
}

class Unit implements WriteTx {
  readonly modSeq: number;
  readonly mailboxes = new Set<number>();
  readonly accounts = new Set<number>();
  names = false;
  readonly tasks: (() => void)[] = [];
  readonly nextUidValidity: () => number;
  readonly #db: Handle;

  constructor(db: Handle, modSeq: number, nextUidValidity: () => number) {
    this.#db = db;
    this.modSeq = modSeq;
    this.nextUidValidity = nextUidValidity;
  }

  all<T>(sql: string, params?: SqlParams): Promise<T[]> {
    return this.#db.all<T>(sql, params);
  }

  async get<T>(sql: string, params?: SqlParams): Promise<T | undefined> {
    return (await this.#db.all<T>(sql, params))[0];
  }

  run(sql: string, params?: SqlParams): Promise<number> {
    return this.#db.run(sql, params);
  }

  touch(mailboxId: number): void {
    this.mailboxes.add(mailboxId);
  }

  touchNames(): void {
    this.names = true;
  }

  owe(accountId: number): void {
    this.accounts.add(accountId);
  }

  afterCommit(task: () => void): void {
    this.tasks.push(task);
  }

  /** SQL that the unit ends with. */
  ending(): string {
    if (this.mailboxes.size === 0) return '';
    return `UPDATE mailbox SET mod_seq = ${this.modSeq} WHERE id IN (${[...this.mailboxes].map(Number).join(',')});`;
  }
}

function readTx(handle: Handle): ReadTx {
  return {
    all: (sql, params) => handle.all(sql, params),
    get: async <T>(sql: string, params?: SqlParams) => (await handle.all<T>(sql, params))[0],
  };
}
