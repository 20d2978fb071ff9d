import type { ImapClient } from '../harness/imap-client.js';
import type { Mergebox } from '../harness/mergebox.js';
import { listNames, type MailboxView, readMailbox, type WholeMail } from './mailbox-view.js';
import type { Upstream } from './upstreams.js';

export type Folders = ReadonlyMap<string, MailboxView<WholeMail>>;

/** All there is, seen by fresh logins: what a client of Mergebox sees, and each server past it. */
export interface Snapshot {
  readonly merged: Folders;
  readonly upstreams: ReadonlyMap<string, Folders>;
}

export async function takeSnapshot(box: Mergebox, upstreams: readonly Upstream[]): Promise<Snapshot> {
  const merged = await readAll(await box.imap());
  const servers = new Map<string, Folders>();
  for (const { id, server } of upstreams) servers.set(id, await readAll(await server.imap()));
  return { merged, upstreams: servers };
}

async function readAll(client: ImapClient): Promise<Folders> {
  try {
    const folders = new Map<string, MailboxView<WholeMail>>();
    for (const name of await listNames(client)) folders.set(name, await readMailbox(client, name));
    return folders;
  } finally {
    client.close();
  }
}

/** A text that is equal for equal snapshots: what a second sync must not change. */
export function snapshotText({ merged, upstreams }: Snapshot): string {
  const text = (folders: Folders, at: string): string[] =>
    [...folders].flatMap(([name, { uidValidity, uidNext, modSeq, mails }]) => [
      `${at} ${name} ${uidValidity} ${uidNext} ${at === '' ? modSeq : ''}`,
      ...mails.map(({ uid, flags, hash }) => `${at} ${name} ${uid} ${flags.join(' ')} ${hash}`),
    ]);
  return [...text(merged, ''), ...[...upstreams].flatMap(([id, folders]) => text(folders, id))].sort().join('\n');
}
