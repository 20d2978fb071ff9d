import t from 'tap';
import { startDovecot } from '../harness/dovecot.js';
import { startMergebox } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';
import { held, startWorld, uidOf } from '../harness/world.js';

// No IDLE, UIDPLUS, MOVE, CONDSTORE, QRESYNC, SPECIAL-USE, NAMESPACE, LITERAL+: a server as of RFC 3501.
const PLAIN = { capability: 'IMAP4rev1', tls: 'none' } as const;

t.test('a server without any extension does the whole job', async (t) => {
  const world = await startWorld(t, { work: PLAIN, account: { pollSeconds: 1 }, mails: 24, common: 8 });
  const { box, work, home, mails } = world;
  const [flagged, moved, deleted, spared] = held(mails, 0, true).map(({ messageId }) => messageId);
  const at = async (server: typeof work, folder: string): Promise<Map<string | null, readonly string[]>> =>
    new Map((await server.list('alice', folder)).map(({ messageId, flags }) => [messageId, flags]));
  const client = await box.imap();
  t.teardown(() => client.close());
  await client.ok('SELECT INBOX');

  t.equal((await box.list()).length, mails.length, 'the union');

  await client.ok(`UID STORE ${await uidOf(client, flagged!)} +FLAGS (\\Flagged)`);
  await box.sync();
  t.ok((await at(work, 'INBOX')).get(flagged!)?.includes('\\Flagged'), 'a flag goes up');

  const direct = await work.imap();
  await direct.ok('SELECT INBOX');
  await direct.ok(`UID STORE ${await uidOf(direct, flagged!)} -FLAGS (\\Flagged)`);
  await eventually(
    'the flag to go at home',
    async () => !(await at(home, 'INBOX')).get(flagged!)?.includes('\\Flagged'),
  );

  await client.ok(`UID MOVE ${await uidOf(client, moved!)} Archive`);
  await box.sync();
  t.notOk((await at(work, 'INBOX')).has(moved!));
  t.same([...(await at(work, 'Archive')).keys()], [moved], 'a move is a copy and a deletion');

  await t.test('an expunge spares what others marked \\Deleted', async (t) => {
    await direct.ok(`UID STORE ${await uidOf(direct, spared!)} +FLAGS (\\Deleted)`);
    await client.ok(`UID STORE ${await uidOf(client, deleted!)} +FLAGS (\\Deleted)`);
    await client.ok(`UID EXPUNGE ${await uidOf(client, deleted!)}`);
    await box.sync();
    const inbox = await at(work, 'INBOX');
    t.notOk(inbox.has(deleted!), 'the one that was meant is gone');
    t.ok(inbox.has(spared!), 'the other one is still there');
    t.ok(inbox.get(spared!)?.includes('\\Deleted'), 'and marked as it was');
  });

  await t.test('an append is uploaded once', async (t) => {
    await box.append('INBOX', 'From: alice@work.example\nSubject: once\nMessage-ID: <once@test.example>\n\nx\n');
    await box.sync();
    await box.sync();
    const copies = (await work.list('alice', 'INBOX')).filter(({ messageId }) => messageId === '<once@test.example>');
    t.equal(copies.length, 1);
    t.equal((await box.list()).filter(({ messageId }) => messageId === '<once@test.example>').length, 1);
  });

  await t.test('new mail and deletions are found by polling', async (t) => {
    await work.deliver('alice', 'INBOX', 'Subject: polled\nMessage-ID: <polled@test.example>\n\nx\n');
    const uid = await eventually('the new mail', async () => {
      await client.ok('NOOP');
      return uidOf(client, '<polled@test.example>').catch(() => false as const);
    });
    await direct.ok('NOOP');
    await direct.ok(`UID STORE ${await uidOf(direct, '<polled@test.example>')} +FLAGS (\\Deleted)`);
    await direct.ok(`UID STORE ${await uidOf(direct, spared!)} -FLAGS (\\Deleted)`);
    await direct.ok('EXPUNGE');
    await eventually('the entry to go', async () => {
      await client.ok('NOOP');
      return (await client.ok(`UID SEARCH UID ${uid}`)).untagged.includes('SEARCH');
    });
    await box.sync();
    t.ok((await at(work, 'INBOX')).has(spared!), 'and nothing else went with it');
    t.equal((await box.list()).length, mails.length - 2 + 1);
  });
  await direct.logout();
});

t.test('two users share nothing', async (t) => {
  const server = await startDovecot({ users: { ann: 'one', ben: 'two' } });
  t.teardown(() => server.stop());
  const message = (to: string): string => `Subject: for ${to}\nMessage-ID: <same@test.example>\n\nonly ${to}\n`;
  await server.deliver('ann', 'INBOX', message('ann'));
  await server.deliver('ben', 'INBOX', message('ben'));
  await server.deliver('ben', 'INBOX', message('ben').replace('same', 'second'));
  const user = (name: string) => ({ name, password: `${name}-pw`, accounts: [{ id: 'a', server, login: name }] });
  const box = await startMergebox({ users: [user('ann'), user('ben')] });
  t.teardown(() => box.stop());
  await box.sync();
  t.same(
    (await box.list('INBOX', 'ann')).map(({ subject }) => subject),
    ['for ann'],
  );
  t.same(
    (await box.list('INBOX', 'ben')).map(({ subject }) => subject),
    ['for ben', 'for ben'],
  );

  const [ann, ben] = [await box.imap('ann'), await box.imap('ben')];
  t.teardown(() => {
    ann.close();
    ben.close();
  });
  await ann.ok('SELECT INBOX');
  await ben.ok('SELECT INBOX');
  await ben.ok('STORE 1:* +FLAGS (\\Flagged)');
  await ben.ok('UID STORE 2 +FLAGS (\\Deleted)');
  await ben.ok('EXPUNGE');
  await box.sync();
  t.same((await ann.ok('NOOP')).untagged, [], 'nothing of it is told to the other');
  t.match(await server.list('ann', 'INBOX'), [{ flags: [] }]);
  t.match(await server.list('ben', 'INBOX'), [{ flags: ['\\Flagged'] }]);
  t.equal((await box.list('INBOX', 'ben')).length, 1);
});
