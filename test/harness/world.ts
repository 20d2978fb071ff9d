import { createHash } from 'node:crypto';
import { type GeneratedMail, generateMails } from '../../bench/mail/generator.js';
import { MaildirWriter } from '../../bench/mail/maildir.js';
import { type Dovecot, type DovecotOptions, startDovecot } from './dovecot.js';
import type { ImapClient } from './imap-client.js';
import { literalOf } from './imap-helpers.js';
import { Mergebox, type MergeboxOptions, startMergebox, type TestAccount } from './mergebox.js';

export interface WorldOptions {
  /** Generated mails in each account's INBOX, default 40, and how many of them are in both, default 10. */
  readonly mails?: number;
  readonly common?: number;
  readonly seed?: number;
  readonly work?: DovecotOptions;
  readonly home?: DovecotOptions;
  /** Further keys of both accounts' configuration. */
  readonly account?: Readonly<Record<string, unknown>>;
  readonly overrides?: MergeboxOptions['overrides'];
  /** False: everything is set up, but the daemon is not started. */
  readonly start?: boolean;
}

/** Two upstreams with accounts `work` (the default) and `home` of one Mergebox user, alice. */
export interface World {
  readonly work: Dovecot;
  readonly home: Dovecot;
  readonly box: Mergebox;
  /** In order of arrival; copies of account 0 are at work, of account 1 at home. */
  readonly mails: readonly GeneratedMail[];
}

export const PASSWORD = 'correct horse';

/** Starts it all and stops it with the test `t`. The two upstreams differ in TLS, storage and separator. */
export async function startWorld(
  t: { teardown(stop: () => unknown): void },
  options: WorldOptions = {},
): Promise<World> {
  const { mails = 40, common = 10, seed = 1 } = options;
  const work = await startDovecot({ tls: 'implicit', ...options.work });
  t.teardown(() => work.stop());
  const home = await startDovecot({ tls: 'starttls', separator: '.', prefix: 'INBOX.', ...options.home });
  t.teardown(() => home.stop());
  const generated = [...generateMails({ seed, mails, common, maxAttachment: 30_000 })];
  await fill([work, home], generated);
  const account = (id: string, server: Dovecot): TestAccount => ({ id, server, ...options.account });
  const boxOptions: MergeboxOptions = {
    users: [{ name: 'alice', password: PASSWORD, accounts: [account('work', work), account('home', home)] }],
    ...(options.overrides === undefined ? {} : { overrides: options.overrides }),
  };
  const box = options.start === false ? await Mergebox.create(boxOptions) : await startMergebox(boxOptions);
  t.teardown(() => box.stop());
  if (options.start !== false) await box.sync();
  return { work, home, box, mails: generated };
}

async function fill(servers: readonly Dovecot[], mails: readonly GeneratedMail[]): Promise<void> {
  const writers = servers.map((server) => new MaildirWriter(server.maildir('alice')));
  for (const { copies, flags } of mails) {
    for (const { account, octets, received } of copies) writers[account]!.add(octets, received, flags);
  }
  for (const server of servers) await server.adopt(server.maildir('alice'));
}

/** The mails of which an account holds a copy: 0 work, 1 home; with `shared`, those that both or not both hold. */
export function held(mails: readonly GeneratedMail[], account: number, shared?: boolean): GeneratedMail[] {
  return mails.filter(
    ({ copies }) =>
      copies.some((copy) => copy.account === account) && (shared === undefined || copies.length > 1 === shared),
  );
}

/** SHA-256 of the copies as they travel, with CRLF line ends. */
export function fingerprints(mail: GeneratedMail): string[] {
  return mail.copies.map(({ octets }) => fingerprint(octets.toString('latin1').replace(/\n/g, '\r\n')));
}

function fingerprint(latin1: string): string {
  return createHash('sha256').update(Buffer.from(latin1, 'latin1')).digest('hex');
}

/** SHA-256 of each whole message of the selected mailbox, by UID. */
export async function bodyFingerprints(client: ImapClient): Promise<Map<number, string>> {
  const { untagged } = await client.ok('UID FETCH 1:* (BODY.PEEK[])');
  const prints = untagged
    .filter((response) => /^\d+ FETCH /.test(response))
    .map((response) => {
      // UID may stand before or behind the literal.
      const literal = literalOf(response);
      const [before = '', after = ''] = splitAround(response, literal.length);
      const uid = Number((/\bUID (\d+)/.exec(before) ?? /\bUID (\d+)/.exec(after))?.[1]);
      return [uid, createHash('sha256').update(literal).digest('hex')] as const;
    });
  return new Map(prints);
}

function splitAround(response: string, length: number): [string, string] {
  const start = response.indexOf('}\r\n') + 3;
  return [response.slice(0, start), response.slice(start + length)];
}

/** The UID of the entry with this Message-ID in the selected mailbox; throws unless there is exactly one. */
export async function uidOf(client: ImapClient, messageId: string | null): Promise<number> {
  const { untagged } = await client.ok(`UID SEARCH HEADER Message-ID "${messageId}"`);
  const uids = untagged
    .flatMap((response) => /^SEARCH(.*)$/.exec(response)?.[1]?.trim().split(' ') ?? [])
    .filter(Boolean);
  if (uids.length !== 1) throw new Error(`${uids.length} entries with Message-ID ${messageId}`);
  return Number(uids[0]);
}
