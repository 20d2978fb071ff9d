import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type ChaosResult, runChaos } from './chaos.js';
import type { FaultLevel } from './fault-actor.js';

const LEVELS: readonly string[] = ['none', 'network', 'servers', 'all'] satisfies FaultLevel[];

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '5' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    rounds: { type: 'string', default: '100000' },
    operations: { type: 'string', default: '15' },
    faults: { type: 'string', default: 'all' },
    'keep-mail': { type: 'boolean', default: false },
    verbose: { type: 'boolean', default: false },
  },
});
if (!LEVELS.includes(values.faults)) throw new RangeError(`--faults is one of ${LEVELS.join(', ')}`);

const seed = Number(values.seed);
const result = await runChaos({
  seed,
  rounds: Number(values.rounds),
  until: Date.now() + Number(values.minutes) * 60_000,
  operations: Number(values.operations),
  faults: values.faults as FaultLevel,
  expunge: !values['keep-mail'],
  echo: values.verbose,
});
await report(result);

async function report({ journal, rounds, faults, destructions, log }: ChaosResult): Promise<void> {
  const sizes = `${rounds} rounds, ${journal.operations} operations, ${destructions} destructive commands upstream`;
  process.stdout.write(`seed ${seed}: ${sizes}\n${journal.summary()}\n`);
  if (faults.length === 0) {
    process.stdout.write('no faults\n');
    return;
  }
  const dir = await mkdtemp(join(tmpdir(), 'chaos-'));
  await writeFile(join(dir, 'operations.log'), `${journal.lines.join('\n')}\n`);
  await writeFile(join(dir, 'mergebox.log'), `${log}\n`);
  process.stdout.write(
    `FAULTS (seed ${seed}, operations and log in ${dir}):\n${faults.map((fault) => `! ${fault}`).join('\n')}\n`,
  );
  process.exitCode = 1;
}
