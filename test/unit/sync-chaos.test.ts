import t, { type Test } from 'tap';
import { MergeboxError } from '../../src/util/errors.js';
import { eventually } from '../harness/net.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import type { FakeUpstream, Step } from './support/fake-upstream.js';
import { MailWorld, openWorld, scratch } from './support/mail-world.js';

/** What the model checker (test/chaos) found, each made small. */

function servers(features: FakeFeatures = FULL): { work: FakeServer; home: FakeServer } {
  const work = new FakeServer(features);
  const home = new FakeServer(features);
  for (const server of [work, home]) {
    server.create('INBOX', 'inbox').add(mail('both'));
    server.create('Trash', 'trash');
    server.create('Kept').add(mail('filed'));
  }
  work.folder('INBOX').add(mail('work only'));
  work.create('Projects').add(mail('plan'));
  return { work, home };
}

/** Its UID in INBOX. */
const WORK_ONLY = 2;

async function settled(t: Test, made = servers()): Promise<MailWorld> {
  const world = await openWorld(t, made);
  await world.settle();
  return world;
}

/** Lets calls that match fail as if the server could not be reached, until the result is called. */
function outage(upstream: FakeUpstream, calls: RegExp): { over: () => void; met: Promise<void> } {
  let tell: () => void = () => undefined;
  const met = new Promise<void>((resolve) => {
    tell = resolve;
  });
  upstream.step = (call, moment) => {
    if (moment === 'after' || !calls.test(call)) return;
    tell();
    throw new MergeboxError('unavailable', `${call}: not now`);
  };
  const over = (): void => {
    upstream.step = () => undefined;
  };
  return { over, met };
}

/** Does something once, right after a call that matches was done and before its answer. */
function rightAfter(calls: RegExp, act: () => void): Step {
  let done = false;
  return (call, moment) => {
    if (done || moment === 'before' || !calls.test(call)) return;
    done = true;
    act();
  };
}

/** What one waits for until another opens it. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open: () => void = () => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open, passed };
}

/** By UID: to look for a subject would read the bytes and so keep them. */
async function copy(world: MailWorld, from: string, uid: number, to: string): Promise<void> {
  await world.in(from, (mailbox) => mailbox.copy([uid], to));
}

t.test('a copy that follows a deletion into Trash agrees with its entry there about flags', async (t) => {
  const world = await settled(t);
  const { work, home } = world.servers;
  work!.moveElsewhere('INBOX', [1], 'Trash');
  await world.in('INBOX', (mailbox) => mailbox.store([1], 'add', ['\\Flagged']));
  await world.settle();
  await world.check();
  t.same(
    (await world.entries('Trash')).map(({ subject, flags }) => [subject, flags.includes('\\Flagged')]),
    [['both', true]],
  );
  for (const server of [work!, home!]) t.ok(server.contents().includes('Trash: both [\\Flagged]'));
});

t.test('a sync that is waited for forgets a folder that is gone', async (t) => {
  const world = await settled(t);
  world.servers['work']!.folders.delete('Projects');
  await world.settle();
  const names = (await world.mail.list()).map(({ name }) => name);
  t.notOk(names.includes('Accounts/work/Projects'));
});

t.test('an upload whose mail another client destroyed first ends', async (t) => {
  const world = await settled(t);
  const fault = outage(world.upstreams['work']!, /^fetch body/);
  await copy(world, 'INBOX', WORK_ONLY, 'Accounts/home/Kept');
  await fault.met;
  world.servers['work']!.folder('INBOX').remove([2]);
  fault.over();
  await world.settle();
  t.notOk((await world.view()).some((line) => line.includes('work only')));
});

t.test('a folder that an upload needs is not deleted', async (t) => {
  const world = await settled(t);
  const fault = outage(world.upstreams['work']!, /^fetch body/);
  await copy(world, 'Accounts/work/Projects', 1, 'Accounts/home/Kept');
  await t.rejects(world.mail.delete('Accounts/work/Projects'), { code: 'unavailable' });
  fault.over();
  await world.settle();
  await world.mail.delete('Accounts/work/Projects');
  await world.settle();
  t.ok(world.servers['home']!.contents().includes('Kept: plan []'));
});

