import { DEFAULT_LIMITS } from '../imap/limits.js';
import { ImapServer } from '../imap/server.js';
import { fieldValue, headerEnd } from '../mail/header.js';
import { decodeHeader } from '../mail/text.js';
import type { Log } from '../util/log.js';
import { VERSION } from '../version.js';
import { MemoryBackend } from './memory-backend.js';
import { FOLDER_SAMPLES, SAMPLE_FOLDERS } from './sample-folders.js';
import { INBOX_SAMPLES } from './sample-inbox.js';
import { composeSample, type SampleAccountId, sampleTrace, traceFields } from './sample-mail.js';
import { SmtpSink, type SunkMail } from './smtp-sink.js';

const HOST = '127.0.0.1';
export const ACCOUNT_IDS: readonly SampleAccountId[] = ['work', 'home'];

/** The addresses of each account; the first one is what the samples use. */
export const ADDRESSES: Readonly<Record<SampleAccountId, readonly [string, ...string[]]>> = {
  work: ['alice@work.example', 'a.marsh@work.example'],
  home: ['alice@home.example'],
};

/** An account at the built-in servers, as a mail program or Mergebox would be told of it; no TLS, loopback only. */
export interface SampleAccount {
  readonly id: SampleAccountId;
  readonly host: string;
  readonly imapPort: number;
  readonly smtpPort: number;
  readonly username: string;
  readonly password: string;
  /** Mails in its INBOX now, and in all its folders. */
  readonly inbox: number;
  readonly total: number;
}

/** What became of a mail that was sent, for each recipient. */
export interface Delivery {
  readonly account: SampleAccountId;
  readonly subject: string;
  /** `deliveredTo` is null for an address of somebody else, whom nothing here reaches. */
  readonly recipients: readonly { readonly address: string; readonly deliveredTo: SampleAccountId | null }[];
}

export interface SampleAccountsOptions {
  /** Passwords of the accounts. */
  readonly passwords: Readonly<Record<SampleAccountId, string>>;
  readonly onDelivery: (delivery: Delivery) => void;
  readonly now: () => number;
  readonly log: Log;
}

/** Two upstream accounts that live in memory: an IMAP server for each, and one SMTP server that delivers into them. */
export class SampleAccounts {
  readonly #options: SampleAccountsOptions;
  readonly #backend: MemoryBackend;
  readonly #servers = new Map<SampleAccountId, ImapServer>();
  readonly #sink: SmtpSink;
  #smtpPort = 0;

  constructor(options: SampleAccountsOptions) {
    this.#options = options;
    const { passwords, now, log } = options;
    this.#backend = new MemoryBackend(
      ACCOUNT_IDS.map((id) => ({ name: username(id), password: passwords[id], mailboxes: SAMPLE_FOLDERS[id] })),
      now,
    );
    this.#sink = new SmtpSink({
      name: 'smtp.sample.example',
      logins: new Map(ACCOUNT_IDS.map((id) => [username(id), passwords[id]])),
      maxBytes: DEFAULT_LIMITS.messageBytes,
      take: (mail) => this.#deliver(mail),
      log,
    });
  }

  /** Fills the mailboxes, then accepts connections. */
  async start(): Promise<readonly SampleAccount[]> {
    await this.#fill();
    this.#smtpPort = await this.#sink.listen(HOST);
    const accounts: SampleAccount[] = [];
    for (const id of ACCOUNT_IDS) accounts.push(await this.#serve(id));
    return accounts;
  }

  async close(): Promise<void> {
    await Promise.all([this.#sink.close(), ...[...this.#servers.values()].map((server) => server.close())]);
  }

  async #serve(id: SampleAccountId): Promise<SampleAccount> {
    const { log, now, passwords } = this.#options;
    const server = new ImapServer({
      backend: this.#backend,
      limits: DEFAULT_LIMITS,
      log: log.child({ part: `sample ${id}` }),
      version: VERSION,
      now,
      certificate: () => ({ cert: '', key: '' }),
    });
    this.#servers.set(id, server);
    const { port } = await server.listen({ host: HOST, port: 0, tls: 'none' });
    const user = this.#backend.user(username(id));
    const counts = ['INBOX', ...Object.keys(SAMPLE_FOLDERS[id])].map((name) => user.mailbox(name).listing.length);
    return {
      id,
      host: HOST,
      imapPort: port,
      smtpPort: this.#smtpPort,
      username: username(id),
      password: passwords[id],
      inbox: counts[0] ?? 0,
      total: counts.reduce((sum, count) => sum + count, 0),
    };
  }

  async #fill(): Promise<void> {
    const now = this.#options.now();
    const samples = [...INBOX_SAMPLES, ...FOLDER_SAMPLES].sort((a, b) => b.minutesAgo - a.minutesAgo);
    for (const mail of samples) {
      const bytes = await composeSample(mail, samples, now);
      for (const { account, mailbox, flags } of mail.places) {
        const trace = sampleTrace(mail, account, ADDRESSES[account][0], now);
        // What its owner wrote never went through a receiving server.
        const own = /sent|draft/i.test(mailbox);
        const copy = own ? bytes : Buffer.concat([traceFields(trace), bytes]);
        this.#backend.user(username(account)).deliver(copy, mailbox, flags, Math.floor(trace.at / 1_000));
      }
    }
  }

  #deliver({ login, sender, recipients, helo, bytes }: SunkMail): void {
    const at = this.#options.now();
    const outcome = recipients.map((address) => ({ address, deliveredTo: ownerOf(address) }));
    for (const { address, deliveredTo } of outcome) {
      if (deliveredTo === null) continue;
      const copy = Buffer.concat([traceFields({ sender, recipient: address, helo, at }), bytes]);
      this.#backend.user(username(deliveredTo)).deliver(copy);
    }
    const account = ACCOUNT_IDS.find((id) => username(id) === login) ?? 'work';
    const subject = decodeHeader(fieldValue(bytes.subarray(0, headerEnd(bytes)), 'Subject') ?? '');
    this.#options.onDelivery({ account, subject, recipients: outcome });
  }
}

function username(id: SampleAccountId): string {
  return `alice-${id}`;
}

/** The account that an address, with or without a `+tag`, belongs to. */
function ownerOf(address: string): SampleAccountId | null {
  const plain = address.toLowerCase().replace(/\+[^@]*@/, '@');
  return ACCOUNT_IDS.find((id) => ADDRESSES[id].includes(plain)) ?? null;
}
