import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pinnedName } from './cache/pinned-files.js';
import type { Config } from './config/config.js';
import { type Rebuild, rebuildDatabase } from './store/rebuild.js';

/** A user's directory below dataDir. */
export function userDir(config: Config, user: string): string {
  return path.join(config.dataDir, 'users', encodeURIComponent(user));
}

/** Builds a user's database anew out of what the damaged one tells; nobody may have it open. What there is to say of it. */
export async function rebuildUser(config: Config, user: string): Promise<string[]> {
  const dir = userDir(config, user);
  const files = await readdir(path.join(dir, 'pinned')).catch(() => []);
  return describe(await rebuildDatabase(dir, new Set(files.filter((file) => pinnedName(file) === file))));
}

function describe({ aside, mending, losses }: Rebuild): string[] {
  const lines = aside === null ? [] : [`the old database is kept in ${aside}`];
  for (const loss of losses) lines.push(`damaged: ${loss}`);
  if (mending === null) {
    return [
      ...lines,
      'the new database begins with nothing: mail is read again from the servers, and clients download it again',
      'mail that was appended and not uploaded yet is put back by its notes; changes that were not sent are lost',
    ];
  }
  const { kept, again, uploads, dropped } = mending;
  lines.push(`${kept} mails keep their UIDs`);
  if (again > 0) lines.push(`${again} mails are read again from the servers and get new UIDs`);
  if (uploads > 0) lines.push(`${uploads} mails that no server has are uploaded, unless they are found there`);
  for (const { kind, n } of dropped)
    lines.push(`given up, since it cannot be trusted: ${n} × ${kind} that was not sent`);
  return lines;
}