for (const features of [FULL, PLAIN]) {
  t.test(`an upload that another client moves on at once is one mail, UIDPLUS ${features.uidplus}`, async (t) => {
    const world = await settled(t, servers(features));
    const { work } = world.servers;
    await world.mail.create('Accounts/work/New', undefined);
    world.upstreams['work']!.step = rightAfter(/^append New/, () => work!.moveElsewhere('New', [1], 'Trash'));
    await world.mail.append('Accounts/work/New', [{ bytes: mail('quick'), flags: [], internalDate: 1_710_000_000 }]);
    await world.settle();
    t.same(
      work!.contents().filter((line) => line.includes('quick')),
      ['Trash: quick []'],
    );
    t.same(
      (await world.view()).filter((line) => line.includes('quick')).map((line) => line.split(':')[0]),
      ['Accounts/work/Trash', 'Trash'],
    );
  });
}

t.test(
  'of two clients that move a mail to different places the first wins, though its bytes are at hand',
  async (t) => {
    const world = await settled(t);
    const { work } = world.servers;
    const fault = outage(world.upstreams['home']!, /^append/);
    await world.mail.append('INBOX', [{ bytes: mail('wanted'), flags: [], internalDate: 1_710_000_000 }]);
    // An upload that is owed elsewhere keeps the bytes.
    await copy(world, 'INBOX', 3, 'Accounts/home/Kept');
    await fault.met;
    for (const engine of world.sync.engines)
      if (engine.name === 'work') await engine.settle(AbortSignal.timeout(5_000));
    work!.moveElsewhere('INBOX', [3], 'Projects');
    await world.in('INBOX', (mailbox) => mailbox.move([3], 'Trash'));
    fault.over();
    await world.settle();
    t.same(
      work!.contents().filter((line) => line.includes('wanted')),
      ['Projects: wanted []'],
    );
  },
);

t.test('the mark of a client that moves without MOVE does not stay on the copies of other accounts', async (t) => {
  const world = await settled(t);
  const { work, home } = world.servers;
  work!.folder('Projects').add(mail('both'));
  work!.folder('INBOX').flag([1], ['\\Deleted']);
  await world.settle();
  t.ok(home!.contents().includes('INBOX: both [\\Deleted]'), 'marked as long as it may be a deletion');
  work!.folder('INBOX').remove([1]);
  await world.settle();
  t.ok(home!.contents().includes('INBOX: both []'));
});

t.test('what a deletion elsewhere takes to Trash is not marked there for the next EXPUNGE', async (t) => {
  const world = await settled(t);
  const { work, home } = world.servers;
  work!.folder('INBOX').flag([1], ['\\Deleted']);
  await world.settle();
  work!.folder('INBOX').remove([1]);
  await world.settle();
  t.ok(home!.contents().includes('Trash: both []'));
});

t.test('a mail destroyed by another client while a COPY and an upload of it are owed holds nothing up', async (t) => {
  const world = await settled(t);
  const fault = outage(world.upstreams['work']!, /^(copy|fetch body)/);
  await copy(world, 'INBOX', WORK_ONLY, 'Accounts/work/Projects');
  await copy(world, 'INBOX', WORK_ONLY, 'Accounts/home/Kept');
  await world.in('INBOX', async (mailbox) => {
    await mailbox.store([WORK_ONLY], 'add', ['\\Deleted']);
    await mailbox.expunge([WORK_ONLY]);
  });
  await fault.met;
  world.servers['work']!.folder('INBOX').remove([2]);
  for (const engine of world.sync.engines) await engine.round();
  fault.over();
  await world.settle();
  t.notOk((await world.view()).some((line) => line.includes('work only')));
});

t.test('an upload that is moved by its client and by another one before it was read back ends', async (t) => {
  const world = await settled(t);
  const { work } = world.servers;
  const fault = outage(world.upstreams['work']!, /^append INBOX/);
  await world.mail.append('INBOX', [{ bytes: mail('quick'), flags: [], internalDate: 1_710_000_000 }]);
  await fault.met;
  await world.in('INBOX', (mailbox) => mailbox.move([3], 'Trash'));
  fault.over();
  world.upstreams['work']!.step = rightAfter(/^append INBOX/, () => work!.moveElsewhere('INBOX', [3], 'Projects'));
  await world.settle();
  t.same(
    work!.contents().filter((line) => line.includes('quick')),
    ['Projects: quick []'],
  );
});

