// tap comes built with its TypeScript plugin, which cannot work with this TypeScript; .taprc takes it out, and tap must
// then be built once more before its first run. Does nothing when that has been done; exits 1 when it fails.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const PLUGIN = '@tapjs/typescript';

function built() {
  try {
    const index = join(root, 'node_modules/@tapjs/test/test-built/dist/esm/index.js');
    return !readFileSync(index, 'utf8').includes(PLUGIN);
  } catch {
    return false;
  }
}

/** True when tap is ready to run. */
export function ensureTapBuilt() {
  if (built()) return true;
  const { status } = spawnSync(join(root, 'node_modules/.bin/tap'), ['build'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (status === 0 && built()) return true;
  console.error(`tap build ended with ${status}; tap still has its plugin ${PLUGIN}`);
  return false;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (!ensureTapBuilt()) process.exitCode = 1;
}
