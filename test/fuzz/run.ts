import { parseArgs } from 'node:util';
import { fuzzCommands, STATES } from './commands.js';
import { fuzzMime } from './mime.js';
import type { FuzzReport } from './random.js';

/**
 * The long run: `npm run fuzz -- [--inputs N] [--seed S] [--target commands|mime]`. N inputs (10 million when not said)
 * for the command parser, a third of them in each connection state, and as many for the MIME reader. Prints one line for
 * each part and exits 1 when something was found.
 */
const { values } = parseArgs({
  options: {
    inputs: { type: 'string', default: '10000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_007) },
    target: { type: 'string', default: 'all' },
  },
});
const [inputs, seed] = [Number(values.inputs), Number(values.seed)];
if (!Number.isSafeInteger(inputs) || inputs < 1 || !Number.isSafeInteger(seed)) {
  throw new Error('--inputs and --seed take whole numbers');
}

/** Heap that a run may gain after its first tenth; caches fill, a leak grows with the inputs. */
const MAX_GROWTH = 64 << 20;

/** Inputs of a run that is told of; failures are repeated by its seed. */
const ROUND = 250_000;

let failed = false;

async function part(
  name: string,
  total: number,
  run: (inputs: number, seed: number) => Promise<FuzzReport>,
): Promise<void> {
  let [done, seconds, slowest] = [0, 0, 0];
  const outcomes: Record<string, number> = {};
  for (let round = 0; done < total; round += 1) {
    const report = await run(Math.min(ROUND, total - done), seed + round);
    done += report.inputs;
    seconds += report.seconds;
    slowest = Math.max(slowest, report.slowest);
    for (const [outcome, count] of Object.entries(report.outcomes))
      outcomes[outcome] = (outcomes[outcome] ?? 0) + count;
    const leak = report.growth > MAX_GROWTH;
    for (const fault of report.faults) console.error(`FAULT in ${name}, seed ${seed + round}: ${fault}`);
    if (leak) console.error(`FAULT in ${name}, seed ${seed + round}: the heap grew by ${report.growth} octets`);
    if (report.faults.length > 0 || leak) {
      failed = true;
      break;
    }
  }
  const rate = Math.round(done / seconds);
  const tally = Object.entries(outcomes).map(([outcome, count]) => `${outcome} ${count}`);
  console.log(`${name}: ${done} inputs, ${rate}/s, slowest ${slowest.toFixed(1)} ms, ${tally.join(', ')}`);
}

if (values.target !== 'mime') {
  for (const state of STATES) {
    await part(`commands ${state}`, Math.ceil(inputs / STATES.length), (n, s) => fuzzCommands(state, n, s));
  }
}
if (values.target !== 'commands') await part('mime', inputs, fuzzMime);
process.exitCode = failed ? 1 : 0;
