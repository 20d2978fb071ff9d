import { access } from 'node:fs/promises';
import path from 'node:path';
import { adminSocketPath, withDataDir } from './admin/admin.js';
import { adminRequest } from './admin/client.js';
import type { SyncReport } from './admin/status.js';
import type { Config } from './config/config.js';
import { rebuildUser, userDir } from './rebuild-user.js';
import { Store } from './store/store.js';
import { isMergeboxError, MergeboxError } from './util/errors.js';

/**
 * `mergebox rebuild [USER]`: through the daemon when one runs, else here. Without a name, every user whose database is
 * damaged. One that is not is left alone, unless `force`.
 */
export async function rebuildCommand(
  config: Config,
  name: string | undefined,
  force: boolean,
  print: (line: string) => void,
): Promise<void> {
  if (name !== undefined && !config.users.some((user) => user.name === name)) {
    throw new MergeboxError('config', `rebuild: there is no user "${name}" in the configuration`);
  }
  const users = name === undefined ? config.users.map((user) => user.name) : [name];
  if (await isServed(config)) {
    if (name === undefined)
      throw new MergeboxError('config', 'rebuild: which user? mergebox status shows who is refused');
    return throughDaemon(config, name, print);
  }
  await withDataDir(config.dataDir, async () => {
    for (const user of users) {
      if (!force && !(await isDamaged(userDir(config, user)))) {
        print(`${user}: the database is not damaged; nothing was done`);
        continue;
      }
      for (const line of await rebuildUser(config, user)) print(`${user}: ${line}`);
    }
  });
}

async function isServed(config: Config): Promise<boolean> {
  try {
    await adminRequest(adminSocketPath(config.dataDir), 'GET', '/api/status');
    return true;
  } catch (error) {
    if (isMergeboxError(error, 'unavailable')) return false;
    throw error;
  }
}

async function throughDaemon(config: Config, user: string, print: (line: string) => void): Promise<void> {
  const { status, body } = await adminRequest(
    adminSocketPath(config.dataDir),
    'POST',
    '/api/rebuild',
    { user },
    REBUILD_MS,
  );
  if (status !== 200) throw new MergeboxError('unavailable', (body as { error?: string }).error ?? `HTTP ${status}`);
  for (const { result } of (body as SyncReport).accounts) print(`${user}: ${result}`);
}

/** A million mails take minutes. */
const REBUILD_MS = 3_600_000;

async function isDamaged(dir: string): Promise<boolean> {
  const there = await access(path.join(dir, 'mergebox.db')).then(
    () => true,
    () => false,
  );
  if (!there) return false;
  try {
    await (await Store.open(dir)).close();
    return false;
  } catch (error) {
    if (isMergeboxError(error, 'corrupt')) return true;
    throw error;
  }
}
