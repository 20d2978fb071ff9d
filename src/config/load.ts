import { readFile, stat } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import type { z } from 'zod';
import { MergeboxError } from '../util/errors.js';
import { isLoopback } from '../util/loopback.js';
import { Secret } from '../util/secret.js';
import type { Config, ProxyRule, UserConfig } from './config.js';
import { JsonError, parseJson } from './json.js';
import { type Path, type Problem, problemText, valueAt } from './problems.js';
import { IMAP_PORTS, Resolver, SUBMISSION_PORTS } from './resolve.js';
import { accountSchema, configSchema, type FileConfig, listenerSchema } from './schema.js';
import { shapeProblems } from './shape.js';
import { userProblems } from './users.js';

/**
 * Reads, validates and completes the configuration file. Rejects with `config` and every problem in its message, one
 * line each; no secret is ever part of it. `warn` hears of what is allowed but unwise.
 */
export async function loadConfig(
  file: string,
  env: NodeJS.ProcessEnv,
  warn: (text: string) => void = () => undefined,
): Promise<Config> {
  const absolute = path.resolve(file);
  const raw = await readJson(absolute);
  const resolver = new Resolver(path.dirname(absolute), env);
  const shape = shapeProblems(configSchema, raw);
  const parsed = configSchema.safeParse(raw);
  const config = parsed.success ? await resolve(parsed.data, resolver) : await inspectParts(raw, resolver);
  const problems = [...shape, ...userProblems(raw), ...resolver.problems];
  if (config === null || problems.length > 0) throw refusal(absolute, problems);
  if (resolver.literalSecrets > 0 && (await readableByOthers(absolute))) {
    warn(`${absolute} holds passwords and can be read by others on this machine: chmod 600, or use env or file`);
  }
  if (!isLoopback(config.admin.host)) {
    warn(`admin.host ${config.admin.host} shows status and metrics without TLS to everyone who reaches it`);
  }
  return freeze(config);
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
    throw new MergeboxError('config', `reading the configuration ${file}: ${code}; name another with --config FILE`);
  }
  try {
    return parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw new MergeboxError('config', `reading the configuration ${file}: not JSON: ${error.message}`);
  }
}

async function resolve(file: FileConfig, resolver: Resolver): Promise<Config> {
  const token = file.admin.token;
  const proxy = file.proxy === undefined ? null : await resolver.proxy(file.proxy, ['proxy']);
  return {
    dataDir: resolver.absolute(file.dataDir),
    tls: file.tls === undefined ? null : await resolver.certificate(file.tls, ['tls']),
    imap: {
      listeners: file.imap.listeners.map((each, index) =>
        resolver.listener(each, ['imap', 'listeners', index], IMAP_PORTS),
      ),
    },
    submission: {
      ...file.submission,
      hostname: file.submission.hostname ?? os.hostname(),
      listeners: file.submission.listeners.map((each, index) =>
        resolver.listener(each, ['submission', 'listeners', index], SUBMISSION_PORTS),
      ),
    },
    admin: {
      host: file.admin.host,
      port: file.admin.port,
      token: token === undefined ? null : await resolver.secret(token, ['admin', 'token']),
    },
    log: file.log,
    limits: file.limits,
    proxy,
    users: await Promise.all(file.users.map((user, index) => resolveUser(user, index, resolver, proxy))),
  };
}

async function resolveUser(
  file: FileConfig['users'][number],
  index: number,
  resolver: Resolver,
  proxy: ProxyRule | null,
): Promise<UserConfig> {
  const accounts = await Promise.all(
    file.accounts.map((account, number) => resolver.account(account, ['users', index, 'accounts', number], proxy)),
  );
  const relay = await resolver.relay(file.relay, ['users', index, 'relay'], proxy);
  return { ...file, accounts, relay, defaultAccount: file.defaultAccount ?? accounts[0]?.id ?? null };
}

/** Looks at every part that is well formed although the file as a whole is not, so that one run tells everything. */
async function inspectParts(raw: unknown, resolver: Resolver): Promise<null> {
  for (const [service, ports] of [
    ['imap', IMAP_PORTS],
    ['submission', SUBMISSION_PORTS],
  ] as const) {
    for (const [at, listener] of parts(raw, [service, 'listeners'], listenerSchema)) {
      resolver.listener(listener, at, ports);
    }
  }
  for (const index of indices(raw, ['users'])) {
    for (const [at, account] of parts(raw, ['users', index, 'accounts'], accountSchema)) {
      await resolver.account(account, at, null);
    }
  }
  return null;
}

function parts<T extends z.ZodObject>(raw: unknown, at: Path, schema: T): (readonly [Path, z.output<T>])[] {
  const lenient = schema.strip();
  return indices(raw, at).flatMap((index) => {
    const result = lenient.safeParse(valueAt(raw, [...at, index]));
    return result.success ? [[[...at, index], result.data as z.output<T>] as const] : [];
  });
}

function indices(raw: unknown, at: Path): readonly number[] {
  const value = valueAt(raw, at);
  return Array.isArray(value) ? [...value.keys()] : [];
}

function refusal(file: string, problems: readonly Problem[]): MergeboxError {
  const lines = problems.map((problem) => `\n  ${problemText(problem)}`).join('');
  return new MergeboxError('config', `the configuration ${file} has ${problems.length} problem(s):${lines}`);
}

async function readableByOthers(file: string): Promise<boolean> {
  return ((await stat(file)).mode & 0o004) !== 0;
}

function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof Secret || Object.isFrozen(value)) return value;
  for (const each of Object.values(value)) freeze(each);
  return Object.freeze(value);
}
