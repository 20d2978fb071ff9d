import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { Handle, type SqlParams, type SqlValue } from '../../store/driver.js';
import { errorText, isMergeboxError, MergeboxError } from '../../util/errors.js';
import { faultPoint } from '../../util/fault.js';
import type { Envelope, MailState, QueuedMail, Recipient } from './mail.js';
import { QUEUE_SCHEMA } from './schema.js';

/** Writes of one commit at most: bounds how long the first of them waits for the last. */
const BATCH = 64;
/** How long the end of a mail waits for another write to share its commit with, in milliseconds. */
const COMPANY_MS = 5;

const FIXED = ['id', 'created', 'account', 'via_relay', 'sender', 'size', 'envelope', 'spool'] as const;
const CHANGING = [
  'state',
  'priority',
  'next_try',
  'since',
  'attempts',
  'error',
  'warned',
  'reports',
  'repeated',
  'recipients',
  'progress',
] as const;
const COLUMNS = [...FIXED, ...CHANGING].join(', ');
/** Rows come as one JSON text: a value each to bind would cost more than all the rest of a write. */
const INSERT = `INSERT INTO mail (${COLUMNS}) SELECT ${[...FIXED, ...CHANGING].map((_, n) => `value ->> ${n}`).join(', ')}
  FROM json_each(?)`;
const UPDATE = `UPDATE mail SET ${CHANGING.map((name, n) => `${name} = row.value ->> ${n + 1}`).join(', ')}
  FROM json_each(?) AS row WHERE mail.id = row.value ->> 0`;

/** What scheduling needs to know of a mail. */
export interface QueueEntry {
  readonly id: number;
  readonly account: string;
  readonly via_relay: number;
  readonly sender: string;
  readonly state: MailState;
  readonly priority: number;
  readonly next_try: number;
  readonly spool: string | null;
}

interface Row {
  readonly id: number;
  readonly created: number;
  readonly account: string;
  readonly via_relay: number;
  readonly sender: string;
  readonly state: MailState;
  readonly priority: number;
  readonly next_try: number;
  readonly since: number;
  readonly attempts: number;
  readonly error: string | null;
  readonly size: number;
  readonly warned: number;
  readonly reports: number;
  readonly repeated: number;
  readonly recipients: string;
  readonly envelope: string;
  readonly progress: string;
}

interface Write {
  readonly kind: 'insert' | 'update' | 'remove';
  readonly mail: QueuedMail;
  readonly bytes: Buffer | null;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The queue of one user on disk. Writes that wait at the same time share one transaction and its fsync, whatever they
 * are, and each kind is one statement: that is what mails arriving together cost less by. A resolved write is on disk.
 * The database is not that of the mailboxes: what is in it exists nowhere else.
 */
export class QueueDatabase {
  readonly #writer: Handle;
  readonly #reader: Handle;
  readonly #waiting: Write[] = [];
  #running: Promise<void> | null = null;
  readonly #reads = new Set<Promise<void>>();
  #nextId: number;
  #hurry: () => void = () => undefined;
  #closed = false;

  private constructor(writer: Handle, reader: Handle, nextId: number) {
    this.#writer = writer;
    this.#reader = reader;
    this.#nextId = nextId;
  }

  /** Opens or creates `queue.db` in `dir`. Throws `corrupt` for a damaged one, with what to do. */
  static async open(dir: string): Promise<QueueDatabase> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const file = path.join(dir, 'queue.db');
    const handles: Handle[] = [];
    try {
      const writer = await Handle.open(file, 'write');
      handles.push(writer);
      await writer.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000');
      await writer.exec('PRAGMA cache_size = -8000; PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY');
      await migrate(writer);
      const reader = await Handle.open(file, 'read');
      handles.push(reader);
      await reader.exec('PRAGMA busy_timeout = 10000; PRAGMA cache_size = -4000');
      const rows = await writer.all<{ id: number | null }>(
        "SELECT MAX(seq) AS id FROM sqlite_sequence WHERE name = 'mail'",
      );
      return new QueueDatabase(writer, reader, (rows[0]?.id ?? 0) + 1);
    } catch (error) {
      await Promise.all(handles.map((handle) => handle.close().catch(() => undefined)));
      if (isMergeboxError(error, 'corrupt')) throw damaged(file, error);
      throw error;
    }
  }

