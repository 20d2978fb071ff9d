import path from 'node:path';
import t, { type Test } from 'tap';
import { MergeboxError } from '../../src/util/errors.js';
import { type FakeFeatures, FakeServer, FULL, mail, PLAIN } from './support/fake-server.js';
import type { Moment } from './support/fake-upstream.js';
import { copyDir, MailWorld, scratch, type Servers } from './support/mail-world.js';

/** What a client does before the engines are interrupted. */
interface Operation {
  readonly name: string;
  readonly run: (world: MailWorld) => Promise<void>;
}

/** How the engines are interrupted at one call to a server. */
const FAULTS = ['crash', 'lost connection', 'refusal'] as const;
type Fault = (typeof FAULTS)[number];

function servers(features: FakeFeatures): Servers {
  const work = new FakeServer(features);
  const home = new FakeServer(features);
  for (const [path, role] of [
    ['INBOX', 'inbox'],
    ['Archive', 'archive'],
    ['Trash', 'trash'],
    ['Projects', null],
  ] as const) {
    work.create(path, role);
  }
  // This one has neither Archive nor Trash yet.
  for (const [path, role] of [
    ['INBOX', 'inbox'],
    ['Kept', null],
  ] as const) {
    home.create(path, role);
  }
  const common = ['both one', 'both two'].map((subject) => mail(subject));
  for (const server of [work, home]) {
    for (const bytes of common) server.folder('INBOX').add(bytes);
  }
  work.folder('INBOX').add(mail('work only'));
  // The same mail twice in one folder, and mails that nothing but their octets tells apart.
  work.folder('INBOX').add(mail('twin'));
  work.folder('INBOX').add(mail('twin'));
  home.folder('INBOX').add(mail('home only'), '\\Seen');
  home.folder('INBOX').add(mail('nameless', 'aaa\r\n', { messageId: null }));
  home.folder('INBOX').add(mail('nameless', 'bbbbb\r\n', { messageId: null }));
  work.folder('Projects').add(mail('plan'));
  return { work, home };
}

async function move(world: MailWorld, from: string, subject: string, to: string): Promise<void> {
  const uids = await world.uids(from, subject);
  await world.in(from, (mailbox) => mailbox.move(uids, to));
}

async function copy(world: MailWorld, from: string, subject: string, to: string): Promise<void> {
  const uids = await world.uids(from, subject);
  await world.in(from, (mailbox) => mailbox.copy(uids, to));
}

async function store(world: MailWorld, name: string, subject: string, flags: readonly string[]): Promise<void> {
  const uids = await world.uids(name, subject);
  await world.in(name, (mailbox) => mailbox.store(uids, 'add', flags));
}

async function expunge(world: MailWorld, name: string, subject: string): Promise<void> {
  await store(world, name, subject, ['\\Deleted']);
  const uids = await world.uids(name, subject);
  await world.in(name, (mailbox) => mailbox.expunge(uids));
}

