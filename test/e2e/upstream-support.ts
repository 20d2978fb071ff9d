import { readFile } from 'node:fs/promises';
import type { AccountConfig } from '../../src/config/config.js';
import { createImapUpstream } from '../../src/upstream/imap.js';
import type { FolderReader, FolderRef, Upstream, UpstreamMessage } from '../../src/upstream/port.js';
import type { Timing } from '../../src/upstream/timing.js';
import { type Log, silentLog } from '../../src/util/log.js';
import { Secret } from '../../src/util/secret.js';

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls: 'implicit' | 'starttls' | 'none';
  /** PEM file. */
  readonly ca?: string;
}

export interface AccountOptions {
  readonly password?: string;
  readonly username?: string;
  readonly connections?: number;
  readonly folders?: AccountConfig['folders'];
  readonly ca?: string | null;
  readonly timing?: Partial<Timing>;
  readonly log?: Log;
}

/** The account of alice at a test server. */
export async function accountAt(target: Target, options: AccountOptions = {}): Promise<AccountConfig> {
  const ca =
    options.ca !== undefined
      ? options.ca
      : target.ca === undefined || target.tls === 'none'
        ? null
        : await readFile(target.ca, 'utf8');
  return {
    id: 'work',
    protocol: 'imap',
    endpoint: { host: target.host, port: target.port, tls: target.tls, ca },
    auth: { username: options.username ?? 'alice', password: new Secret(options.password ?? 'secret') },
    addresses: [],
    authority: 'both',
    onUpstreamDelete: 'trash',
    pollSeconds: 60,
    leaveOnServer: 'until-deleted',
    include: ['*'],
    exclude: [],
    bodies: 'on-demand',
    bodyMaxBytes: 0,
    connections: options.connections ?? 3,
    folders: options.folders ?? {},
    sent: 'auto',
    smtp: null,
  };
}

export async function upstreamAt(target: Target, options: AccountOptions = {}): Promise<Upstream> {
  const account = await accountAt(target, options);
  return createImapUpstream({ account, log: options.log ?? silentLog(), timing: options.timing ?? {} });
}

/** The folder as a reference with its present UIDVALIDITY. */
export async function refOf(upstream: Upstream, path: string): Promise<FolderRef> {
  const state = (await upstream.status([path])).get(path);
  if (state === undefined) throw new Error(`no folder ${path}`);
  return { path, uidValidity: state.uidValidity };
}

/** All messages of an open folder. */
export async function allMessages(folder: FolderReader): Promise<UpstreamMessage[]> {
  const found: UpstreamMessage[] = [];
  await folder.messages([...(await folder.uids())], async (page) => void found.push(...page));
  return found;
}

/** UID → flags of a folder, by a fresh read. */
export async function flagsIn(upstream: Upstream, path: string): Promise<Map<number, string>> {
  const flags = await upstream.read(path, null, (folder) => folder.flags(null));
  return new Map(flags.map((each) => [each.uid, each.flags]));
}

export async function bodyOf(upstream: Upstream, ref: FolderRef, uid: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = -1;
  await upstream.fetchBody(ref, uid, {
    start: (octets) => {
      size = octets;
    },
    chunk: (bytes) => void chunks.push(bytes),
  });
  const body = Buffer.concat(chunks);
  if (body.length !== size) throw new Error(`announced ${size} octets, sent ${body.length}`);
  return body;
}

/** A mail of some size, CRLF line ends. */
export function mail(subject: string, lines = 3): string {
  const head = [
    'From: Ann Example <ann@example.org>',
    'To: alice@example.org',
    `Subject: ${subject}`,
    `Message-ID: <${subject.replace(/\W+/g, '-')}@example.org>`,
    'Date: Tue, 05 May 2020 10:00:00 +0200',
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=utf-8',
  ];
  const body = Array.from({ length: lines }, (_, index) => `line ${index} of ${subject}`);
  return [...head, '', ...body, ''].join('\r\n');
}
