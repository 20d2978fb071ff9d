import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import t, { type Test } from 'tap';
import { RELAY_TIMEOUTS } from '../../src/submit/limits.js';
import { QueueDatabase } from '../../src/submit/queue/database.js';
import { type DutyParts, Duties } from '../../src/submit/queue/duties.js';
import type { QueuedMail } from '../../src/submit/queue/mail.js';
import type { NewMail } from '../../src/submit/queue/options.js';
import { OutgoingQueue } from '../../src/submit/queue/queue.js';
import { SenderBook } from '../../src/submit/sender.js';
import type { SendingAccount, SendingUser } from '../../src/submit/types.js';
import { type Clock, systemClock } from '../../src/util/clock.js';
import { MergeboxError } from '../../src/util/errors.js';
import { silentLog } from '../../src/util/log.js';
import { eventually, freePorts } from '../harness/net.js';
import { account, HostProbe, upstream } from '../harness/submission.js';

const NEVER_MS = 3_600_000;
const CONTENT = Buffer.from('From: alice@work.example\r\nMessage-ID: <1@laptop.example>\r\n\r\nhello\r\n');

async function queueOf(
  test: Test,
  accounts: readonly SendingAccount[],
  clock: Clock = systemClock,
  relay: SendingUser['relay'] = null,
) {
  const dir = await mkdtemp(join(tmpdir(), 'mbq-'));
  const host = new HostProbe();
  const queue = await OutgoingQueue.open({
    dir,
    book: () => new SenderBook({ name: 'alice', accounts, relay }),
    host,
    hostname: 'box.example',
    times: { retryMs: NEVER_MS, warnMs: NEVER_MS, giveUpMs: 10 * NEVER_MS, lookMs: NEVER_MS },
    timeouts: RELAY_TIMEOUTS,
    clock,
    log: silentLog(),
    metrics: { ended: () => undefined, unknown: () => undefined, notFiled: () => undefined },
  });
  await queue.start();
  test.teardown(async () => {
    await queue.close();
    await rm(dir, { recursive: true, force: true });
  });
  return { queue, host };
}

function newMail(to: readonly string[] = ['bob@far.example'], changes: Partial<NewMail> = {}): NewMail {
  return {
    account: 'work',
    viaRelay: false,
    sender: 'alice@work.example',
    priority: 0,
    size: CONTENT.length,
    recipients: to.map((address) => ({ address, state: 'waiting' as const })),
    releaseAt: 0,
    envelope: {
      from: 'alice@work.example',
      messageId: '<1@laptop.example>',
      subject: '',
      utf8: false,
      eightBit: false,
      headerUtf8: false,
      requireTls: false,
      ret: null,
      envid: null,
      mtPriority: null,
      trace: '',
      added: '',
      hidden: [],
      headerEnd: 60,
      spool: null,
      answers: [],
      forwards: [],
    },
    ...changes,
  };
}

const queued = (changes: Partial<QueuedMail> = {}): QueuedMail => ({
  ...newMail(),
  ...{ id: 1, created: 0, since: 0, nextTry: 0, dutyAt: 0, state: 'waiting', attempts: 0, error: null },
  ...{ warned: false, filed: false, looks: 0, marked: false, reports: 0, repeated: false },
  ...changes,
});

t.test('a mail that is held while its delay is looked into stays held', async (t) => {
  const server = await upstream(t, { answer: (verb) => (verb === 'RCPT' ? '451 4.2.0 grey' : undefined) });
  let ahead = 0;
  const clock: Clock = { now: () => Date.now() + ahead, sleep: systemClock.sleep };
  const { queue } = await queueOf(t, [account('work', server)], clock);
  await (await queue.accept(newMail(), { bytes: CONTENT, file: null })).outcome;
  await eventually('it waits', async () => (await queue.show(1)).attempts === 1);
  ahead = 2 * NEVER_MS;
  await Promise.all([queue.lookForLate(), queue.show(1).then(() => queue.hold(1))]);
  t.equal((await queue.show(1)).state, 'held');
  t.equal(server.commandsOf('RCPT').length, 1);
});

t.test('a mail whose answer was lost is looked for first, also when a person held it meanwhile', async (t) => {
  let dots = 0;
  const server = await upstream(t, {
    answer: (verb) => {
      if (verb === '.') dots += 1;
      return verb === '.' && dots === 1 ? 'drop' : undefined;
    },
  });
  const { queue, host } = await queueOf(t, [account('work', server, { sent: 'auto' })]);
  host.sent = () => 'server';
  await (await queue.accept(newMail(), { bytes: CONTENT, file: null })).outcome;
  const hold = () =>
    queue.hold(1).then(
      () => true,
      () => false,
    );
  await eventually('it can be held', hold);
  await queue.retry(1);
  await eventually('it is over', async () => !(await queue.has(1)));
  t.strictSame([dots, host.looks.length], [1, 1], 'its server had it');
});

