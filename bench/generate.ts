import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { writeMaildirs } from './mail/maildir.js';

const USAGE = `node .build/bench/generate.js [--seed N] [--mails N] [--common N] [--max-attachment N] [--union DIR] DIR…
Writes seeded mail into one Maildir per DIR: --mails each (10000), of which --common (1500) arrived in all of them;
--union gets every distinct mail once.`;

/** The command line; returns the exit status. */
export function main(args: readonly string[]): number {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      seed: { type: 'string', default: '1' },
      mails: { type: 'string', default: '10000' },
      common: { type: 'string', default: '1500' },
      'max-attachment': { type: 'string', default: '200000' },
      union: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help || positionals.length === 0) {
    console.log(USAGE);
    return values.help ? 0 : 2;
  }
  const started = performance.now();
  const written = writeMaildirs(
    {
      seed: Number(values.seed),
      mails: Number(values.mails),
      common: Number(values.common),
      maxAttachment: Number(values['max-attachment']),
    },
    positionals,
    values.union ?? null,
  );
  console.log(JSON.stringify({ ...written, seconds: Math.round(performance.now() - started) / 1000 }));
  return 0;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.exitCode = main(process.argv.slice(2));
}