  /** Whether `dir` holds a queue at all. */
  static exists(dir: string): Promise<boolean> {
    return access(path.join(dir, 'queue.db')).then(
      () => true,
      () => false,
    );
  }

  /** An id that no mail ever had. */
  takeId(): number {
    this.#nextId += 1;
    return this.#nextId - 1;
  }

  /** Records a new mail; `bytes` is null when its content is a spool file that is on disk already. */
  insert(mail: QueuedMail, bytes: Buffer | null): Promise<void> {
    return this.#write('insert', mail, bytes);
  }

  /** Records what changed about a mail. */
  update(mail: QueuedMail): Promise<void> {
    return this.#write('update', mail, null);
  }

  /** Forgets a mail and its content in the database. */
  remove(mail: QueuedMail): Promise<void> {
    return this.#write('remove', mail, null);
  }

  async get(id: number): Promise<QueuedMail | null> {
    const rows = await this.#read<Row>(`SELECT ${COLUMNS} FROM mail WHERE id = ?`, [id]);
    return rows[0] === undefined ? null : mailOf(rows[0]);
  }

  /** The content of a mail that is kept here. Throws `corrupt` when it is not. */
  async bytes(id: number): Promise<Buffer> {
    const rows = await this.#read<{ bytes: Buffer }>('SELECT bytes FROM content WHERE mail_id = ?', [id]);
    if (rows[0] === undefined)
      throw new MergeboxError('corrupt', `reading queued mail ${id}: its content is not there`);
    return rows[0].bytes;
  }

  /** Mails with ids above `after` in their order, at most `limit`; only those in `state` when it is given. */
  async page(after: number, limit: number, state?: MailState): Promise<QueuedMail[]> {
    const where = state === undefined ? '' : ' AND state = ?';
    const params: SqlParams = state === undefined ? [after, limit] : [after, state, limit];
    return (await this.#read<Row>(`SELECT ${COLUMNS} FROM mail WHERE id > ?${where} ORDER BY id LIMIT ?`, params)).map(
      mailOf,
    );
  }

