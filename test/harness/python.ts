import { runCommand } from './command-line.js';

/**
 * Runs a Python 3 script and resolves to the JSON that it prints as its last line. `parameters` arrive as the
 * dictionary `p`. Rejects with what it wrote when it fails.
 */
export async function runPython<T = unknown>(
  script: string,
  parameters: Readonly<Record<string, unknown>>,
  timeoutMs = 60_000,
): Promise<T> {
  const prelude = 'import json, sys\np = json.loads(sys.argv[1])\n';
  const { code, stdout, stderr } = await runCommand('python3', ['-c', prelude + script, JSON.stringify(parameters)], {
    timeoutMs,
  });
  if (code !== 0) throw new Error(`python3 exited ${code}:\n${stderr}${stdout}`);
  return JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? 'null') as T;
}
