import { realpathSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measureCommands } from './measure/commands.js';
import { measureFirstSync, measureMemory } from './measure/first-sync.js';
import { measureLatency } from './measure/latency.js';
import { measureResync } from './measure/resync.js';
import { buildScene } from './measure/scene.js';
import { type Figures, markdownTable } from './measure/table.js';
import { measureTransfer } from './measure/transfer.js';

const PARTS = ['first-sync', 'commands', 'latency', 'memory', 'resync', 'transfer'] as const;

const USAGE = `node .build/bench/run.js [--accounts N] [--mails N] [--common N] [--rounds N] [--seed N]
  [--max-attachment N] [--parts LIST] [--json]
Measures Mergebox over --accounts Dovecots (2) of --mails each (10000), --common (1500) in all of them, beside a Dovecot
that holds the same merged mails in one folder. --parts are some of ${PARTS.join(',')}; the first sync, without
which there is nothing to measure, is always made. Default: all but the last two, which change the upstreams. Needs
\`npm run build\` before.`;

/** The command line; resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      accounts: { type: 'string', default: '2' },
      mails: { type: 'string', default: '10000' },
      common: { type: 'string', default: '1500' },
      rounds: { type: 'string', default: '5' },
      seed: { type: 'string', default: '1' },
      'max-attachment': { type: 'string', default: '200000' },
      parts: { type: 'string', default: PARTS.slice(0, 4).join(',') },
      json: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const parts = values.parts.split(',');
  const unknown = parts.filter((part) => !PARTS.some((known) => known === part));
  if (unknown.length > 0) {
    console.error(`unknown part ${unknown.join(', ')}: some of ${PARTS.join(', ')}`);
    return 2;
  }
  const [accounts, mails, common] = [Number(values.accounts), Number(values.mails), Number(values.common)];
  const rounds = Number(values.rounds);
  const say = (text: string): void => console.error(text);
  say(`Writing ${mails} mails to each of ${accounts} accounts`);
  const scene = await buildScene({
    ...{ accounts, mails, common, seed: Number(values.seed), maxAttachment: Number(values['max-attachment']) },
  });
  try {
    const load: number[] = [loadavg()[0]!];
    const figures: Figures[] = [];
    say('First sync');
    figures.push(...(await measureFirstSync(scene)));
    const measures: Readonly<Record<string, () => Promise<Figures[]>>> = {
      commands: () => measureCommands(scene, rounds),
      latency: () => measureLatency(scene, rounds),
      memory: () => measureMemory(scene),
      resync: () => measureResync(scene, rounds),
      transfer: () => measureTransfer(scene),
    };
    for (const part of PARTS) {
      const measure = measures[part];
      if (measure === undefined || !parts.includes(part)) continue;
      say(`${part}, ${rounds} rounds`);
      figures.push(...(await measure()));
      load.push(loadavg()[0]!);
    }
    const about = { accounts, mails, common, rounds, distinct: scene.distinct, load };
    if (values.json) console.log(JSON.stringify({ ...about, figures }));
    else console.log(`${heading(about)}\n\n${markdownTable(figures)}`);
    return 0;
  } finally {
    await scene.stop();
  }
}

function heading(about: {
  readonly accounts: number;
  readonly mails: number;
  readonly common: number;
  readonly rounds: number;
  readonly distinct: number;
  readonly load: readonly number[];
}): string {
  const { accounts, mails, common, distinct, rounds, load } = about;
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.version}`;
  const loads = `load ${load.map((each) => each.toFixed(1)).join(' ')}`;
  return `${accounts} accounts of ${mails} mails, ${common} common, ${distinct} in INBOX; medians of ${rounds} rounds; ${machine}; ${loads}`;
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