  /** As `page`, with what scheduling needs. */
  entries(after: number, limit: number): Promise<QueueEntry[]> {
    return this.#read<QueueEntry>(
      `SELECT id, account, via_relay, sender, state, priority, next_try, spool FROM mail WHERE id > ? ORDER BY id LIMIT ?`,
      [after, limit],
    );
  }

  /**
   * Mails with ids above `after` for listings, as the JSON text of a list with one object each, and the last id: SQLite
   * writes it, so that a hundred thousand of them stall nothing.
   */
  async listing(after: number, limit: number): Promise<{ readonly json: string; readonly last: number | null }> {
    const [row] = await this.#read<{ json: string; last: number | null }>(
      `SELECT json_group_array(json_object('id', id, 'state', state, 'account', account, 'viaRelay', via_relay, 'sender', sender,
         'to', recipients ->> '$[0].address', 'recipients', json_array_length(recipients),
         'open', CASE json_array_length(recipients) WHEN 1 THEN recipients ->> '$[0].state' IN ('waiting', 'sent')
           ELSE (SELECT COUNT(*) FROM json_each(recipients) WHERE value ->> 'state' IN ('waiting', 'sent')) END,
         'size', size, 'created', created, 'nextTry', next_try, 'attempts', attempts, 'priority', priority,
         'error', error, 'repeated', repeated)) AS json, MAX(id) AS last
       FROM (SELECT * FROM mail WHERE id > ? ORDER BY id LIMIT ?)`,
      [after, limit],
    );
    return row!;
  }

  /** Mails that have waited since before `warnBefore` without a notice, or since before `expireBefore`; their ids. */
  async late(warnBefore: number, expireBefore: number): Promise<number[]> {
    const rows = await this.#read<{ id: number }>(
      `SELECT id FROM mail WHERE state = 'waiting' AND (since < ? OR (warned = 0 AND since < ?)) ORDER BY id LIMIT 500`,
      [expireBefore, warnBefore],
    );
    return rows.map(({ id }) => id);
  }

  async counts(): Promise<{ readonly waiting: number; readonly held: number }> {
    const rows = await this.#read<{ state: MailState; n: number }>(
      'SELECT state, COUNT(*) AS n FROM mail GROUP BY state',
    );
    const held = rows.find(({ state }) => state === 'held')?.n ?? 0;
    return { waiting: rows.reduce((sum, { n }) => sum + n, 0) - held, held };
  }

  /** What was learned and outlives a restart. */
  async fact(key: string): Promise<string | null> {
    const rows = await this.#read<{ value: string }>('SELECT value FROM meta WHERE key = ?', [key]);
    return rows[0]?.value ?? null;
  }

  /** It may fall into a commit of mails and be lost with it: then it is learned again. */
  async learn(key: string, value: string): Promise<void> {
    await this.#writer.run(
      'INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value',
      [key, value],
    );
  }

  /** Lets what is waiting become durable and refuses everything else. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#hurry();
    await this.#running;
    await Promise.all(this.#reads);
    await this.#reader.close();
    await this.#writer.close();
  }

  #read<T>(sql: string, params: SqlParams = []): Promise<T[]> {
    if (this.#closed) return Promise.reject(new MergeboxError('unavailable', 'read queue: it is closed'));
    const rows = this.#reader.all<T>(sql, params);
    const over = rows.then(
      () => void this.#reads.delete(over),
      () => void this.#reads.delete(over),
    );
    this.#reads.add(over);
    return rows;
  }

  #write(kind: Write['kind'], mail: QueuedMail, bytes: Buffer | null): Promise<void> {
    if (this.#closed) return Promise.reject(new MergeboxError('unavailable', 'write queue: it is closed'));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ kind, mail, bytes, resolve, reject });
      if (kind !== 'remove' || this.#waiting.length >= BATCH) this.#hurry();
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Whatever else this turn wants to write shares the first commit.
    await Promise.resolve();
    while (this.#waiting.length > 0) {
      if (!this.#closed && this.#waiting.every(({ kind }) => kind === 'remove')) await this.#company();
      await this.#group(this.#waiting.splice(0, BATCH));
    }
    this.#running = null;
  }

  /** Nobody waits for a removal; under load it costs no commit of its own. */
  #company(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, COMPANY_MS);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #group(writes: readonly Write[]): Promise<void> {
    try {
      await this.#commit(writes);
    } catch (error) {
      if (writes.length === 1) {
        writes[0]!.reject(error);
        return;
      }
      // A full disk refuses new mail, which its client keeps; what is recorded of mail that left must not wait for it.
      const [fresh, others] = [writes.filter(isInsert), writes.filter((write) => !isInsert(write))];
      if (fresh.length === 0) for (const write of others) await this.#group([write]);
      else {
        for (const write of fresh) write.reject(error);
        if (others.length > 0) await this.#group(others);
      }
      return;
    }
    for (const write of writes) write.resolve();
  }

  async #commit(writes: readonly Write[]): Promise<void> {
    const fresh = writes.filter(isInsert).map(({ mail }) => mail);
    const contents = writes.filter(({ bytes }) => bytes !== null);
    // The last state of a mail counts.
    const changed = new Map(writes.filter(({ kind }) => kind === 'update').map(({ mail }) => [mail.id, mail]));
    const removed = writes.filter(({ kind }) => kind === 'remove').map(({ mail }) => mail.id);
    await this.#writer.run('BEGIN IMMEDIATE');
    try {
      if (fresh.length > 0) {
        await this.#writer.run(INSERT, [JSON.stringify(fresh.map((mail) => [...fixedOf(mail), ...changingOf(mail)]))]);
      }
      if (contents.length > 0) {
        await this.#writer.run(
          `INSERT INTO content (mail_id, bytes) VALUES ${contents.map(() => '(?,?)').join(',')}`,
          contents.flatMap(({ mail, bytes }) => [mail.id, bytes]),
        );
      }
      if (changed.size > 0) {
        await this.#writer.run(UPDATE, [
          JSON.stringify([...changed.values()].map((mail) => [mail.id, ...changingOf(mail)])),
        ]);
      }
      if (removed.length > 0) {
        const ids = JSON.stringify(removed);
        await this.#writer.run('DELETE FROM mail WHERE id IN (SELECT value FROM json_each(?))', [ids]);
        await this.#writer.run('DELETE FROM content WHERE mail_id IN (SELECT value FROM json_each(?))', [ids]);
      }
      faultPoint('queue.commit');
      await this.#writer.run('COMMIT');
    } catch (error) {
      await this.#writer.exec('ROLLBACK').catch(() => undefined);
      throw error;
    }
    faultPoint('queue.committed');
  }
}

