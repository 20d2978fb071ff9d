import t, { type Test } from 'tap';
import { FakeServer, mail } from './support/fake-server.js';
import { type MailWorld, openWorld, type WorldOptions } from './support/mail-world.js';

type Mails = Readonly<Record<string, readonly Buffer[]>>;

async function worldOf(
  t: Test,
  inboxes: Mails,
  prepare: (server: FakeServer, name: string) => void = () => undefined,
  options: WorldOptions = {},
): Promise<MailWorld> {
  const servers = Object.fromEntries(
    Object.entries(inboxes).map(([name, mails]) => {
      const server = new FakeServer();
      for (const [folder, role] of [
        ['INBOX', 'inbox'],
        ['Trash', 'trash'],
      ] as const) {
        server.create(folder, role);
      }
      for (const bytes of mails) server.folder('INBOX').add(bytes);
      prepare(server, name);
      return [name, server];
    }),
  );
  const world = await openWorld(t, servers, options);
  await world.settle();
  return world;
}

const upstream = (world: MailWorld, account: string): string[] => world.servers[account]!.contents();
const subjects = async (world: MailWorld): Promise<string[]> =>
  (await world.entries('INBOX')).map(({ subject }) => subject);

t.test('RFC822.SIZE that lies: what was read tells the true size from then on', async (t) => {
  for (const factor of [0.5, 2]) {
    const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] }, (server) => {
      server.quirk = ({ bytes }) => ({ size: Math.round(bytes.length * factor) });
    });
    const { length } = mail('x');
    await world.in('INBOX', async (inbox) => {
      t.not(inbox.listing.sizes[0], length);
      const body = await inbox.body(1);
      t.same(await body.read(0, body.size), mail('x'), 'every octet is served');
      t.equal(inbox.listing.sizes[0], length);
    });
    await world.in('INBOX', async (inbox) => t.equal(inbox.listing.sizes[0], length, 'also when it is opened again'));
    t.equal((await world.mail.status('INBOX')).size, length);
    await world.in('INBOX', (inbox) => inbox.copy([1], 'Accounts/b/Trash'));
    await world.settle();
    t.same(upstream(world, 'b'), ['INBOX: x []', 'Trash: x []']);
  }
});

t.test('INTERNALDATE missing: the mail is dated when it came, and has one place', async (t) => {
  const before = Math.floor(Date.now() / 1_000);
  const world = await worldOf(t, { a: [mail('x'), mail('y')] }, (server) => {
    server.quirk = () => ({ internalDate: null });
  });
  await world.in('INBOX', async (inbox) => {
    t.equal(inbox.listing.length, 2);
    for (const date of inbox.listing.dates.subarray(0, 2)) t.ok(date >= before && date <= before + 60, String(date));
  });
});

t.test('ENVELOPE and BODYSTRUCTURE missing: made from the mail itself', async (t) => {
  const world = await worldOf(t, { a: [mail('x')] }, (server) => {
    server.quirk = () => ({ envelope: null, structure: null });
  });
  await world.in('INBOX', async (inbox) => {
    for await (const [row] of inbox.metadata([1], { envelope: true, structure: true })) {
      t.match(row!.envelope?.toString(), /"x"/);
      t.match(row!.structure?.toString(), /"plain"/i);
    }
  });
});

t.test('a thousand different mails with one Message-ID all stay, and deleting one deletes one', async (t) => {
  const many = Array.from({ length: 1_000 }, (_, n) =>
    mail(`m${n}`, `body ${n}\r\n`, { messageId: '<same@test.example>' }),
  );
  const world = await worldOf(t, { a: many, b: many.slice(0, 500) });
  t.equal((await world.mail.status('INBOX')).messages, 1_000);
  await world.in('INBOX', async (inbox) => {
    await inbox.store([7], 'add', ['\\Deleted']);
    await inbox.expunge();
  });
  await world.settle();
  t.equal((await world.mail.status('INBOX')).messages, 999);
  t.same([upstream(world, 'a').length, upstream(world, 'b').length], [999, 499]);
});

t.test('mails without Message-ID and equal mails in one folder stay apart', async (t) => {
  const nameless = mail('cron', 'ran\r\n', { messageId: null });
  const world = await worldOf(t, { a: [nameless, nameless, mail('twin'), mail('twin')] });
  t.same((await subjects(world)).sort(), ['cron', 'cron', 'twin', 'twin']);
  await world.in('INBOX', async (inbox) => {
    await inbox.store([1, 3], 'add', ['\\Deleted']);
    await inbox.expunge();
  });
  await world.settle();
  t.same(upstream(world, 'a').sort(), ['INBOX: cron []', 'INBOX: twin []']);
});

t.test('a forged Message-ID hides nothing and deletes nothing', async (t) => {
  const real = mail('invoice', 'pay 10 to A\r\n');
  const forged = mail('invoice', 'pay 99 to B\r\nnow\r\n');
  const world = await worldOf(t, { a: [real], b: [forged] });
  t.equal((await world.entries('INBOX')).length, 2);
  world.servers['b']!.folder('INBOX').remove([1]);
  await world.settle();
  t.same(upstream(world, 'a'), ['INBOX: invoice []']);
  t.same(await subjects(world), ['invoice']);
});

t.test('PERMANENTFLAGS without keywords and a limit of them: flags stay here, or are refused one by one', async (t) => {
  const world = await worldOf(t, { a: [mail('x')], b: [mail('x')] }, (server, name) => {
    if (name === 'a') server.folder('INBOX').offered = ['\\Seen', '\\Flagged', '\\Deleted'];
  });
  await world.in('INBOX', (inbox) => inbox.store([1], 'add', ['$Work', '\\Seen', '\\Answered']));
  await world.settle();
  t.same([upstream(world, 'a'), upstream(world, 'b')], [['INBOX: x [\\Seen]'], ['INBOX: x [\\Answered \\Seen $Work]']]);
  const count = world.mutations();
  world.servers['a']!.folder('INBOX').flag([1], ['\\Flagged']);
  await world.settle();
  const [entry] = await world.entries('INBOX');
  t.equal(entry!.flags, '\\Answered \\Flagged \\Seen $Work $account_a $account_b', 'nothing is read as cleared');
  t.equal(world.mutations(), count + 1, 'and one STORE was enough');
});
