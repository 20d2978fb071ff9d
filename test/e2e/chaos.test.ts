import t, { type Test } from 'tap';
import { runChaos } from '../chaos/chaos.js';

t.setTimeout(600_000);

/**
 * A few rounds of what `npm run chaos` does for as long as one likes. A seed repeats what is done, not the moments at
 * which the faults meet it; a failure prints every operation.
 */
async function short(t: Test, options: Parameters<typeof runChaos>[0]): Promise<void> {
  const { faults, journal, rounds, destructions } = await runChaos(options);
  t.equal(rounds, options.rounds);
  t.ok(destructions > 0, `${destructions} destructive commands were checked`);
  t.same(faults, [], `seed ${options.seed}: all agree at rest`, { operations: faults.length > 0 ? journal.lines : [] });
}

t.test('clients, servers and the merged view agree after random operations', async (t) => {
  await short(t, { seed: 6, rounds: 2, operations: 12, faults: 'none' });
});

t.test('they agree after cuts, stalls, restarts and kill -9 in between', async (t) => {
  await short(t, { seed: 7, rounds: 2, operations: 15, faults: 'all' });
});
