import { setTimeout as delay } from 'node:timers/promises';
import { adminSocketPath } from '../../src/admin/admin.js';
import { adminRequest } from '../../src/admin/client.js';
import type { Operation } from './operations.js';
import { dataOf, type Scene, type Stage } from './stage.js';
import { look, lookAtDisk, type View } from './state.js';

/** How a run ended, when nobody interfered any more. */
export interface Ending {
  readonly view: View;
  readonly ledger: readonly string[];
  /** What is wrong with it on its own; empty when all is well. */
  readonly faults: readonly string[];
}

export interface CaseResult {
  /** Whether the daemon was killed as often as asked for. */
  readonly killed: boolean;
  /** Whether the client got its answer before that. */
  readonly answered: boolean;
  readonly outcome: string;
  /** Differences from the uninterrupted run; empty when there are none. */
  readonly faults: readonly string[];
}

/** The operation with nobody killed: how it ends, and the fault points it reached, in order. */
export async function runWhole(
  stage: Stage,
  operation: Operation | null,
): Promise<{ ending: Ending; points: string[] }> {
  const scene = await stage.scene(operation?.fresh);
  try {
    await operation?.meanwhile?.(scene);
    await scene.box.start({ MERGEBOX_FAULT: 'trace' });
    if (operation?.command) await perform(scene, operation);
    const ending = await settle(scene);
    const points = scene.box
      .log()
      .split('\n')
      .flatMap((line) => /^fault point (\S+)/.exec(line)?.[1] ?? []);
    return { ending, points };
  } finally {
    await stage.strike(scene);
  }
}

/** Kills the daemon at each of `faults` (`name` or `name:n`), one start after the other, then lets it come to rest. */
export async function runKilled(
  stage: Stage,
  operation: Operation,
  faults: readonly string[],
  expected: { readonly whole: Ending; readonly untouched: Ending },
): Promise<CaseResult> {
  const scene = await stage.scene(operation.fresh);
  const template = operation.fresh ? null : expected.untouched;
  try {
    await operation.meanwhile?.(scene);
    let answered = false;
    let killed = true;
    for (const [index, fault] of faults.entries()) {
      const result = await runUntilKilled(scene, fault, index === 0 ? operation : null);
      answered ||= result.answered;
      killed &&= result.killed;
    }
    await scene.box.start();
    const ending = await settle(scene);
    const same = differences(expected.whole, ending, template);
    if (same.length === 0) return { killed, answered, outcome: 'done', faults: [] };
    if (!operation.command || answered || differences(expected.untouched, ending, template).length > 0) {
      return { killed, answered, outcome: 'WRONG', faults: same };
    }
    // Nothing has happened: the client, which got no answer, asks again.
    await scene.box.start();
    await perform(scene, operation);
    const after = differences(expected.whole, await settle(scene), template);
    return {
      killed,
      answered,
      outcome: after.length === 0 ? 'nothing done; done when asked again' : 'WRONG',
      faults: after,
    };
  } finally {
    await stage.strike(scene);
  }
}

async function runUntilKilled(
  scene: Scene,
  fault: string,
  operation: Operation | null,
): Promise<{ killed: boolean; answered: boolean }> {
  const { box } = scene;
  let answered = false;
  try {
    await box.start({ MERGEBOX_FAULT: fault });
    const ended = box.ended();
    if (operation?.command) {
      answered = await perform(scene, operation).then(
        () => true,
        () => false,
      );
    }
    const settled = await sync(scene);
    if (!settled) await Promise.race([ended, delay(5_000, undefined, { ref: false })]);
    else if (operation?.ends) return { killed: (await box.terminate()) === null, answered };
  } catch (error) {
    // Killed before it was ready.
    if (box.running) throw error;
  }
  const killed = !box.running;
  await box.kill();
  return { killed, answered };
}

async function perform(scene: Scene, operation: Operation): Promise<void> {
  const client = await scene.box.imap();
  try {
    await client.ok('SELECT INBOX');
    await operation.command!(client, scene);
  } finally {
    client.close();
  }
}

/** Whether all came to rest; false as well when the daemon was killed meanwhile. */
async function sync({ box }: Scene): Promise<boolean> {
  const body = { wait: true, timeoutMs: 60_000 };
  const answer = await adminRequest(adminSocketPath(dataOf(box)), 'POST', '/api/sync', body, 70_000).catch(() => null);
  return answer?.status === 200 && (answer.body as { ok: boolean }).ok;
}

/** What `mergebox sync --wait` asks for, a look, another sync that must change nothing; then the daemon is ended and the disk looked at. */
async function settle(scene: Scene): Promise<Ending> {
  const { box } = scene;
  if (!(await sync(scene))) throw new Error(`it did not come to rest\n${box.log().slice(-4_000)}`);
  const view = await look(scene);
  await sync(scene);
  const again = await look(scene);
  const code = await box.terminate();
  const { faults, ledger } = await lookAtDisk(scene);
  return {
    view,
    ledger,
    faults: [
      ...faults,
      ...(code === 0 ? [] : [`it ended with ${code}`]),
      ...diff(
        'a second sync',
        [...view.client, ...view.servers, ...view.modSeqs],
        [...again.client, ...again.servers, ...again.modSeqs],
      ),
    ],
  };
}

/** Compares with the uninterrupted run; the UIDVALIDITY of a mailbox that was made meanwhile comes from the clock. */
function differences(expected: Ending, got: Ending, made: Ending | null): string[] {
  const known = new Set(made?.view.client.flatMap((line) => MAILBOX.exec(line)?.[1] ?? []));
  const comparable = ({ view }: Ending): string[] =>
    view.client.map((line) => {
      const mailbox = MAILBOX.exec(line)?.[1];
      if (mailbox !== undefined) return known.has(mailbox) ? line : line.replace(/ \d+ (\d+)$/, ' new $1');
      // Which account's copy is seen first, and shown from then on, is a matter of timing.
      return made === null && !line.startsWith('Accounts/') ? line.replace(/ [0-9a-f]{12} "/, ' "') : line;
    });
  return [
    ...got.faults,
    ...diff('client', comparable(expected), comparable(got)),
    ...diff('servers', expected.view.servers, got.view.servers),
    ...diff('ledger', expected.ledger, got.ledger),
  ];
}

/** The line of a mailbox: its name with UIDVALIDITY, then UIDNEXT. */
const MAILBOX = /^(\S+ \d{9,}) \d+$/;

function diff(what: string, expected: readonly string[], got: readonly string[]): string[] {
  const missing = expected.filter((line) => !got.includes(line)).map((line) => `${what}: missing ${line}`);
  const surplus = got.filter((line) => !expected.includes(line)).map((line) => `${what}: not expected ${line}`);
  return [...missing, ...surplus];
}
