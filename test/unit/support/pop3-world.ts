import { readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Test } from 'tap';
import { MemoryCache } from '../../../src/cache/body-cache.js';
import { loadConfig } from '../../../src/config/load.js';
import type { Config } from '../../../src/config/config.js';
import { UserService } from '../../../src/user-service.js';
import type { UserMail } from '../../../src/mailbox/user-mail.js';
import { silentLog } from '../../../src/util/log.js';
import { writeFile } from 'node:fs/promises';
import type { Pop3Fake } from '../../harness/pop3-fake.js';
import { subjectOf } from './fake-server.js';

const HASH = '$scrypt$ln=10,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';

/** The whole service of one user, alice, over scripted servers: an account for each, and what else `accounts` says. */
export class Pop3World {
  readonly dir: string;
  service!: UserService;
  #config!: Config;

  private constructor(dir: string) {
    this.dir = dir;
  }

  static async open(
    t: Test,
    dir: string,
    servers: Readonly<Record<string, Pop3Fake>>,
    changes: Readonly<Record<string, object>> = {},
    extra: readonly object[] = [],
  ): Promise<Pop3World> {
    const world = new Pop3World(dir);
    const accounts = Object.entries(servers).map(([id, { port }]) => ({
      ...{ id, protocol: 'pop3', host: '127.0.0.1', port, tls: 'none', pollSeconds: 86_400 },
      ...{ auth: { username: 'alice', password: 'secret' }, ...changes[id] },
    }));
    const file = path.join(dir, 'config.json');
    const users = [{ name: 'alice', passwordHash: HASH, accounts: [...accounts, ...extra] }];
    await writeFile(file, JSON.stringify({ dataDir: dir, users }), { mode: 0o600 });
    world.#config = await loadConfig(file, {});
    await world.start();
    t.teardown(() => world.service.close());
    return world;
  }

  async start(): Promise<void> {
    this.service = await UserService.open(this.#config, this.#config.users[0]!, new MemoryCache(1 << 20), silentLog());
    await this.service.sync.start();
  }

  get mail(): UserMail {
    return this.service.session('127.0.0.1');
  }

  /** Until a further look changes nothing. */
  async settle(timeoutMs = 10_000): Promise<void> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (const engine of this.service.sync.engines) await engine.settle(signal);
    await this.service.sync.whenOpened();
  }

  /** The subjects in a mailbox, in UID order, each with its UID. */
  async list(name = 'INBOX'): Promise<{ uid: number; subject: string; bytes: Buffer }[]> {
    const mailbox = await this.mail.open(name);
    try {
      const found: { uid: number; subject: string; bytes: Buffer }[] = [];
      for (const uid of mailbox.listing.uids.subarray(0, mailbox.listing.length)) {
        const body = await mailbox.body(uid);
        const bytes = await body.read(0, body.size);
        found.push({ uid, subject: subjectOf(bytes), bytes });
      }
      return found;
    } finally {
      mailbox.close();
    }
  }

  async subjects(name = 'INBOX'): Promise<string[]> {
    return (await this.list(name)).map(({ subject }) => subject);
  }

  async uid(subject: string, name = 'INBOX'): Promise<number> {
    const found = (await this.list(name)).find((each) => each.subject === subject);
    if (!found) throw new Error(`test: no "${subject}" in ${name}`);
    return found.uid;
  }

  async expunge(subject: string, name = 'INBOX'): Promise<void> {
    const uid = await this.uid(subject, name);
    const mailbox = await this.mail.open(name);
    await mailbox.store([uid], 'add', ['\\Deleted']);
    await mailbox.expunge([uid]);
    mailbox.close();
  }

  async move(subject: string, from: string, to: string): Promise<void> {
    const uid = await this.uid(subject, from);
    const mailbox = await this.mail.open(from);
    await mailbox.move([uid], to);
    mailbox.close();
  }

  /** Names of the files that hold mail. */
  async files(): Promise<string[]> {
    const names = await readdir(path.join(this.dir, 'users', 'alice', 'pinned'));
    return names.filter((name) => /^[0-9a-f]{64}$/.test(name));
  }
}
