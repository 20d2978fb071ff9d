import t from 'tap';
import { FakeServer, FULL } from './support/fake-server.js';
import { type MailWorld, openWorld } from './support/mail-world.js';

async function world(t: Parameters<typeof openWorld>[0], paths: readonly string[]): Promise<MailWorld> {
  const work = new FakeServer(FULL);
  work.create('INBOX', 'inbox');
  for (const path of paths) work.create(path, null);
  const opened = await openWorld(t, { work });
  await opened.settle();
  return opened;
}

const namesOf = async ({ mail }: MailWorld): Promise<string[]> => (await mail.list()).map(({ name }) => name);

t.test('CREATE refuses a name that no server takes, so that nothing is owed that cannot be done', async (t) => {
  const { mail, store } = await world(t, []);
  for (const name of ['a\u0001b', 'Accounts/work/\u007f', 'a\r\nb']) {
    await t.rejects(mail.create(name), { code: 'cannot' }, JSON.stringify(name));
  }
  t.strictSame(await store.read((tx) => tx.all('SELECT id FROM action')), []);
});

t.test('RENAME refuses a place below itself and one where folders are', async (t) => {
  const { mail } = await world(t, ['p', 'p/x', 'q/x', 'one']);
  await t.rejects(mail.rename('Accounts/work/one', 'Accounts/work/one/sub'), { code: 'cannot' });
  await t.rejects(mail.rename('Accounts/work/p', 'Accounts/work/q'), { code: 'alreadyexists' });
  await mail.rename('Accounts/work/p', 'Accounts/work/r');
  t.match(await namesOf({ mail } as MailWorld), /Accounts\/work\/r\/x/);
});

t.test('a mirror of every folder, also of those whose names look alike', async (t) => {
  const opened = await world(t, ['a%2Fb', 'a%252Fb', 'a%25b']);
  const names = await namesOf(opened);
  for (const name of ['a%252Fb', 'a%25252Fb', 'a%2525b']) t.ok(names.includes(`Accounts/work/${name}`), name);
  await opened.mail.create('Accounts/work/c%252Fd');
  await opened.settle();
  t.ok(opened.servers['work']!.folders.has('c%2Fd'), 'an escape is taken back on the way up');
});
