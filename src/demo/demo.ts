import { randomInt } from 'node:crypto';
import { createWriteStream, type WriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { adminSocketPath } from '../admin/admin.js';
import { adminRequest } from '../admin/client.js';
import { App, type ListenerInfo } from '../app.js';
import { hashPassword } from '../auth/password.js';
import { loadConfig } from '../config/load.js';
import { ensureCertificate } from '../util/certificate.js';
import { MergeboxError } from '../util/errors.js';
import { createLog, type Log } from '../util/log.js';
import { choosePorts, demoConfig } from './demo-config.js';
import { type Delivery, type SampleAccount, SampleAccounts } from './sample-accounts.js';
import { INBOX_SAMPLES } from './sample-inbox.js';
import { deliveryText, welcome } from './transcript.js';

/** How long the first sync of the sample accounts may take; it takes well under a second. */
const FIRST_SYNC_MS = 60_000;

/**
 * `mergebox demo`: sample accounts and a Mergebox over them, all in this process and in one temporary directory, until a
 * signal. Resolves to the exit status; the directory is gone by then.
 */
export async function runDemo(): Promise<number> {
  const stopped = untilStopped();
  const dir = await mkdtemp(path.join(tmpdir(), 'mergebox-demo-'));
  const closers: (() => Promise<void>)[] = [() => rm(dir, { recursive: true, force: true, maxRetries: 5 })];
  try {
    const logFile = createWriteStream(path.join(dir, 'mergebox.log'), { mode: 0o600 });
    closers.push(() => ended(logFile));
    const log = createLog('info', logFile);
    process.on('unhandledRejection', (error) => log.error({ err: error }, 'unhandled rejection'));
    process.stdout.write(await startDemo(dir, logFile.path.toString(), log, closers));
    await stopped;
    process.stdout.write('\nstopping\n');
  } finally {
    for (const close of closers.reverse()) await close();
  }
  return 0;
}

/** Starts everything in order, leaving in `closers` how to end it; resolves to the text that tells how to use it. */
async function startDemo(dir: string, logFile: string, log: Log, closers: (() => Promise<void>)[]): Promise<string> {
  const password = newPassword();
  const sample = new SampleAccounts({
    passwords: { work: newPassword(), home: newPassword() },
    onDelivery: (delivery: Delivery) => process.stdout.write(deliveryText(delivery, new Date())),
    now: Date.now,
    log,
  });
  closers.push(() => sample.close());
  const accounts = await sample.start();
  const configFile = path.join(dir, 'config.json');
  const listeners = await startApp(configFile, password, accounts, log, closers);
  const letterFile = path.join(dir, 'letter.eml');
  await writeFile(letterFile, LETTER.replace(/\n/g, '\r\n'));
  const { fingerprint256 } = await ensureCertificate(path.join(dir, 'data', 'certs'));
  return welcome({
    ...{ dir, configFile, logFile, letterFile, password, listeners, accounts },
    fingerprint: fingerprint256,
    merged: INBOX_SAMPLES.length,
  });
}

/** Mergebox itself, from a configuration file like anybody's; resolves once both accounts are in sync. */
async function startApp(
  configFile: string,
  password: string,
  accounts: readonly SampleAccount[],
  log: Log,
  closers: (() => Promise<void>)[],
): Promise<readonly ListenerInfo[]> {
  const passwordHash = await hashPassword(password);
  const written = demoConfig({ passwordHash, ports: await choosePorts(), accounts });
  await writeFile(configFile, JSON.stringify(written, null, 2), { mode: 0o600 });
  const config = await loadConfig(configFile, {});
  const app = new App(config, log);
  closers.push(() => app.close());
  const listeners = await app.start();
  const wanted = { wait: true, timeoutMs: FIRST_SYNC_MS };
  const socket = adminSocketPath(config.dataDir);
  const { status, body } = await adminRequest(socket, 'POST', '/api/sync', wanted, FIRST_SYNC_MS + 10_000);
  if (status !== 200 || (body as { ok?: boolean }).ok !== true) {
    throw new MergeboxError('unavailable', `first sync of the sample accounts: ${JSON.stringify(body)}`);
  }
  return listeners;
}

const LETTER = `From: Alice Marsh <alice@work.example>
To: Alice Marsh <alice@home.example>
Subject: A letter to myself
Content-Type: text/plain; charset=utf-8

Out through the server of work, in at home, and one copy in Sent.
`;

/** Three groups of letters and digits that are not mistaken for one another: 58 bits, and easy to type on a phone. */
function newPassword(): string {
  const letters = 'abcdefghjkmnpqrstuvwxyz23456789';
  const group = (): string => Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join('');
  return [group(), group(), group()].join('-');
}

/** Resolves when the demo is to end: by a signal, with its terminal, or when nobody reads its output any more. */
function untilStopped(): Promise<void> {
  return new Promise((resolve) => {
    // Not `once`: npm passes on the signal that the terminal has sent already, and cleaning up must not be cut short.
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => resolve());
    process.stdout.on('error', () => resolve());
  });
}

function ended(stream: WriteStream): Promise<void> {
  return new Promise((resolve) => stream.end(() => resolve()));
}