t.test('mail behind a server that is down keeps no content in memory', async (t) => {
  const [port = 0] = await freePorts(1);
  const { queue } = await queueOf(t, [account('work', port)]);
  const contents: WeakRef<Buffer>[] = [];
  for (let count = 0; count < 20; count += 1) {
    const bytes = Buffer.concat([CONTENT]);
    contents.push(new WeakRef(bytes));
    (await queue.accept(newMail(), { bytes, file: null })).leave('the client left');
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const left = contents.filter((each) => each.deref() !== undefined).length;
  t.ok(left <= 2, `${left} contents are in memory`);
});

t.test('what one transaction brought is recorded whatever it takes, before the next begins', async (t) => {
  const server = await upstream(t, { extensions: ['PIPELINING', 'LIMITS RCPTMAX=1'] });
  const sleeps: number[] = [];
  const clock: Clock = { now: () => Date.now(), sleep: async (ms) => void sleeps.push(ms) };
  const { queue } = await queueOf(t, [account('work', server)], clock);
  const { update } = QueueDatabase.prototype;
  let failures = 2;
  t.teardown(() => {
    QueueDatabase.prototype.update = update;
  });
  QueueDatabase.prototype.update = function (mail) {
    const between = mail.recipients.some(({ state }) => state === 'delivered') && mail.state === 'waiting';
    if (between && failures-- > 0) return Promise.reject(new MergeboxError('overquota', 'the disk is full'));
    return update.call(this, mail);
  };
  const ticket = await queue.accept(newMail(['a@far.example', 'b@far.example']), { bytes: CONTENT, file: null });
  t.match(await ticket.outcome, { kind: 'delivered' });
  t.strictSame(
    server.mails.map(({ to }) => to.join()),
    ['a@far.example', 'b@far.example'],
  );
  t.equal(sleeps.length, 2);
});

interface Facts extends Pick<QueueDatabase, 'fact' | 'learn'> {
  readonly known: Map<string, string>;
}

function dutiesWith(host: HostProbe): { readonly duties: Duties; readonly db: Facts } {
  const known = new Map<string, string>();
  const db: Facts = {
    known,
    fact: async (key) => known.get(key) ?? null,
    learn: async (key, value) => void known.set(key, value),
  };
  const duties = new Duties({
    ...{ host, clock: systemClock, log: silentLog(), hostname: 'box.example', giveUpMs: NEVER_MS },
    db: db as unknown as DutyParts['db'],
    content: async function* () {
      yield CONTENT;
    },
    onNotFiled: () => undefined,
  });
  return { duties, db };
}

/** Performs until nothing has to wait. */
async function settle(duties: Duties, mail: QueuedMail): Promise<QueuedMail> {
  let now = mail;
  for (let step = 0; step < 10; step += 1) {
    now = await duties.perform(now, { account: account('work', null, { sent: 'auto' }) }, 'server');
    if (now.dutyAt === 0) return now;
  }
  throw new Error('it never settles');
}

const DELIVERED = [{ address: 'bob@far.example', state: 'delivered' as const }];

t.test('who files the copy is learned from what Sent showed, for each way apart', async (t) => {
  const host = new HostProbe();
  const { duties, db } = dutiesWith(host);
  host.sent = () => 'unknown';
  await settle(duties, queued({ recipients: DELIVERED }));
  t.equal(db.known.size, 0, 'an account that could not be asked teaches nothing');
  host.sent = () => 'absent';
  await settle(duties, queued({ recipients: DELIVERED, viaRelay: true }));
  host.sent = () => 'server';
  const filed = host.filed.length;
  await settle(duties, queued({ recipients: DELIVERED }));
  t.equal(host.filed.length, filed, 'its own server files, whatever the relay does');
});

t.test('a Message-ID with something around it is looked for as the mailboxes know it', async (t) => {
  const host = new HostProbe();
  const { duties } = dutiesWith(host);
  const { envelope } = newMail();
  for (const messageId of ['<1@laptop.example> (first)', '< 1@laptop.example >', '1@laptop.example']) {
    await settle(duties, queued({ recipients: DELIVERED, looks: 1, envelope: { ...envelope, messageId } }));
  }
  t.strictSame([...new Set(host.looks)], ['1@laptop.example']);
});

t.test('a relay that sends when reachable asks for any account', async (t) => {
  const relay = await upstream(t);
  const target = account('relay', relay, { when: 'reachable' }).smtp!;
  const accounts = [account('work', null), account('home', null)];
  const { queue, host } = await queueOf(t, accounts, systemClock, { ...target, addresses: null });
  Object.assign(host, { reachable: (name: string) => name === 'home' });
  await queue.accept(newMail(undefined, { viaRelay: true }), { bytes: CONTENT, file: null });
  await eventually('it left', () => relay.mails.length === 1);
});

t.test('a copy that the configuration rules out is not owed for ever', async (t) => {
  const host = new HostProbe();
  const { duties } = dutiesWith(host);
  host.fault = new MergeboxError('cannot', 'account "work" has authority "upstream"');
  t.equal((await settle(duties, queued({ recipients: DELIVERED }))).filed, true);
});

t.test('a report that can be put nowhere stops no recipient that still waits', async (t) => {
  const host = new HostProbe();
  host.report = async () => false;
  const { duties } = dutiesWith(host);
  const waiting = { address: 'carol@far.example', state: 'waiting' as const };
  const failed = { address: 'bob@far.example', state: 'failed' as const };
  t.equal((await duties.warn(queued(), [waiting], 'server')).state, 'waiting');
  const mixed = queued({ recipients: [failed, waiting] });
  t.equal((await settle(duties, mixed)).state, 'waiting');
  t.equal((await settle(duties, { ...mixed, sender: '' })).state, 'waiting', 'nor does one with the null sender');
  t.equal((await settle(duties, { ...mixed, recipients: [failed] })).state, 'held');
});
