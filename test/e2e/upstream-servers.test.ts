import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import { type CyrusOptions, startCyrus } from '../harness/cyrus.js';
import { type DovecotOptions, startDovecot } from '../harness/dovecot.js';
import type { ImapClient } from '../harness/imap-client.js';
import type { MailServer } from '../harness/mail-server.js';
import { type Mergebox, startMergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { bodyFingerprints, PASSWORD, uidOf } from '../harness/world.js';

interface Kind {
  readonly name: string;
  readonly start: () => Promise<MailServer>;
  /** What stands before the names of folders there. */
  readonly prefix: string;
}

const cyrus = (name: string, options: CyrusOptions): Kind => ({
  name,
  start: () => startCyrus(options),
  prefix: options.names === 'classic' ? 'INBOX.' : '',
});
const dovecot = (name: string, options: DovecotOptions): Kind => ({
  name,
  start: () => startDovecot({ tls: 'none', ...options }),
  prefix: options.prefix ?? '',
});

/** Each with another choice of what a server can lack. */
const KINDS: readonly Kind[] = [
  cyrus('Cyrus with all it has', {}),
  cyrus('Cyrus as of twenty years ago, without CONDSTORE, MOVE, UIDPLUS', {
    names: 'classic',
    without: [
      'CONDSTORE',
      'QRESYNC',
      'UIDPLUS',
      'MOVE',
      'IDLE',
      'SPECIAL-USE',
      'LIST-EXTENDED',
      'LIST-STATUS',
      'BINARY',
    ],
  }),
  dovecot('Dovecot with MOVE and CONDSTORE, without UIDPLUS', {
    capability: 'IMAP4rev1 MOVE ENABLE CONDSTORE IDLE SPECIAL-USE NAMESPACE',
    separator: '.',
    prefix: 'INBOX.',
  }),
];

function letter(name: string, body = `${name} in full`): string {
  return `From: Ann <ann@example.org>\nTo: alice@work.example\nSubject: ${name}\nDate: Tue, 05 May 2020 10:00:00 +0200
Message-ID: <${name}@test.example>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\n${body}\n`;
}

const id = (name: string): string => `<${name}@test.example>`;

interface Setup {
  readonly kind: Kind;
  readonly work: MailServer;
  readonly home: MailServer;
  readonly box: Mergebox;
  readonly client: ImapClient;
  /** The Message-IDs in a folder there, sorted, with what is flagged. */
  readonly at: (server: MailServer, folder: string) => Promise<string[]>;
}

const SHARED = ['flagged', 'seen', 'moved', 'trashed', 'expunged', 'dropped', 'kept'];

async function setUp(t: Test, kind: Kind): Promise<Setup> {
  const work = await kind.start();
  t.teardown(() => work.stop());
  const home = await startDovecot({ tls: 'none' });
  t.teardown(() => home.stop());
  for (const name of SHARED) {
    for (const server of [work, home]) await server.deliver('alice', 'INBOX', letter(name));
  }
  await work.deliver('alice', 'INBOX', letter('only-work'));
  await home.deliver('alice', 'INBOX', letter('only-home'));
  const box = await startMergebox({
    users: [
      {
        name: 'alice',
        password: PASSWORD,
        accounts: [
          { id: 'work', server: work, pollSeconds: 1 },
          { id: 'home', server: home, pollSeconds: 1 },
        ],
      },
    ],
  });
  t.teardown(() => box.stop());
  await box.sync();
  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');
  const at = async (server: MailServer, folder: string): Promise<string[]> => {
    const path = server === work && folder !== 'INBOX' ? kind.prefix + folder : folder;
    const list = await server.list('alice', path);
    return list
      .map(({ messageId, flags }) => `${messageId?.slice(1, -14)}${flags.includes('\\Flagged') ? ' flagged' : ''}`)
      .sort();
  };
  return { kind, work, home, box, client, at };
}

async function flows(t: Test, { work, home, box, client, at }: Setup): Promise<void> {
  t.same(
    (await box.list()).map(({ messageId }) => messageId?.slice(1, -14)).sort(),
    [...SHARED, 'only-home', 'only-work'].sort(),
    'the union',
  );

  await client.ok(`UID STORE ${await uidOf(client, id('flagged'))} +FLAGS (\\Flagged $Label1)`);
  await box.sync();
  for (const server of [work, home]) t.ok((await at(server, 'INBOX')).includes('flagged flagged'), 'a flag goes up');

  const direct = await work.imap();
  t.teardown(() => direct.close());
  await direct.ok('SELECT INBOX');
  await direct.ok(`UID STORE ${await uidOf(direct, id('flagged'))} -FLAGS (\\Flagged)`);
  await direct.ok(`UID STORE ${await uidOf(direct, id('seen'))} +FLAGS (\\Seen)`);
  await eventually('the flags to reach home', async () => {
    const list = await home.list('alice', 'INBOX');
    const flags = (name: string): readonly string[] => list.find(({ messageId }) => messageId === id(name))!.flags;
    return !flags('flagged').includes('\\Flagged') && flags('seen').includes('\\Seen');
  });

  await client.ok(`UID MOVE ${await uidOf(client, id('moved'))} Archive`);
  await client.ok(`UID MOVE ${await uidOf(client, id('trashed'))} Trash`);
  await box.sync();
  for (const server of [work, home]) {
    t.same([await at(server, 'Archive'), await at(server, 'Trash')], [['moved'], ['trashed']], 'moves, of each copy');
  }

  const spared = await uidOf(direct, id('kept'));
  await direct.ok(`UID STORE ${spared} +FLAGS (\\Deleted)`);
  const gone = await uidOf(client, id('expunged'));
  await client.ok(`UID STORE ${gone} +FLAGS (\\Deleted)`);
  await client.ok(`UID EXPUNGE ${gone}`);
  await box.sync();
  for (const server of [work, home]) {
    const left = await at(server, 'INBOX');
    t.notOk(left.includes('expunged'), 'an expunge goes to every server');
    t.ok(left.includes('kept'), 'and spares what others have marked');
  }
  await direct.ok(`UID STORE ${spared} -FLAGS (\\Deleted)`);

  await direct.ok(`UID STORE ${await uidOf(direct, id('dropped'))} +FLAGS (\\Deleted)`);
  await direct.ok('EXPUNGE');
  await eventually('the deletion to reach home', async () => (await at(home, 'Trash')).includes('dropped'));

  await t.test('an upload is made once, byte for byte', async (t) => {
    const text = letter('uploaded', 'line\n.\n\tend \u00e9');
    await box.append('INBOX', text, ['\\Seen']);
    await box.sync();
    await box.sync();
    t.equal((await at(work, 'INBOX')).filter((name) => name === 'uploaded').length, 1);
    await direct.ok('NOOP');
    const uid = await uidOf(direct, id('uploaded'));
    const stored = (await bodyFingerprints(direct)).get(uid);
    t.equal(stored, createHash('sha256').update(text.replace(/\n/g, '\r\n')).digest('hex'));
  });
  await direct.logout();
}

/** The server gives a folder a new UIDVALIDITY: clients keep UIDs and flags, and nothing is uploaded or deleted. */
async function newUidValidity(t: Test, { kind, work, box, at }: Setup): Promise<void> {
  const path = `${kind.prefix}Plans`;
  const names = ['one', 'two', 'three'];
  const direct = await work.imap();
  t.teardown(() => direct.close());
  const make = async (order: readonly string[]): Promise<void> => {
    await direct.ok(`CREATE "${path}"`);
    for (const name of order) await work.deliver('alice', path, letter(name), name === 'two' ? ['\\Flagged'] : []);
  };
  await make(names);
  await box.sync();
  const mirror = `Accounts/work/${path.replaceAll('.', '/')}`;
  const before = (await box.list(mirror)).map(({ uid, messageId, flags }) => [uid, messageId, flags]);
  t.equal(before.length, 3);
  await box.kill();
  await direct.ok(`DELETE "${path}"`);
  await make([...names].reverse());
  await box.start();
  await box.sync();
  t.same(
    (await box.list(mirror)).map(({ uid, messageId, flags }) => [uid, messageId, flags]),
    before,
  );
  t.same(await at(work, 'Plans'), ['one', 'three', 'two flagged']);
}

for (const kind of KINDS) {
  t.test(kind.name, async (t) => {
    const setup = await setUp(t, kind);
    await flows(t, setup);
    await t.test('a new UIDVALIDITY changes nothing for clients', (t) => newUidValidity(t, setup));
    await t.test('a second sync does nothing', async (t) => {
      const look = async (): Promise<string[][]> => [
        await setup.at(setup.work, 'INBOX'),
        await setup.at(setup.home, 'INBOX'),
        await setup.at(setup.work, 'Trash'),
      ];
      const before = await look();
      await setup.box.sync();
      t.same(await look(), before);
      t.match(await setup.box.status(), { body: { accounts: [{ parked: 0 }, { parked: 0 }] } });
    });
  });
}

t.test('a server that takes two connections is worked with two, whatever the configuration allows', async (t) => {
  const work = await startDovecot({ tls: 'none', extra: 'mail_max_userip_connections = 2' });
  t.teardown(() => work.stop());
  const names = Array.from({ length: 12 }, (_, n) => `m${n}`);
  for (const name of names) await work.deliver('alice', 'INBOX', letter(name));
  const box = await startMergebox({
    users: [
      {
        name: 'alice',
        password: PASSWORD,
        accounts: [{ id: 'work', server: work, pollSeconds: 1, connections: 8 }],
      },
    ],
  });
  t.teardown(() => box.stop());
  await box.sync();
  const clients = await Promise.all(names.slice(0, 4).map(() => box.imap()));
  t.teardown(() => {
    for (const client of clients) client.close();
  });
  await Promise.all(
    clients.map(async (client, n) => {
      await client.ok('SELECT INBOX');
      // Each another third of the bodies, all at once.
      const bodies = await client.ok(`UID FETCH ${3 * n + 1}:${3 * n + 3} (BODY.PEEK[])`);
      t.equal(bodies.untagged.filter((line) => line.includes('in full')).length, 3);
    }),
  );
  await clients[0]!.ok('UID STORE 1:12 +FLAGS (\\Seen)');
  await box.sync();
  t.match(box.log(), /doing with fewer connections/);
  await box.kill();
  await work.restart();
  t.ok((await work.list('alice', 'INBOX')).every(({ flags }) => flags.includes('\\Seen')));
});
