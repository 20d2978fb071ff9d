import sqlite3 from 'sqlite3';
import { type ErrorCode, errorText, MergeboxError } from '../util/errors.js';

/** What SQL takes and gives. BigInt is left out on purpose: the driver would bind it as NULL. */
export type SqlValue = string | number | Buffer | null;
export type SqlParams = readonly SqlValue[];

/**
 * One database handle. Its callers take turns: nothing here keeps two tasks from interleaving statements, which is
 * why only `Store` holds one.
 */
export class Handle {
  readonly #db: sqlite3.Database;
  readonly #statements = new Map<string, Promise<sqlite3.Statement>>();

  private constructor(db: sqlite3.Database) {
    this.#db = db;
  }

  static open(file: string, mode: 'write' | 'read'): Promise<Handle> {
    const flags = mode === 'write' ? sqlite3.OPEN_READWRITE | sqlite3.OPEN_CREATE : sqlite3.OPEN_READONLY;
    return new Promise((resolve, reject) => {
      const db: sqlite3.Database = new sqlite3.Database(file, flags, (error) => {
        if (error) reject(sqlError(error, `open ${file}`));
        else resolve(new Handle(db));
      });
    });
  }

  /** Runs SQL without parameters; several statements may stand in it. */
  exec(sql: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#db.exec(sql, (error) => (error ? reject(sqlError(error, sql)) : resolve()));
    });
  }

  async all<T>(sql: string, params: SqlParams = []): Promise<T[]> {
    requireParams(sql, params);
    const statement = await this.#prepare(sql);
    return new Promise((resolve, reject) => {
      statement.all<T>(params, (error: Error | null, rows: T[]) =>
        error ? reject(sqlError(error, sql)) : resolve(rows),
      );
    });
  }

  /** The number of rows changed. */
  async run(sql: string, params: SqlParams = []): Promise<number> {
    requireParams(sql, params);
    const statement = await this.#prepare(sql);
    return new Promise((resolve, reject) => {
      statement.run(params, function (this: sqlite3.RunResult, error: Error | null) {
        if (error) reject(sqlError(error, sql));
        else resolve(this.changes);
      });
    });
  }

  async close(): Promise<void> {
    const statements = await Promise.allSettled(this.#statements.values());
    this.#statements.clear();
    const prepared = statements.flatMap((each) => (each.status === 'fulfilled' ? each.value : []));
    await Promise.all(prepared.map((each) => new Promise<void>((resolve) => each.finalize(() => resolve()))));
    await new Promise<void>((resolve, reject) => {
      this.#db.close((error) => (error ? reject(sqlError(error, 'close')) : resolve()));
    });
  }

  /** One statement of each SQL text, however many ask for it at once: one too many would keep the handle from closing. */
  #prepare(sql: string): Promise<sqlite3.Statement> {
    const known = this.#statements.get(sql);
    if (known) return known;
    const preparing = new Promise<sqlite3.Statement>((resolve, reject) => {
      const statement = this.#db.prepare(sql, (error: Error | null) => {
        if (error) {
          this.#statements.delete(sql);
          reject(sqlError(error, sql));
        } else resolve(statement);
      });
    });
    this.#statements.set(sql, preparing);
    return preparing;
  }
}

/** The driver binds NULL to what it is not given, so that a statement with a forgotten value runs and does nothing. */
function requireParams(sql: string, params: SqlParams): void {
  let wanted = 0;
  for (let at = sql.indexOf('?'); at >= 0; at = sql.indexOf('?', at + 1)) {
    const digit = sql.charCodeAt(at + 1) - 48;
    // `?3` names the third, which may stand in several places.
    wanted = digit >= 1 && digit <= 9 ? Math.max(wanted, digit) : wanted + 1;
  }
  if (wanted !== params.length)
    throw new RangeError(`database: ${params.length} values for ${wanted} places in: ${sql}`);
}

function sqlError(error: Error, doing: string): MergeboxError {
  const sqlCode = 'code' in error ? String(error.code) : '';
  const what = doing.replace(/\s+/g, ' ').slice(0, 120);
  // The statement is for the log; the message may go to a client.
  return new MergeboxError(codeOf(sqlCode), `database: ${TEXTS.get(sqlCode) ?? errorText(error)}`, {
    cause: new Error(what, { cause: error }),
  });
}

/** What SQLite says of these would help nobody. */
const TEXTS: ReadonlyMap<string, string> = new Map([
  ['SQLITE_FULL', 'the disk that holds the data directory is full'],
  ['SQLITE_READONLY', 'the data directory cannot be written to'],
  ['SQLITE_CANTOPEN', 'a file in the data directory cannot be opened or made'],
  ['SQLITE_IOERR', 'the disk that holds the data directory reads or writes with errors'],
]);

function codeOf(sqlCode: string): ErrorCode {
  switch (sqlCode) {
    case 'SQLITE_FULL':
      return 'overquota';
    case 'SQLITE_CORRUPT':
    case 'SQLITE_NOTADB':
      return 'corrupt';
    default:
      return 'unavailable';
  }
}
