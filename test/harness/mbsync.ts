import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CommandResult, runCommand } from './command-line.js';
import { crlf } from './imap-helpers.js';

export interface MbsyncAccount {
  /** TLS from the start, with `ca` to trust; the name that is checked is localhost. */
  readonly port: number;
  readonly ca: string;
  readonly user: string;
  readonly password: string;
}

/** One mail in the local Maildir. */
export interface MaildirMail {
  readonly path: string;
  /** Letters behind `:2,`, sorted as they are: DFRST. */
  readonly flags: string;
  readonly text: string;
}

/** A real mbsync with a Maildir of its own: a client that keeps a whole copy and says what changed. */
export class Mbsync {
  readonly dir: string;
  readonly #config: string;

  private constructor(dir: string) {
    this.dir = dir;
    this.#config = join(dir, 'mbsyncrc');
  }

  static async create(account: MbsyncAccount, patterns = '*'): Promise<Mbsync> {
    const mbsync = new Mbsync(await mkdtemp(join(tmpdir(), 'mbsy-')));
    await mkdir(join(mbsync.dir, 'mail'));
    await mkdir(join(mbsync.dir, 'state'));
    await writeFile(mbsync.#config, configText(mbsync.dir, account, patterns), { mode: 0o600 });
    return mbsync;
  }

  /** The server's port and password may change between runs. */
  async reconfigure(account: MbsyncAccount, patterns = '*'): Promise<void> {
    await writeFile(this.#config, configText(this.dir, account, patterns), { mode: 0o600 });
  }

  /** One run of all channels; throws unless it exits 0. */
  async run(timeoutMs = 120_000): Promise<CommandResult> {
    const result = await runCommand('mbsync', ['-c', this.#config, '-a'], { timeoutMs });
    if (result.code !== 0) throw new Error(`mbsync exited ${result.code}:\n${result.stdout}${result.stderr}`);
    return result;
  }

  /** What the local copy of a mailbox holds, by file name. */
  async list(mailbox = 'INBOX'): Promise<MaildirMail[]> {
    const mails: MaildirMail[] = [];
    for (const part of ['cur', 'new']) {
      const folder = join(this.dir, 'mail', mailbox, part);
      for (const name of (await readdir(folder)).sort()) {
        const path = join(folder, name);
        mails.push({ path, flags: name.split(':2,')[1] ?? '', text: await readFile(path, 'latin1') });
      }
    }
    return mails;
  }

  /** The names of all local mails, which tell their flags as well. */
  async names(): Promise<string[]> {
    const all = await readdir(join(this.dir, 'mail'), { recursive: true });
    return all.filter((name) => /\/(cur|new)\//.test(name)).sort();
  }

  /** The one mail that contains `text`. */
  async find(mailbox: string, text: string): Promise<MaildirMail> {
    const found = (await this.list(mailbox)).filter((mail) => mail.text.includes(text));
    if (found.length !== 1) throw new Error(`${found.length} mails in ${mailbox} contain ${text}`);
    return found[0]!;
  }

  /** Gives a local mail these Maildir flags, as a mail program would. */
  async setFlags(mail: MaildirMail, flags: string): Promise<void> {
    const [base = ''] = mail.path.split('/').slice(-1)[0]!.split(':2,');
    await rename(mail.path, join(mail.path, '..', '..', 'cur', `${base}:2,${[...flags].sort().join('')}`));
  }

  /** Puts a new mail into the local copy, for the next run to push. */
  async add(mailbox: string, message: string, flags = ''): Promise<void> {
    const name = `${Date.now()}.${Math.random().toString(36).slice(2)}.test:2,${flags}`;
    await writeFile(
      join(this.dir, 'mail', mailbox, 'cur', name),
      crlf(message).toString('latin1').replace(/\r\n/g, '\n'),
      'latin1',
    );
  }

  async stop(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }
}

function configText(dir: string, account: MbsyncAccount, patterns: string): string {
  return [
    'IMAPAccount merged',
    'Host localhost',
    `Port ${account.port}`,
    `User ${account.user}`,
    `Pass "${account.password}"`,
    'SSLType IMAPS',
    `CertificateFile ${account.ca}`,
    'SystemCertificates no',
    '',
    'IMAPStore far',
    'Account merged',
    '',
    'MaildirStore near',
    `Path ${join(dir, 'mail')}/`,
    `Inbox ${join(dir, 'mail', 'INBOX')}`,
    'SubFolders Verbatim',
    '',
    'Channel all',
    'Far :far:',
    'Near :near:',
    `Patterns ${patterns}`,
    'Create Both',
    'Expunge Both',
    'CopyArrivalDate yes',
    `SyncState ${join(dir, 'state')}/`,
    '',
  ].join('\n');
}
