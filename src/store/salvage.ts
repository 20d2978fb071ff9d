import { errorText, isMergeboxError } from '../util/errors.js';
import { Handle, type SqlValue } from './driver.js';
import { migrate } from './migrate.js';
import { valueBatches } from './rows.js';

/** Rows of a damaged database that are read and written at once. */
const PAGE = 200;
/** Rows of one statement. */
const BATCH = 50;

/** What could be read of one table. */
export interface TableReport {
  readonly table: string;
  readonly rows: number;
  /** Why some of it could not; null when all of it could. */
  readonly damage: string | null;
}

export interface Salvage {
  /** Of each table of the schema; empty when not even the schema could be read. */
  readonly tables: readonly TableReport[];
  /** What SQLite says of the structure, a line a fault. */
  readonly faults: readonly string[];
}

type Row = Record<string, SqlValue>;

/**
 * Copies what can be read of a damaged database into a new one, by row id and past what cannot be read. Indexes are not
 * looked at: the new database makes its own. Nothing is written to the damaged one.
 */
export async function salvage(broken: string, target: string): Promise<Salvage> {
  const source = await Handle.open(broken, 'read');
  try {
    const version = await schemaOf(source);
    if (version === null) return { tables: [], faults: ['its tables are not to be found'] };
    const goal = await Handle.open(target, 'write');
    try {
      await migrate(goal, version);
      const tables: TableReport[] = [];
      for (const table of await tablesOf(goal)) tables.push(await copyTable(source, goal, table));
      await copySequences(source, goal);
      await goal.run("INSERT INTO meta (key, value) VALUES ('schema', ?) ON CONFLICT (key) DO UPDATE SET value = ?1", [
        String(version),
      ]);
      await migrate(goal);
      // Not the same database: what was derived from its row ids is void. MODSEQs go on above all that were seen.
      await goal.exec("DELETE FROM meta WHERE key = 'storeId'");
      await goal.exec("UPDATE meta SET value = CAST(value AS INTEGER) + 1000 WHERE key = 'modSeq'");
      return { tables, faults: await faultsOf(source) };
    } finally {
      await goal.close();
    }
  } finally {
    await source.close();
  }
}

/** The number of its schema; null when that cannot be read. */
async function schemaOf(source: Handle): Promise<number | null> {
  try {
    const [row] = await source.all<{ value: string }>("SELECT value FROM meta NOT INDEXED WHERE key = 'schema'");
    return row === undefined ? null : Number(row.value);
  } catch {
    return null;
  }
}

async function faultsOf(source: Handle): Promise<string[]> {
  try {
    const rows = await source.all<{ quick_check: string }>('PRAGMA quick_check(1000)');
    return rows.map((row) => row.quick_check).filter((line) => line !== 'ok');
  } catch (error) {
    return [errorText(error)];
  }
}

async function tablesOf(db: Handle): Promise<string[]> {
  const rows = await db.all<{ name: string }>(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY rowid",
  );
  return rows.map((row) => row.name);
}

/** Row ids are never used again, also those of rows that are gone. */
async function copySequences(source: Handle, goal: Handle): Promise<void> {
  const rows = await readRows(source, 'sqlite_sequence', 1, PAGE);
  if (rows instanceof Error) return;
  for (const { name, seq } of rows) {
    if (typeof name !== 'string' || typeof seq !== 'number') continue;
    const changed = await goal.run('UPDATE sqlite_sequence SET seq = MAX(seq, ?) WHERE name = ?', [seq, name]);
    if (changed === 0) await goal.run('INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)', [name, seq]);
  }
}

