import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImapClient } from '../harness/imap-client.js';
import { uidOf } from '../harness/world.js';
import { mailText } from './mails.js';
import { type Scene, userDir } from './stage.js';

/** Something that changes mail, from whichever side. */
export interface Operation {
  readonly name: string;
  /** The dataDir is empty: everything is read for the first time. */
  readonly fresh?: boolean;
  /** What happens while the daemon does not run. */
  readonly meanwhile?: (scene: Scene) => Promise<void>;
  /** The daemon is told to end when all is in sync. */
  readonly ends?: boolean;
  /** What a client of Mergebox does, INBOX selected; the last command is the one that matters. */
  readonly command?: (client: ImapClient, scene: Scene) => Promise<unknown>;
}

const id = (name: string): string => `<${name}@test.example>`;
const append = (mailbox: string, name: string) => (client: ImapClient) =>
  client.ok(`APPEND ${mailbox} (\\Seen $Kept) "20-Mar-2026 10:00:00 +0000" {}`, mailText({ id: name }, 'client'));
const onMail = (name: string, command: (uid: number) => string) => async (client: ImapClient) =>
  client.ok(command(await uidOf(client, id(name))));

async function direct(
  server: Scene['work'],
  login: string,
  folder: string,
  ...commands: readonly string[]
): Promise<void> {
  const client = await server.imap(login);
  try {
    await client.ok(`SELECT ${folder}`);
    for (const command of commands) await client.ok(command);
  } finally {
    client.close();
  }
}

/** The server forgets which UIDs the folder had: they start again under another UIDVALIDITY. */
async function forgetUids(server: Scene['work'], login: string): Promise<void> {
  const dir = server.maildir(login);
  const stale = (await readdir(dir)).filter((name) => name === 'dovecot-uidlist' || name.startsWith('dovecot.index'));
  for (const name of stale) await rm(join(dir, name));
}

async function expunge(client: ImapClient, names: readonly string[]): Promise<void> {
  const uids: number[] = [];
  for (const name of names) uids.push(await uidOf(client, id(name)));
  await client.ok(`UID STORE ${uids.join(',')} +FLAGS.SILENT (\\Deleted)`);
  await client.ok(`UID EXPUNGE ${uids.join(',')}`);
}

export const OPERATIONS: readonly Operation[] = [
  { name: 'first ingest', fresh: true },
  {
    name: 'ingest of changes',
    meanwhile: async ({ work, home, login }) => {
      await work.deliver(login, 'INBOX', mailText({ id: 'new1' }, 'work'), [], new Date('2026-03-21T10:00:00Z'));
      await home.deliver(
        login,
        'INBOX',
        mailText({ id: 'new1' }, 'work'),
        ['\\Seen'],
        new Date('2026-03-21T10:00:00Z'),
      );
      await home.deliver(login, 'INBOX', mailText({ id: 'new2' }, 'home'), [], new Date('2026-03-22T10:00:00Z'));
      await direct(work, login, 'INBOX', 'STORE 1:2 +FLAGS (\\Flagged)', 'STORE 5 +FLAGS (\\Seen $Todo)');
      await direct(home, login, 'INBOX', 'STORE 3 +FLAGS (\\Answered)');
    },
  },
  {
    name: 'STORE',
    command: async (client) => {
      const uids = [
        await uidOf(client, id('both1')),
        await uidOf(client, id('work1')),
        await uidOf(client, id('home1')),
      ];
      await client.ok(`UID STORE ${uids.join(',')} +FLAGS (\\Flagged $Todo)`);
    },
  },
  { name: 'APPEND', command: append('INBOX', 'appended') },
  { name: 'APPEND without APPENDUID', command: append('Accounts/home/INBOX', 'appended') },
  { name: 'COPY within accounts', command: onMail('both1', (uid) => `UID COPY ${uid} Archive`) },
  { name: 'COPY across accounts', command: onMail('work1', (uid) => `UID COPY ${uid} Accounts/home/INBOX/Projects`) },
  { name: 'MOVE within accounts', command: onMail('both2', (uid) => `UID MOVE ${uid} Archive`) },
  { name: 'MOVE across accounts', command: onMail('work2', (uid) => `UID MOVE ${uid} Accounts/home/INBOX/Projects`) },
  { name: 'EXPUNGE', command: (client) => expunge(client, ['both3', 'work1', 'home2']) },
  {
    name: 'UIDVALIDITY re-anchoring',
    meanwhile: async ({ work, home, login }) => {
      await forgetUids(work, login);
      await forgetUids(home, login);
      await direct(work, login, 'INBOX', 'STORE 1 +FLAGS (\\Flagged)');
    },
  },
  {
    name: 'deletion at a server',
    meanwhile: ({ work, login }) => direct(work, login, 'INBOX', 'STORE 1 +FLAGS.SILENT (\\Deleted)', 'EXPUNGE'),
  },
  {
    name: 'move at a server',
    meanwhile: ({ work, login }) => direct(work, login, 'INBOX', 'MOVE 2 Trash', 'MOVE 2 Archive'),
  },
  {
    name: 'folder emptied',
    meanwhile: ({ work, login }) => direct(work, login, 'Archive', 'STORE 1:* +FLAGS.SILENT (\\Deleted)', 'EXPUNGE'),
  },
  { name: 'CREATE', command: (client) => client.ok('CREATE Accounts/home/INBOX/Made') },
  { name: 'RENAME', command: (client) => client.ok('RENAME Accounts/home/INBOX/Plans Accounts/home/INBOX/Renamed') },
  { name: 'DELETE', command: (client) => client.ok('DELETE Accounts/home/INBOX/Plans') },
  {
    name: 'refused COPY',
    command: async (client, { home, login }) => {
      await direct(home, login, 'INBOX', 'DELETE INBOX.Plans');
      await onMail('home1', (uid) => `UID COPY ${uid} Accounts/home/INBOX/Plans`)(client);
    },
  },
  { name: 'FETCH', command: (client) => client.ok('EXAMINE Archive').then(() => client.ok('FETCH 1 (BODY.PEEK[])')) },
  {
    name: 'sweep',
    meanwhile: async ({ box }) => {
      const pinned = join(userDir(box), 'pinned');
      await mkdir(pinned, { recursive: true });
      await writeFile(join(pinned, 'a'.repeat(64)), 'nobody refers to this');
      await writeFile(join(pinned, `${'b'.repeat(64)}.1.x.part`), 'torn');
    },
  },
  { name: 'orderly end', ends: true },
];