const OPERATIONS: readonly Operation[] = [
  {
    name: 'STORE',
    run: async (world) => {
      await store(world, 'INBOX', 'both one', ['\\Seen', '$Work']);
      await store(world, 'INBOX', 'twin', ['\\Flagged']);
    },
  },
  {
    name: 'APPEND',
    run: async (world) => {
      await world.mail.append('INBOX', [{ bytes: mail('appended'), flags: ['\\Seen'], internalDate: 1_710_000_000 }]);
      await world.mail.append('Accounts/home/Kept', [{ bytes: mail('kept'), flags: [], internalDate: 1_710_000_001 }]);
      // No folder of that role yet: it is made first.
      await world.mail.append('Drafts', [{ bytes: mail('draft'), flags: ['\\Draft'], internalDate: 1_710_000_002 }]);
    },
  },
  { name: 'COPY within accounts', run: (world) => copy(world, 'INBOX', 'both one', 'Archive') },
  { name: 'COPY within one folder', run: (world) => copy(world, 'INBOX', 'work only', 'INBOX') },
  {
    name: 'COPY of the same mail twice',
    run: async (world) => {
      await copy(world, 'INBOX', 'work only', 'Accounts/work/Projects');
      await copy(world, 'INBOX', 'work only', 'Accounts/work/Projects');
    },
  },
  { name: 'COPY across accounts', run: (world) => copy(world, 'INBOX', 'work only', 'Accounts/home/Kept') },
  { name: 'MOVE within accounts', run: (world) => move(world, 'INBOX', 'both one', 'Archive') },
  { name: 'MOVE of twins', run: (world) => move(world, 'INBOX', 'twin', 'Archive') },
  { name: 'MOVE of mails that look alike', run: (world) => move(world, 'INBOX', 'nameless', 'Accounts/home/Kept') },
  { name: 'MOVE across accounts', run: (world) => move(world, 'INBOX', 'work only', 'Accounts/home/Kept') },
  { name: 'MOVE of a mail at both into one', run: (world) => move(world, 'INBOX', 'both two', 'Accounts/home/Kept') },
  { name: 'EXPUNGE', run: (world) => expunge(world, 'INBOX', 'both one') },
  {
    name: 'EXPUNGE of one twin',
    run: async (world) => {
      const [uid] = await world.uids('INBOX', 'twin');
      await world.in('INBOX', async (mailbox) => {
        await mailbox.store([uid!], 'add', ['\\Deleted']);
        await mailbox.expunge([uid!]);
      });
    },
  },
  {
    name: 'COPY across accounts and EXPUNGE of the source',
    run: async (world) => {
      await copy(world, 'INBOX', 'work only', 'Accounts/home/Kept');
      await expunge(world, 'INBOX', 'work only');
    },
  },
  {
    name: 'a chain: APPEND, MOVE, STORE, MOVE across',
    run: async (world) => {
      await world.mail.append('INBOX', [{ bytes: mail('chained'), flags: [], internalDate: 1_710_000_003 }]);
      await move(world, 'INBOX', 'chained', 'Archive');
      await store(world, 'Archive', 'chained', ['\\Flagged']);
      await move(world, 'Archive', 'chained', 'Accounts/home/Kept');
    },
  },
  {
    name: 'a deletion at one server',
    run: async (world) => {
      const inbox = world.servers['work']!.folder('INBOX');
      inbox.remove([inbox.messages[0]!.uid]);
    },
  },
  {
    name: 'a move into Trash at one server',
    run: async (world) => {
      const { work } = world.servers;
      work!.moveElsewhere('INBOX', [work!.folder('INBOX').messages[0]!.uid], 'Trash');
    },
  },
];

/** The state of all servers, and of what a client sees. */
interface Outcome {
  readonly work: readonly string[];
  readonly home: readonly string[];
  readonly view: readonly string[];
}

async function outcome(world: MailWorld): Promise<Outcome> {
  await world.settle();
  await world.check();
  const before = { dump: await world.dump(), mutations: world.mutations() };
  await world.settle();
  const after = { dump: await world.dump(), mutations: world.mutations() };
  if (before.mutations !== after.mutations) throw new Error('a second sync changed a server');
  const changes = changed(before.dump, after.dump);
  if (changes.length > 0) throw new Error(`a second sync changed the store:\n${changes.join('\n')}`);
  const { work, home } = world.servers;
  return { work: work!.contents(), home: home!.contents(), view: await world.view() };
}

function changed(before: readonly string[], after: readonly string[]): string[] {
  return [
    ...before.filter((row) => !after.includes(row)).map((row) => `- ${row}`),
    ...after.filter((row) => !before.includes(row)).map((row) => `+ ${row}`),
  ];
}

/** A store in sync with its servers, to start every run from. */
async function prepare(t: Test, features: FakeFeatures): Promise<{ dir: string; servers: Servers }> {
  const dir = await scratch(t);
  const world = await MailWorld.open(path.join(dir, 'base'), servers(features));
  await world.start();
  await world.settle();
  await world.close();
  return { dir, servers: world.servers };
}

class Runs {
  readonly #base: { dir: string; servers: Servers };
  #count = 0;

  constructor(base: { dir: string; servers: Servers }) {
    this.#base = base;
  }