async function copyTable(source: Handle, goal: Handle, table: string): Promise<TableReport> {
  let rows = 0;
  let damage: string | null = null;
  await goal.exec('BEGIN');
  if (table === 'meta') await goal.exec('DELETE FROM meta');
  if (await isWithoutRowid(goal, table)) {
    const copied = await copyByOffset(source, goal, table);
    await goal.exec('COMMIT');
    return copied;
  }
  let limit = PAGE;
  for (let from: number | null = Number.MIN_SAFE_INTEGER; from !== null; ) {
    const page: readonly Row[] | Error = await readRows(source, table, from, limit);
    if (page instanceof Error) {
      damage = page.message;
      // First what stands before the damage, then what stands behind it.
      if (limit > 1) limit = Math.floor(limit / 2);
      else {
        from = await nextReadable(source, table, from);
        limit = PAGE;
      }
      continue;
    }
    damage = (await insertRows(goal, table, page)) ?? damage;
    rows += page.length;
    from = page.length === 0 ? null : Number(page.at(-1)![ROW]) + 1;
  }
  await goal.exec('COMMIT');
  return { table, rows, damage };
}

async function isWithoutRowid(db: Handle, table: string): Promise<boolean> {
  const [row] = await db.all<{ wr: number }>('SELECT wr FROM pragma_table_list WHERE name = ?', [table]);
  return row?.wr === 1;
}

/** Up to the first damage: such a table is one index, and there is no telling where it goes on. */
async function copyByOffset(source: Handle, goal: Handle, table: string): Promise<TableReport> {
  let damage: string | null = null;
  for (let rows = 0; ; ) {
    try {
      const page = await source.all<Row>(`SELECT * FROM ${table} LIMIT ${PAGE} OFFSET ?`, [rows]);
      if (page.length === 0) return { table, rows, damage };
      damage = (await insertRows(goal, table, page)) ?? damage;
      rows += page.length;
    } catch (error) {
      if (!isMergeboxError(error, 'corrupt')) throw error;
      return { table, rows, damage: error.message };
    }
  }
}

const ROW = 'salvage_row';

/** Rows from that row id on; an error when a page that holds them is damaged. */
async function readRows(source: Handle, table: string, from: number, limit: number): Promise<readonly Row[] | Error> {
  try {
    const sql = `SELECT rowid AS ${ROW}, * FROM ${table} NOT INDEXED WHERE rowid >= ? ORDER BY rowid LIMIT ${limit}`;
    return await source.all<Row>(sql, [from]);
  } catch (error) {
    if (!isMergeboxError(error)) throw error;
    return error;
  }
}

/** A row id from which on rows can be read again, none of them before it; null when there is none. */
async function nextReadable(source: Handle, table: string, damaged: number): Promise<number | null> {
  const readable = async (from: number): Promise<boolean> => Array.isArray(await readRows(source, table, from, 1));
  // Row ids begin with 1, but for those that are hashes.
  const start = Math.max(damaged, 0);
  let step = 1;
  while (!(await readable(start + step))) {
    step *= 2;
    if (start + step > Number.MAX_SAFE_INTEGER) return null;
  }
  let bad = start + Math.floor(step / 2);
  let good = start + step;
  while (good - bad > 1) {
    const middle = bad + Math.floor((good - bad) / 2);
    if (await readable(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** Null when all of them went in; rows that break a constraint are left out. */
async function insertRows(goal: Handle, table: string, rows: readonly Row[]): Promise<string | null> {
  let damage: string | null = null;
  for (const batch of valueBatches(rows, BATCH)) {
    const failed = await insertBatch(goal, table, batch);
    if (failed === null) continue;
    damage = failed;
    if (batch.length > 1) for (const row of batch) await insertBatch(goal, table, [row]);
  }
  return damage;
}

async function insertBatch(goal: Handle, table: string, rows: readonly Row[]): Promise<string | null> {
  const columns = Object.keys(rows[0]!).filter((column) => column !== ROW);
  const places = `(${columns.map(() => '?').join(', ')})`;
  try {
    await goal.run(
      `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${rows.map(() => places).join(', ')}`,
      rows.flatMap((row) => columns.map((column) => row[column]!)),
    );
    return null;
  } catch (error) {
    if (!isMergeboxError(error, 'unavailable', 'limit')) throw error;
    return errorText(error);
  }
}
