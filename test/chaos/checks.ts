import { ROLE_NAMES, type Role } from '../../src/mail/ids.js';
import type { WholeMail } from './mailbox-view.js';
import type { MailModel } from './mails.js';
import type { Snapshot } from './snapshot.js';
import type { Upstream } from './upstreams.js';

/** What is wrong at a moment when nothing is owed and nobody does anything; empty when all is well. */
export function snapshotFaults(snapshot: Snapshot, upstreams: readonly Upstream[], model: MailModel): string[] {
  return [
    ...byteFaults(snapshot, model),
    ...existenceFaults(snapshot, model),
    ...upstreams.flatMap((upstream) => mirrorFaults(snapshot, upstream)),
    ...upstreams.flatMap((upstream) => mergedFaults(snapshot, upstream)),
    ...doubleFaults(snapshot, model),
  ];
}

/** Everything anywhere is one of the forms in which that mail was delivered. */
function byteFaults({ merged, upstreams }: Snapshot, model: MailModel): string[] {
  const faults: string[] = [];
  for (const [at, folders] of [['mergebox', merged] as const, ...upstreams]) {
    for (const [name, { mails }] of folders) {
      for (const { uid, marker, hash } of mails) {
        const mail = model.get(marker);
        if (!mail) faults.push(`${at} ${name} ${uid}: a mail nobody made (${marker})`);
        else if (!mail.variants.has(hash)) faults.push(`${at} ${name} ${uid}: ${marker} has other bytes`);
      }
    }
  }
  return faults;
}

/** What was acknowledged is where it was acknowledged, unless somebody took it away; nothing is there too often. */
function existenceFaults({ upstreams }: Snapshot, model: MailModel): string[] {
  const faults: string[] = [];
  const places = new Map<string, string[]>();
  for (const [id, folders] of upstreams) {
    for (const [path, { mails }] of folders) {
      for (const { uid, marker } of mails) {
        const key = `${id} ${marker}`;
        places.set(key, [...(places.get(key) ?? []), `${path} ${uid}`]);
      }
    }
  }
  for (const mail of model.mails.values()) {
    for (const id of upstreams.keys()) {
      const found = places.get(`${id} ${mail.marker}`) ?? [];
      const count = found.length;
      const most = mail.most.get(id) ?? 0;
      if (count > most)
        faults.push(`${id}: ${count} copies of ${mail.marker}, at most ${most} were made: ${found.join(', ')}`);
      if (count === 0 && !mail.mortal && mail.held.has(id)) faults.push(`${id}: LOST ${mail.marker}`);
    }
  }
  return faults;
}

/** A mirror shows its folder: the same mails with the same flags. */
function mirrorFaults({ merged, upstreams }: Snapshot, { id, separator }: Upstream): string[] {
  const faults: string[] = [];
  const mirrors = new Set<string>();
  for (const [path, { mails }] of upstreams.get(id)!) {
    const view = ownName(merged, id, path, separator);
    if (view === undefined) {
      faults.push(`${id} ${path}: no mirror`);
      continue;
    }
    mirrors.add(view);
    const shown = merged.get(view)!.mails;
    faults.push(...differences(`${view} and ${id} ${path}`, shown.map(keyOf), mails.map(keyOf)));
  }
  for (const name of merged.keys()) {
    if (name.startsWith(`Accounts/${id}/`) && !mirrors.has(name)) faults.push(`${name}: no folder at ${id}`);
  }
  return faults;
}

/** The name of the folder's mirror; one that a client made keeps the name it was given, without the server's prefix. */
function ownName(merged: Snapshot['merged'], id: string, path: string, separator: string): string | undefined {
  const levels = path.split(separator);
  const usual = ['Accounts', id, ...levels].join('/');
  if (merged.has(usual)) return usual;
  const rest = levels.slice(1).join('/');
  const given = [`Accounts/${id}/${rest}`, levels.join('/'), rest];
  return rest === '' && levels.length > 1 ? undefined : given.find((name) => merged.has(name));
}

/** Each copy in a folder with a role is in exactly one entry of the merged mailbox, with the entry's flags. */
function mergedFaults({ merged, upstreams }: Snapshot, { id, roles }: Upstream): string[] {
  const faults: string[] = [];
  const folders = upstreams.get(id)!;
  const byRole = new Map<Role, WholeMail[]>();
  for (const [path, role] of roles) byRole.set(role, [...(folders.get(path)?.mails ?? [])]);
  for (const [role, mails] of byRole) {
    const keyword = `$account_${id}`;
    const entries = merged.get(ROLE_NAMES[role])?.mails ?? [];
    const own = entries.filter(({ flags }) => flags.includes(keyword));
    faults.push(...differences(`${ROLE_NAMES[role]} and ${id}`, own.map(markerKey), mails.map(markerKey)));
  }
  return faults;
}

/** A mail of which no second copy was ever asked for is shown once in a merged mailbox. */
function doubleFaults({ merged }: Snapshot, model: MailModel): string[] {
  const faults: string[] = [];
  for (const name of Object.values(ROLE_NAMES)) {
    const counts = new Map<string, number>();
    for (const { marker } of merged.get(name)?.mails ?? []) {
      if (marker !== null) counts.set(marker, (counts.get(marker) ?? 0) + 1);
    }
    for (const [marker, count] of counts) {
      const mail = model.get(marker);
      const single =
        mail !== undefined && !mail.copied && mail.mergeable && [...mail.most.values()].every((n) => n <= 1);
      if (single && count > 1) faults.push(`${name}: ${marker} is shown ${count} times`);
    }
  }
  return faults;
}

function keyOf({ marker, hash, flags }: WholeMail): string {
  return `${marker} ${hash} (${plainFlags(flags)})`;
}

function markerKey({ marker, flags }: WholeMail): string {
  return `${marker} (${plainFlags(flags)})`;
}

function plainFlags(flags: readonly string[]): string {
  return flags.filter((flag) => !flag.startsWith('$account_')).join(' ');
}

/** What one list has and the other has not, each as often as it differs. */
function differences(what: string, left: readonly string[], right: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const key of left) counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const key of right) counts.set(key, (counts.get(key) ?? 0) - 1);
  return [...counts].flatMap(([key, count]) =>
    count === 0 ? [] : `${what}: ${key} ${Math.abs(count)} more on the ${count > 0 ? 'first' : 'second'} side`,
  );
}