  /** A fresh world in the prepared state, its engines not started. */
  async world(): Promise<MailWorld> {
    this.#count += 1;
    const dir = path.join(this.#base.dir, `run${this.#count}`);
    await copyDir(path.join(this.#base.dir, 'base'), dir);
    const { work, home } = this.#base.servers;
    return MailWorld.open(dir, { work: work!.clone(), home: home!.clone() });
  }
}

/** Every call that the engines make from the operation to quiescence, as `account call moment`, and the outcome. */
async function uninterrupted(runs: Runs, operation: Operation): Promise<{ calls: string[]; outcome: Outcome }> {
  const world = await runs.world();
  await operation.run(world);
  const calls: string[] = [];
  for (const [name, upstream] of Object.entries(world.upstreams)) {
    upstream.step = (call, moment) => void calls.push(`${name} ${call} ${moment}`);
  }
  try {
    await world.start();
    await world.settle();
    const seen = [...calls];
    return { calls: seen, outcome: await outcome(world) };
  } finally {
    await world.crash();
  }
}

/** Interrupts at the first call that matches, then lets everything run to its end. Null when no such call was made. */
async function interrupted(
  runs: Runs,
  operation: Operation,
  at: string,
  nth: number,
  fault: Fault,
): Promise<Outcome | null> {
  const first = await runs.world();
  await operation.run(first);
  let hit = 0;
  let reached: () => void = () => undefined;
  const interruption = new Promise<void>((resolve) => {
    reached = resolve;
  });
  for (const [name, upstream] of Object.entries(first.upstreams)) {
    upstream.step = (call: string, moment: Moment) => {
      if (`${name} ${call} ${moment}` !== at) return undefined;
      hit += 1;
      if (hit !== nth) return undefined;
      reached();
      if (fault === 'crash') return new Promise<void>(() => undefined);
      if (fault === 'refusal') throw new MergeboxError('refused', `${call}: [INUSE] not now`);
      throw new MergeboxError('connection', `${call}: connection lost`);
    };
  }
  await first.start();
  const settled = first.settle().then(
    () => 'settled',
    () => 'failed',
  );
  await Promise.race([interruption, settled]);
  if (hit < nth) {
    await first.close();
    return null;
  }
  if (fault !== 'crash') {
    // What the failure makes the engine do runs to its end; then it starts anew, as after its pause.
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, 15))]);
  }
  await first.crash();
  const second = await MailWorld.open(first.dir, first.servers);
  try {
    await second.start();
    return await outcome(second);
  } finally {
    await second.crash();
  }
}

const isMutation = (call: string): boolean =>
  /^\S+ (?:store|copy|move|move:|expunge|expunge:|append|create|delete|rename) /.test(call);

interface Point {
  readonly call: string;
  /** It was made so many times up to here. */
  readonly nth: number;
  readonly fault: Fault;
}

/** Set to look at a crash at every call, not only at every change and some of the others. */
const everything = process.env['MERGEBOX_TEST_ALL'] !== undefined;

/** Where a run can be interrupted so that it makes a difference. */
function points(calls: readonly string[]): Point[] {
  const seen = new Map<string, number>();
  return calls.flatMap((call, index): Point[] => {
    const nth = (seen.get(call) ?? 0) + 1;
    seen.set(call, nth);
    // What only reads leaves nothing behind: a crash after one is a crash before the next call.
    if (!isMutation(call)) {
      const counts = everything ? !/^\S+ (?:connect|list|watch)|after$/.test(call) : index % 12 === 0;
      return counts ? [{ call, nth, fault: 'crash' }] : [];
    }
    const some = call.endsWith('before') ? (['refusal'] as const) : (['crash'] as const);
    const faults = FAULTS.filter((fault) => fault !== 'refusal' || call.endsWith('before'));
    return (everything ? faults : some).map((fault) => ({ call, nth, fault }));
  });
}

/** Runs at the same time: each waits for timers and the disk more than it computes. */
const PARALLEL = 6;

async function everyPoint(t: Test, runs: Runs, operation: Operation): Promise<void> {
  const { calls, outcome: expected } = await uninterrupted(runs, operation);
  const waiting = points(calls);
  t.ok(waiting.length > 0, `${waiting.length} interruptions`);
  const work = async (): Promise<void> => {
    for (let point = waiting.shift(); point; point = waiting.shift()) {
      const { call, nth, fault } = point;
      const name = `${fault} at ${call} (${nth})`;
      try {
        const result = await interrupted(runs, operation, call, nth, fault);
        if (result !== null) t.strictSame(result, expected, name);
      } catch (error) {
        t.fail(`${name}: ${(error as Error).message}`);
      }
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, work));
}

const only = process.env['MERGEBOX_TEST_OPERATION'];

for (const [kind, features] of [
  ['a server with QRESYNC, UIDPLUS and MOVE', FULL],
  ['a plain server', PLAIN],
] as const) {
  t.test(`whatever interrupts the engines, ${kind}`, async (t) => {
    const runs = new Runs(await prepare(t, features));
    for (const operation of OPERATIONS) {
      if (only !== undefined && !new RegExp(only).test(operation.name)) continue;
      await t.test(operation.name, (t) => everyPoint(t, runs, operation));
    }
  });
}