function isInsert({ kind }: Write): boolean {
  return kind === 'insert';
}

/** In the order of `FIXED`. */
function fixedOf(mail: QueuedMail): SqlValue[] {
  const { id, created, account, viaRelay, sender, size, envelope } = mail;
  return [id, created, account, viaRelay ? 1 : 0, sender, size, JSON.stringify(envelope), envelope.spool];
}

/** In the order of `CHANGING`. */
function changingOf(mail: QueuedMail): SqlValue[] {
  const { filed, looks, marked, dutyAt } = mail;
  return [
    ...[mail.state, mail.priority, mail.nextTry, mail.since, mail.attempts, mail.error],
    ...[mail.warned ? 1 : 0, mail.reports, mail.repeated ? 1 : 0],
    ...[JSON.stringify(mail.recipients), JSON.stringify({ filed, looks, marked, dutyAt })],
  ];
}

function mailOf(row: Row): QueuedMail {
  const progress = JSON.parse(row.progress) as Pick<QueuedMail, 'filed' | 'looks' | 'marked' | 'dutyAt'>;
  return {
    id: row.id,
    created: row.created,
    account: row.account,
    viaRelay: row.via_relay === 1,
    sender: row.sender,
    state: row.state,
    priority: row.priority,
    nextTry: row.next_try,
    since: row.since,
    attempts: row.attempts,
    error: row.error,
    size: row.size,
    warned: row.warned === 1,
    reports: row.reports,
    repeated: row.repeated === 1,
    recipients: JSON.parse(row.recipients) as readonly Recipient[],
    envelope: JSON.parse(row.envelope) as Envelope,
    ...progress,
  };
}

async function migrate(writer: Handle): Promise<void> {
  const [row] = await writer.all<{ user_version: number }>('PRAGMA user_version');
  const version = row?.user_version ?? 0;
  if (version > QUEUE_SCHEMA.length) {
    throw new MergeboxError(
      'corrupt',
      `its schema is number ${version}, this Mergebox knows ${QUEUE_SCHEMA.length}: use a newer Mergebox`,
    );
  }
  for (const [index, sql] of QUEUE_SCHEMA.entries()) {
    if (index < version) continue;
    // PRAGMA user_version takes part in the transaction.
    await writer.exec(`BEGIN IMMEDIATE; ${sql}; PRAGMA user_version = ${index + 1}; COMMIT`);
  }
}

function damaged(file: string, error: unknown): MergeboxError {
  return new MergeboxError(
    'corrupt',
    `open the queue ${file}: ${errorText(error)}. Mail that waits to be sent is in it: stop Mergebox and keep a copy of ` +
      'the file before anything else; moved away, Mergebox starts with an empty queue',
    { cause: error },
  );
}
