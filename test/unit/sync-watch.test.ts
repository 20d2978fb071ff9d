import t, { type Test } from 'tap';
import { eventually } from '../harness/net.js';
import { type FakeFolder, FULL, FakeServer, mail, PLAIN } from './support/fake-server.js';
import { MailWorld, scratch } from './support/mail-world.js';

/** One account, polled once an hour: what is seen at once was told, or looked for. */
async function account(t: Test, features = FULL, onWatch: (inbox: FakeFolder) => void = () => undefined) {
  const server = new FakeServer(features);
  server.create('INBOX', 'inbox');
  for (const name of ['A', 'B', 'C']) server.create(name, null);
  server.folder('INBOX').add(mail('first'));
  const world = await MailWorld.open(await scratch(t), { a: server });
  t.teardown(() => world.close());
  const upstream = world.upstreams['a']!;
  const calls: string[] = [];
  upstream.step = (call, moment) => {
    if (moment !== 'before') return;
    calls.push(call);
    if (call === 'watch INBOX') onWatch(server.folder('INBOX'));
  };
  await world.start();
  return { server, world, upstream, calls };
}

async function seen(world: MailWorld, subject: string): Promise<void> {
  // What the server lost a moment ago cannot be read, and is still shown.
  const shown = async (): Promise<boolean> => (await world.uids('INBOX', subject).catch(() => [])).length === 1;
  await eventually(`"${subject}" in INBOX`, shown, { everyMs: 5, timeoutMs: 5_000 });
}

for (const [name, features] of [
  ['QRESYNC', FULL],
  ['no CONDSTORE', PLAIN],
] as const) {
  t.test(`mail that comes just before the watch begins is seen without an event, ${name}`, async (t) => {
    let come = 0;
    const { server, world } = await account(t, features, (inbox) => {
      come += 1;
      inbox.add(mail(`watched ${come}`));
    });
    await seen(world, 'watched 1');
    if (features === PLAIN) return;
    // The guard's second look renews the connections, and the watch begins anew after it.
    const engine = world.sync.engines[0]!;
    await engine.round();
    const inbox = server.folder('INBOX');
    inbox.remove(inbox.messages.map(({ uid }) => uid));
    await engine.round();
    await seen(world, 'watched 2');
  });
}

t.test('the first watch stands before the first look', async (t) => {
  const { world, calls } = await account(t);
  await world.settle();
  t.ok(calls.indexOf('watch INBOX') < calls.indexOf('examine INBOX'), calls.join());
  t.equal(calls.filter((call) => call === 'watch INBOX').length, 1);
});

t.test('mail that is told while all folders are looked at does not wait for the last of them', async (t) => {
  const { server, world, upstream } = await account(t, PLAIN);
  await world.settle();
  let release = (): void => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let told = false;
  upstream.step = async (call, moment) => {
    if (moment !== 'before') return;
    if (call === 'examine A') {
      server.folder('INBOX').add(mail('urgent'));
      upstream.notify();
      told = true;
    }
    if (call === 'examine C') await held;
  };
  const round = world.sync.engines[0]!.round();
  await seen(world, 'urgent');
  t.ok(told);
  release();
  await round;
});

t.test(
  'an event during a look at its folder is followed by another look at it, and by no look at all folders',
  async (t) => {
    const { server, world, upstream } = await account(t);
    await world.settle();
    const calls: string[] = [];
    upstream.step = (call, moment) => {
      if (moment !== 'before') return;
      calls.push(call);
      // After the state of the folder was taken, so that this look misses it.
      if (call === 'messages INBOX' && calls.filter((each) => each === call).length === 1) {
        server.folder('INBOX').add(mail('second'));
        upstream.notify();
      }
    };
    server.folder('INBOX').add(mail('one'));
    upstream.notify();
    await seen(world, 'one');
    await seen(world, 'second');
    // A loop that has more to do does it by now.
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.strictSame(
      calls.filter((call) => /^(?:list|status|examine [ABC])/.test(call)),
      [],
    );
  },
);
