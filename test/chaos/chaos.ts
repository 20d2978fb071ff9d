import { Random } from '../../bench/mail/random.js';
import { type Mergebox, startMergebox, type TestAccount } from '../harness/mergebox.js';
import { snapshotFaults } from './checks.js';
import { ClientActor, type Scene } from './client-actor.js';
import { DirectActor } from './direct-actor.js';
import { FaultActor, type FaultLevel } from './fault-actor.js';
import { Journal } from './journal.js';
import { MailModel } from './mails.js';
import { snapshotText, takeSnapshot } from './snapshot.js';
import { owedLines, storeFaults } from './store-checks.js';
import { UidHistory } from './uid-history.js';
import { startUpstreams, type Upstream } from './upstreams.js';

export interface ChaosOptions {
  readonly seed: number;
  /** Ends the run after this many rounds, or once `until` (Unix milliseconds) has passed. */
  readonly rounds: number;
  readonly until?: number;
  /** Operations of each actor in a round. */
  readonly operations: number;
  readonly faults: FaultLevel;
  /** False: nobody destroys mail. */
  readonly expunge?: boolean;
  readonly echo?: boolean;
}

export interface ChaosResult {
  readonly rounds: number;
  readonly faults: readonly string[];
  /** Commands that remove mail, as the servers were sent them. */
  readonly destructions: number;
  readonly journal: Journal;
  readonly log: string;
}

const PASSWORD = 'correct horse';

/**
 * Rounds of random operations by three clients of Mergebox and by direct clients of its servers, with faults in
 * between; after each round, when all has come to rest, everything is compared. Ends at the first round with a fault.
 */
export async function runChaos(options: ChaosOptions): Promise<ChaosResult> {
  const stops: (() => Promise<unknown>)[] = [];
  const journal = new Journal(options.echo ?? false);
  try {
    const upstreams = await startUpstreams(options.seed, (stop) => stops.push(stop));
    const accounts = upstreams.map(
      ({ id, server, proxy }): TestAccount => ({ id, server, port: proxy.port, pollSeconds: 2 }),
    );
    const box = await startMergebox({ users: [{ name: 'alice', password: PASSWORD, accounts }] });
    stops.push(() => box.stop());
    const scene: Scene = {
      box,
      journal,
      model: new MailModel(),
      accounts: upstreams.map(({ id }) => id),
      stops: 0,
      up: Promise.resolve(),
      destructions: 0,
      expunge: options.expunge ?? true,
    };
    const { rounds, faults } = await playRounds(options, scene, upstreams);
    return { rounds, faults, destructions: scene.destructions, journal, log: box.log() };
  } finally {
    for (const stop of stops.reverse()) await stop().catch(() => undefined);
  }
}

interface Actor {
  readonly name: string;
  act(random: Random): Promise<void>;
}

async function playRounds(
  options: ChaosOptions,
  scene: Scene,
  upstreams: readonly Upstream[],
): Promise<{ rounds: number; faults: string[] }> {
  const clients = [1, 2, 3].map((n) => new ClientActor(`client${n}`, scene));
  const direct = [1, 2].map((n) => new DirectActor(`direct${n}`, scene, upstreams));
  const breaker = options.faults === 'none' ? [] : [new FaultActor(scene, upstreams, options.faults)];
  const history = new UidHistory();
  const random = new Random(options.seed);
  for (let round = 1; round <= options.rounds; round += 1) {
    const seeds = [...clients, ...direct, ...breaker].map((actor) => ({ actor, seed: random.int(0, 2 ** 31) }));
    scene.journal.say(`round ${round}`);
    await Promise.all(
      seeds.map(({ actor, seed }) => play(actor, new Random(seed), perRound(actor, options.operations))),
    );
    const faults = [...scene.journal.faults, ...(await restFaults(scene, upstreams, history))];
    if (faults.length > 0 || Date.now() > (options.until ?? Number.POSITIVE_INFINITY)) {
      for (const client of clients) client.close();
      return { rounds: round, faults };
    }
  }
  for (const client of clients) client.close();
  return { rounds: options.rounds, faults: [] };
}

/** Faults are rarer than what they interrupt. */
function perRound(actor: Actor, operations: number): number {
  return actor instanceof FaultActor ? Math.ceil(operations / 3) : operations;
}

/** Every operation has a source of chance of its own, so that an earlier one decides nothing for the later. */
async function play(actor: Actor, random: Random, operations: number): Promise<void> {
  for (let n = 0; n < operations; n += 1) await actor.act(new Random(random.int(0, 2 ** 31)));
}

/** Waits for rest and compares everything; the daemon is stopped and started again at the end. */
async function restFaults(scene: Scene, upstreams: readonly Upstream[], history: UidHistory): Promise<string[]> {
  const { box, model, journal } = scene;
  const unsettled = await settle(box, journal);
  if (unsettled !== null) {
    await box.kill();
    return [unsettled, ...(await owedLines(box))];
  }
  const first = await takeSnapshot(box, upstreams);
  const faults = [...snapshotFaults(first, upstreams, model), ...history.add(first.merged)];
  const again = await settle(box, journal);
  if (again !== null) faults.push(`a second sync: ${again}`);
  const second = await takeSnapshot(box, upstreams);
  if (snapshotText(first) !== snapshotText(second)) faults.push(`a second sync changed ${difference(first, second)}`);
  faults.push(...(await statusFaults(box)));
  scene.stops += 1;
  const code = await box.terminate();
  if (code !== 0) faults.push(`serve ended with ${code} on SIGTERM`);
  faults.push(...(await storeFaults(box, upstreams)));
  for (const { destructions } of upstreams) scene.destructions += destructions.splice(0).length;
  await box.start();
  return faults;
}

/** `sync --wait`; what the mass-deletion guard holds is released, as a person would. Null when it came to rest. */
async function settle(box: Mergebox, journal: Journal): Promise<string | null> {
  for (let n = 0; ; n += 1) {
    const { code, stdout, stderr } = await box.command(['sync', '--wait', '--timeout', '60'], { timeoutMs: 90_000 });
    if (code === 0) return null;
    const text = `${stdout}${stderr}`;
    const held = [...text.matchAll(/^alice\/(\w+): .*vanished from/gm)].map((match) => match[1]!);
    if (held.length === 0 || n > 8) return `sync --wait exited ${code}: ${text}`;
    for (const account of held) {
      const released = await box.command(['release', account]);
      journal.did('person', 'release', `${account}: ${text.trim()}`, released.code === 0 ? 'OK' : released.stderr);
    }
  }
}

async function statusFaults(box: Mergebox): Promise<string[]> {
  const { code, body } = await box.status();
  const report = body as { healthy: boolean; accounts: { account: string; pending: number; parked: number }[] };
  return [
    ...(code === 0 && report.healthy ? [] : [`status: not healthy: ${JSON.stringify(report)}`]),
    ...report.accounts
      .filter(({ pending, parked }) => pending + parked > 0)
      .map(({ account, pending, parked }) => `status: ${account} has ${pending} pending, ${parked} parked`),
  ];
}

function difference(first: Parameters<typeof snapshotText>[0], second: Parameters<typeof snapshotText>[0]): string {
  const [before, after] = [first, second].map((each) => new Set(snapshotText(each).split('\n')));
  const gone = [...before!].filter((line) => !after!.has(line)).map((line) => `-${line}`);
  const come = [...after!].filter((line) => !before!.has(line)).map((line) => `+${line}`);
  return `\n${[...gone, ...come].join('\n')}`;
}
