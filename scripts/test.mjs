// `npm test`: builds everything, makes sure of the real servers and clients, runs every test and prints, as its last
// line, how many assertions passed and failed. Exit 0 only when at least one passed, none failed and no file was left out.
// Arguments narrow the run to test files whose path holds one of them.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ensurePackages } from './packages.mjs';
import { ensureTapBuilt } from './tap-build.mjs';
import { countTap } from './tap-count.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);

/** Runs a program in the repository with its output on ours; resolves to its exit status. */
function run(program, args) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', (error) => {
      console.error(`${program}: ${error.message}`);
      resolve(-1);
    });
    child.once('exit', (status) => resolve(status ?? -1));
  });
}

function finish(passed, failed) {
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 && passed > 0 ? 0 : 1;
}

/** Runs tap and tells of each file as it is done; resolves to its exit status and all of its report. */
function runTap(compiled) {
  return new Promise((resolve) => {
    const child = spawn(bin('tap'), ['--reporter=tap', ...compiled], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = [];
    createInterface({ input: child.stdout }).on('line', (line) => {
      lines.push(line);
      if (/^(not )?ok /.test(line)) console.log(line);
    });
    child.once('close', (status) => resolve({ status: status ?? -1, text: lines.join('\n') }));
    child.once('error', (error) => {
      console.error(`tap: ${error.message}`);
      resolve({ status: -1, text: '' });
    });
  });
}

async function runTests(files) {
  const { status, text } = await runTap(files.map((file) => join('.build', file.replace(/\.ts$/, '.js'))));
  const { passed, failed, files: reported, problems } = countTap(text);
  for (const problem of problems) console.log(`\n${problem}`);
  const unreported = Math.max(0, files.length - reported);
  if (unreported > 0) console.error(`${unreported} of ${files.length} test files did not report`);
  if (status !== 0) console.error(`tap ended with ${status}`);
  // tap that ends badly with every assertion passed is a failure too.
  return { passed, failed: Math.max(failed + unreported, status === 0 ? 0 : 1) };
}

async function main(filters) {
  const below = readdirSync(join(root, 'test'), { recursive: true });
  const all = below
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => join('test', file))
    .sort();
  const files = all.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
  if (files.length === 0) {
    console.error(`no test file matches ${filters.join(' ')}`);
    return finish(0, 1);
  }
  if (!ensurePackages('test')) return finish(0, 1);
  for (const project of ['tsconfig.json', 'tsconfig.build.json']) {
    if ((await run(bin('tsc'), ['-p', project])) !== 0) return finish(0, 1);
  }
  if (!ensureTapBuilt()) return finish(0, 1);
  const { passed, failed } = await runTests(files);
  return finish(passed, failed);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error);
  finish(0, 1);
});
