import { realpathSync } from 'node:fs';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { measureBacklog } from './submit/backlog.js';
import { measureLarge } from './submit/large.js';
import { measureRelaying } from './submit/relaying.js';
import { type Figures, markdownTable } from './measure/table.js';

const USAGE = `node .build/bench/submit.js [--mails N] [--octets N] [--connections N] [--rounds N] [--waiting N] [--only relaying|large|backlog]
Measures accepting and relaying mail with a durable queue, beside Postfix on the same machine: smtp-source before,
smtp-sink behind. Needs root (for Postfix) and \`npm run build\` before.`;

/** The command line; resolves to the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      mails: { type: 'string', default: '5000' },
      octets: { type: 'string', default: '10240' },
      connections: { type: 'string', default: '20' },
      rounds: { type: 'string', default: '3' },
      waiting: { type: 'string', default: '100000' },
      only: { type: 'string', default: '' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [mails, octets, connections] = [Number(values.mails), Number(values.octets), Number(values.connections)];
  const say = (text: string): void => console.error(text);
  const wants = (name: string): boolean => values.only === '' || values.only === name;
  const figures: Figures[] = [];
  if (wants('relaying')) {
    figures.push(...(await measureRelaying({ mails, octets, connections }, Number(values.rounds), say)));
  }
  if (wants('large')) figures.push(...(await measureLarge(say)));
  if (wants('backlog')) figures.push(...(await measureBacklog(Number(values.waiting), say)));
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown CPU'}, Node ${process.version}`;
  console.log(`${mails} mails of ${octets} octets over ${connections} connections; ${machine}\n`);
  console.log(markdownTable(figures, 'Postfix'));
  return 0;
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
