import { MergeboxError } from '../util/errors.js';
import { faultPoint } from '../util/fault.js';
import type { Handle } from './driver.js';
import { initial } from './migrations/0001-initial.js';
import { objects } from './migrations/0002-objects.js';
import { parked } from './migrations/0003-parked.js';
import { metadata } from './migrations/0004-metadata.js';
import { outgoing } from './migrations/0005-outgoing.js';
import { local } from './migrations/0006-local.js';
import { window } from './migrations/0007-window.js';
import { vanished } from './migrations/0008-vanished.js';

/** In order; a released one never changes. The number of a migration is its position, from 1. */
const MIGRATIONS: readonly string[] = [initial, objects, parked, metadata, outgoing, local, window, vanished];

/**
 * Brings the database to the newest schema, or to that of number `last`, one transaction a step. Throws `corrupt` for one
 * from a newer Mergebox.
 */
export async function migrate(db: Handle, last = MIGRATIONS.length): Promise<void> {
  const version = await schemaVersion(db);
  if (version > MIGRATIONS.length) {
    throw new MergeboxError(
      'corrupt',
      `open database: its schema is number ${version}, this Mergebox knows ${MIGRATIONS.length}: use a newer Mergebox`,
    );
  }
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index < version || index >= last) continue;
    await db.exec('BEGIN IMMEDIATE');
    try {
      await db.exec(sql);
      await db.run(
        "INSERT INTO meta (key, value) VALUES ('schema', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        [String(index + 1)],
      );
      faultPoint('migration.applied');
      await db.exec('COMMIT');
      faultPoint('migration.committed');
    } catch (error) {
      await db.exec('ROLLBACK');
      throw error;
    }
  }
}

async function schemaVersion(db: Handle): Promise<number> {
  const tables = await db.all<{ name: string }>(
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'meta'",
  );
  if (tables.length === 0) return 0;
  const rows = await db.all<{ value: string }>("SELECT value FROM meta WHERE key = 'schema'");
  return Number(rows[0]?.value ?? 0);
}
