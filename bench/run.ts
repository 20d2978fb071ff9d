import { realpathSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measureCommands } from './measure/commands.js';
import { measureFirstSync, measureMemory } from './measure/first-sync.js';
import { measureLatency } from './measure/latency.js';
import { buildScene } from './measure/scene.js';
import { type Figures, markdownTable } from './measure/table.js';

const USAGE = `node .build/bench/run.js [--mails N] [--common N] [--rounds N] [--seed N] [--max-attachment N] [--json]
Measures Mergebox over two Dovecots of --mails each (10000), --common (1500) in both, beside a Dovecot that holds the
same merged mails in one folder. Needs \`npm run build\` before.`;

/** The command line; resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mails: { type: 'string', default: '10000' },
      common: { type: 'string', default: '1500' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      'max-attachment': { type: 'string', default: '200000' },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [mails, common, rounds] = [Number(values.mails), Number(values.common), Number(values.rounds)];
  const say = (text: string): void => console.error(text);
  say(`Writing ${mails} mails to each of two accounts`);
  const scene = await buildScene({
    ...{ mails, common, seed: Number(values.seed), maxAttachment: Number(values['max-attachment']) },
  });
  try {
    const figures: Figures[] = [];
    say('First sync');
    figures.push(...(await measureFirstSync(scene, mails * 2)));
    say(`Commands, ${rounds} rounds`);
    figures.push(...(await measureCommands(scene, rounds)));
    say('Latency');
    figures.push(...(await measureLatency(scene, rounds)));
    figures.push(...(await measureMemory(scene)));
    if (values.json) console.log(JSON.stringify({ mails, common, rounds, distinct: scene.distinct, figures }));
    else console.log(`${heading(mails, common, scene.distinct, rounds)}\n\n${markdownTable(figures)}`);
    return 0;
  } finally {
    await scene.stop();
  }
}

function heading(mails: number, common: number, distinct: number, rounds: number): string {
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.version}`;
  return `2 accounts of ${mails} mails, ${common} common, ${distinct} in INBOX; medians of ${rounds} rounds; ${machine}`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  main(process.argv.slice(2)).then(
    (status) => {
      process.exitCode = status;
    },
    (error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}
