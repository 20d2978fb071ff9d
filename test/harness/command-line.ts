import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { repositoryRoot } from './root.js';

export interface CommandResult {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly stdin?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** SIGKILL and a rejection after this time. */
  readonly timeoutMs?: number;
}

/**
 * The environment without what tap puts there to follow the children of a test: it makes each start slower, and its signal
 * handlers change what a signal does to a daemon (SIGXFSZ would end it).
 */
export function ownEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => name !== 'NODE_OPTIONS' && !name.startsWith('_TAPJS_')),
  );
}

/** Runs a program to its end; rejects only when it cannot start or outlasts its time. */
export function runCommand(
  program: string,
  args: readonly string[],
  { stdin = '', env = {}, cwd, timeoutMs = 60_000 }: CommandOptions = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env: { ...ownEnv(), ...env }, ...(cwd === undefined ? {} : { cwd }) });
    const output = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
    child.stdout.on('data', (chunk: Buffer) => output.stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => output.stderr.push(chunk));
    const text = (chunks: readonly Buffer[]): string => Buffer.concat(chunks).toString();
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new Error(
          `${program} ${args.join(' ')} took over ${timeoutMs} ms\n${text(output.stdout)}${text(output.stderr)}`,
        ),
      );
    }, timeoutMs);
    child.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.once('close', (code) => {
      clearTimeout(timer);
      resolve({ code, stdout: text(output.stdout), stderr: text(output.stderr) });
    });
    // A program that ends without reading its input is no failure of ours.
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
  });
}

/** The built command line, as `node <this> …`. */
export function mainFile(): string {
  return join(repositoryRoot(), 'dist', 'main.js');
}

/** `mergebox <args>`. */
export function runMergebox(args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  return runCommand(process.execPath, [mainFile(), ...args], options);
}