t.test(
  'flags of a moved mail are those its server has, also when the target is listed before the answer',
  async (t) => {
    const world = await settled(t);
    const { work } = world.servers;
    work!.folder('Trash').add(mail('old'));
    work!.folder('INBOX').flag([WORK_ONLY], ['\\Flagged']);
    await world.settle();
    const gates = { listed: gate(), moved: gate() };
    const bound = "SELECT 1 FROM copy JOIN folder ON folder.id = folder_id WHERE path = 'Trash' AND uid = 3";
    // The round passes INBOX, then waits with Trash until the server has done the MOVE.
    work!.folder('Trash').add(mail('new'));
    world.upstreams['work']!.step = async (call, moment) => {
      if (call === 'examine Trash' && moment === 'before') {
        gates.listed.open();
        await gates.moved.passed;
      }
      if (call.startsWith('move INBOX') && moment === 'after') gates.moved.open();
      if (call === 'messages Trash' && moment === 'after') {
        await eventually('the answer to be recorded', () => world.store.read((tx) => tx.get(bound).then(Boolean)), {
          everyMs: 2,
        });
      }
    };
    const engine = world.sync.engines.find(({ name }) => name === 'work')!;
    const round = engine.round();
    await gates.listed.passed;
    work!.folder('INBOX').flag([WORK_ONLY], [], ['\\Flagged']);
    await world.in('INBOX', (mailbox) => mailbox.move([WORK_ONLY], 'Trash'));
    await round;
    await world.settle();
    t.ok(work!.contents().includes('Trash: work only []'));
    t.same(
      (await world.entries('Accounts/work/Trash'))
        .filter(({ subject }) => subject === 'work only')
        .map((each) => each.flags),
      ['$account_work'],
    );
  },
);

t.test('an EXPUNGE whose answer is lost stands in the ledger', async (t) => {
  const world = await settled(t);
  const upstream = world.upstreams['work']!;
  upstream.step = (call, moment) => {
    if (moment !== 'after' || !/^expunge INBOX/.test(call)) return;
    upstream.step = () => undefined;
    throw new MergeboxError('connection', 'connection lost');
  };
  await world.in('INBOX', async (mailbox) => {
    await mailbox.store([WORK_ONLY], 'add', ['\\Deleted']);
    await mailbox.expunge([WORK_ONLY]);
  });
  await world.settle();
  const rows = await world.store.read((tx) =>
    tx.all<{ folder: string; uid: number }>("SELECT folder, uid FROM ledger WHERE kind <> 'mark'"),
  );
  t.same(rows, [{ folder: 'INBOX', uid: 2 }]);
});

t.test('an EXPUNGE in a folder that was made anew waits for nothing', async (t) => {
  const world = await settled(t);
  const { home } = world.servers;
  const fault = outage(world.upstreams['home']!, /^(store|expunge)/);
  await world.in('Accounts/home/Kept', async (mailbox) => {
    await mailbox.store([1], 'add', ['\\Deleted']);
    await mailbox.expunge([1]);
  });
  await fault.met;
  home!.folders.delete('Kept');
  home!.create('Kept');
  fault.over();
  await world.settle();
  t.same(await world.entries('Accounts/home/Kept'), []);
});

t.test('CREATE and RENAME of a folder that does not exist yet make one folder', async (t) => {
  const world = await settled(t);
  const work = world.upstreams['work']!;
  const fault = outage(work, /^create/);
  await world.mail.create('Accounts/work/Draft name', undefined);
  await fault.met;
  await world.mail.rename('Accounts/work/Draft name', 'Accounts/work/Final name');
  // Some servers look at the target first.
  work.step = (call, moment) => {
    if (moment === 'before' && call.startsWith('rename')) throw new MergeboxError('refused', '[ALREADYEXISTS] exists');
  };
  await world.settle();
  t.ok(work.server.folders.has('Final name'));
  t.notOk(work.server.folders.has('Draft name'));
});

t.test('a folder that is gone when its DELETE is repeated is deleted, whatever the server says to it', async (t) => {
  const world = await settled(t);
  const work = world.upstreams['work']!;
  work.step = (call, moment) => {
    if (!call.startsWith('delete Projects')) return;
    if (moment === 'after') throw new MergeboxError('connection', 'connection lost');
    if (!work.server.folders.has('Projects')) throw new MergeboxError('refused', 'Mailbox does not exist');
  };
  await world.mail.delete('Accounts/work/Projects');
  await world.settle();
  t.notOk(work.server.folders.has('Projects'));
});

t.test('no folder is named at an account that was never reached', async (t) => {
  const world = await MailWorld.open(await scratch(t), servers());
  t.teardown(() => world.close());
  const message = { bytes: mail('early'), flags: [], internalDate: 1_710_000_000 };
  await t.rejects(world.mail.create('Accounts/home/New', undefined), { code: 'unavailable' });
  await t.rejects(world.mail.append('Drafts', [message]), { code: 'unavailable' });
  await world.mail.append('INBOX', [message]);
  await world.start();
  await world.settle();
  t.ok(world.servers['work']!.contents().includes('INBOX: early []'));
});
