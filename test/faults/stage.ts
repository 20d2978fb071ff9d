import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makeCertificates, type TestCertificates } from '../harness/certificates.js';
import { type Dovecot, startDovecot } from '../harness/dovecot.js';
import { Mergebox } from '../harness/mergebox.js';
import { mailText, TEMPLATE } from './mails.js';

const run = promisify(execFile);

/** IMAP4rev1 and little else: no UIDPLUS, no MOVE, no CONDSTORE. */
const PLAIN = 'IMAP4rev1 LITERAL+ NAMESPACE IDLE SPECIAL-USE';
const FOLDERS = {
  Drafts: '\\Drafts',
  Sent: '\\Sent',
  Archive: '\\Archive',
  Junk: '\\Junk',
  Trash: '\\Trash',
  Projects: null,
};
const MAX_CASES = 2_000;
const PASSWORD = 'correct horse';

/** One run: a Mergebox of its own, and at both servers a user of its own with the mail of the template. */
export interface Scene {
  /** Its user at both servers. */
  readonly login: string;
  readonly box: Mergebox;
  readonly work: Dovecot;
  readonly home: Dovecot;
}

/**
 * Two servers that run throughout, a mail user at each and the dataDir of a Mergebox that is in sync with them: what
 * each case starts from as a copy. `work` has all extensions, `home` nearly none.
 */
export class Stage {
  readonly work: Dovecot;
  readonly home: Dovecot;
  readonly #certificates: TestCertificates;
  readonly #dir: string;
  readonly #people: readonly string[];
  #cases = 0;

  private constructor(
    work: Dovecot,
    home: Dovecot,
    dir: string,
    certificates: TestCertificates,
    people: readonly string[],
  ) {
    this.#people = people;
    this.work = work;
    this.home = home;
    this.#dir = dir;
    this.#certificates = certificates;
  }

  /** `people` are the users of each Mergebox; all of them have the same mail. */
  static async open(
    teardown: (stop: () => Promise<void>) => void,
    people: readonly string[] = ['alice'],
  ): Promise<Stage> {
    const names = ['template', ...Array.from({ length: MAX_CASES }, (_, n) => `case${n}`)];
    const users = Object.fromEntries(names.map((name) => [name, 'secret']));
    const work = await startDovecot({ users, folders: FOLDERS });
    teardown(() => work.stop());
    const home = await startDovecot({ users, folders: FOLDERS, separator: '.', prefix: 'INBOX.', capability: PLAIN });
    teardown(() => home.stop());
    const dir = await mkdtemp(join(tmpdir(), 'mbstage-'));
    teardown(() => rm(dir, { recursive: true, force: true }));
    const stage = new Stage(work, home, dir, await makeCertificates(dir), people);
    await stage.#makeTemplate();
    return stage;
  }

  /** A copy of the template; `fresh` leaves the dataDir empty; `prepare` is called with its path before it is filled. */
  async scene(fresh = false, prepare?: (dataDir: string) => Promise<void>): Promise<Scene> {
    const login = `case${this.#cases}`;
    this.#cases += 1;
    for (const server of [this.work, this.home]) {
      await run('cp', ['-a', server.maildir('template'), server.maildir(login)]);
    }
    const box = await this.#box(login);
    await prepare?.(dataOf(box));
    if (!fresh) {
      await mkdir(dataOf(box), { recursive: true, mode: 0o700 });
      await cp(join(this.#dir, 'users'), join(dataOf(box), 'users'), { recursive: true });
    }
    return { login, box, work: this.work, home: this.home };
  }

  /** Removes what a scene left. */
  async strike({ login, box }: Scene): Promise<void> {
    await box.kill();
    await box.stop();
    for (const server of [this.work, this.home]) {
      await rm(server.maildir(login), { recursive: true, force: true, maxRetries: 5 });
    }
  }

  async #makeTemplate(): Promise<void> {
    for (const [id, server] of [
      ['work', this.work],
      ['home', this.home],
    ] as const) {
      const client = await server.imap('template');
      // Not one of those that Dovecot makes again by itself.
      if (id === 'home') await client.ok('CREATE INBOX.Plans');
      for (const mail of TEMPLATE.filter(({ at }) => at === id || at === 'both')) {
        const folder = mail.folder === undefined || id === 'work' ? (mail.folder ?? 'INBOX') : `INBOX.${mail.folder}`;
        const text = Buffer.from(mailText(mail, id));
        await client.ok(`APPEND ${folder} (${mail.flags ?? ''}) "${mail.date}" {}`, text);
      }
      client.close();
    }
    const box = await this.#box('template');
    try {
      await box.start();
      await box.sync();
      await box.terminate();
      await cp(join(dataOf(box), 'users'), join(this.#dir, 'users'), { recursive: true });
    } finally {
      await box.stop();
    }
  }

  #box(login: string): Promise<Mergebox> {
    const account = (id: string, server: Dovecot) => ({ id, server, login, pollSeconds: 3_600 });
    return Mergebox.create({
      users: this.#people.map((name) => ({
        name,
        password: PASSWORD,
        accounts: [account('work', this.work), account('home', this.home)],
      })),
      overrides: { log: { level: 'debug' } },
      certificates: this.#certificates,
    });
  }
}

export function dataOf(box: Mergebox): string {
  return join(box.dir, 'data');
}

export function userDir(box: Mergebox): string {
  return join(dataOf(box), 'users', 'alice');
}
