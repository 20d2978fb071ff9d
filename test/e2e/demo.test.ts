import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import { mainFile, ownEnv, runCommand, runMergebox } from '../harness/command-line.js';
import { ImapClient, type ImapEndpoint } from '../harness/imap-client.js';
import { type ListedMessage, listFolder } from '../harness/imap-helpers.js';
import { eventually } from '../harness/net.js';
import { runPython } from '../harness/python.js';

/** A running `mergebox demo` and what it said about itself. */
class Demo {
  readonly #child: ChildProcess;
  #text = '';
  readonly #closed: Promise<number | null>;

  constructor(env: Readonly<Record<string, string>> = {}) {
    this.#child = spawn(process.execPath, [mainFile(), 'demo'], {
      env: { ...ownEnv(), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => {
        this.#text += chunk.toString();
      });
    }
    this.#closed = new Promise((resolve) => this.#child.once('close', (code) => resolve(code)));
  }

  get text(): string {
    return this.#text;
  }

  /** Waits for a piece of the transcript; the first group when there is one. */
  async said(pattern: RegExp): Promise<string> {
    return eventually(`the demo to say ${pattern}`, async () => {
      const match = pattern.exec(this.#text);
      if (match === null && this.#child.exitCode !== null) throw new Error(`the demo ended:\n${this.#text}`);
      return match === null ? undefined : (match[1] ?? match[0]);
    });
  }

  /** The exit status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal);
    return this.#closed;
  }

  port(pattern: RegExp): number {
    return Number(this.fact(pattern));
  }

  fact(pattern: RegExp): string {
    const found = pattern.exec(this.#text)?.[1];
    if (found === undefined) throw new Error(`${pattern} is not in:\n${this.#text}`);
    return found;
  }

  /** A command that it printed below this heading, as it stands. */
  command(heading: string): string {
    const lines = this.#text.split('\n');
    return lines[lines.indexOf(heading) + 1]!.trim();
  }

  get password(): string {
    return this.fact(/^ {2}password +(\S+)$/m);
  }

  imap(tls: 'implicit' | 'starttls' = 'implicit'): ImapEndpoint {
    const pattern = tls === 'implicit' ? /IMAP +port (\d+)/ : /IMAP .* or (\d+) with STARTTLS/;
    return { host: '127.0.0.1', port: this.port(pattern), tls };
  }

  /** A logged-in client of the merged view. */
  async client(tls: 'implicit' | 'starttls' = 'implicit'): Promise<ImapClient> {
    const client = await ImapClient.connect(this.imap(tls));
    await client.login('alice', this.password);
    return client;
  }

  /** A login to one of the accounts behind it, past Mergebox. */
  async upstream(account: 'work' | 'home'): Promise<ImapClient> {
    const port = this.port(new RegExp(`^ {2}${account} +imap://127\\.0\\.0\\.1:(\\d+)`, 'm'));
    const client = await ImapClient.connect({ host: '127.0.0.1', port, tls: 'none' });
    const password = this.fact(new RegExp(`user alice-${account} +password (\\S+)`));
    await client.login(`alice-${account}`, password);
    return client;
  }

  get dir(): string {
    return dirname(this.fact(/status --config '([^']+)'/));
  }
}

async function started(t: { teardown(stop: () => unknown): void }): Promise<Demo> {
  const demo = new Demo();
  t.teardown(() => demo.stop('SIGKILL'));
  await demo.said(/Ctrl-C ends it/);
  return demo;
}

/** Runs what the demo printed, as a newcomer would: pasted into a shell. */
async function pasted(line: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand('bash', ['-o', 'pipefail', '-c', line]);
  if (code !== 0) throw new Error(`${line}\nexited ${code}: ${stdout}${stderr}`);
  return stdout;
}

async function listed(open: Promise<ImapClient>, mailbox: string): Promise<ListedMessage[]> {
  const client = await open;
  try {
    return await listFolder(client, mailbox);
  } finally {
    client.close();
  }
}

const COMMON = 'Saturday: which train?';

t.test('demo: what it prints leads to a merged INBOX, and a mail sent comes back', async (t) => {
  const demo = await started(t);
  const merged = Number(demo.fact(/INBOX shows (\d+) mails/));
  const [atWork, atHome] = [Number(demo.fact(/\((\d+) at work/)), Number(demo.fact(/(\d+) at home/))];

  t.test('the printed curl lists the INBOX, what both accounts hold once', async (t) => {
    const lines = (await pasted(demo.command('List the INBOX from a shell:'))).trim().split('\n');
    t.equal(lines.length, merged, 'one line per mail, as many as announced');
    t.ok(merged < atWork + atHome, 'fewer than the copies');
    t.equal(lines.filter((line) => line.includes(COMMON)).length, 1);
    t.match(
      lines.find((line) => line.includes(COMMON)),
      /\$account_home \$account_work/,
      'tagged with both accounts',
    );
    const [work, home] = [await listed(demo.upstream('work'), 'INBOX'), await listed(demo.upstream('home'), 'INBOX')];
    t.same([work.length, home.length], [atWork, atHome], 'the accounts hold what was announced');
    const ids = new Set([...work, ...home].map(({ messageId }) => messageId));
    t.equal(ids.size, merged, 'every mail of either account is there');
  });

  t.test('the samples arrive whole: dates ascend, headers decode, both security modes work', async (t) => {
    const client = await demo.client('starttls');
    t.teardown(() => client.close());
    await client.ok('EXAMINE INBOX');
    const { untagged } = await client.ok('FETCH 1:* (INTERNALDATE ENVELOPE BODYSTRUCTURE)');
    const dates = untagged.flatMap((line) => {
      const text = /INTERNALDATE "([^"]+)"/.exec(line)?.[1];
      return text === undefined ? [] : [Date.parse(text.trim().replace(/-/g, ' '))];
    });
    t.equal(dates.length, merged);
    t.same(
      dates,
      [...dates].sort((a, b) => a - b),
      'in the order of their dates',
    );
    t.ok(dates.at(-1)! > Date.now() - 86_400_000 && dates.at(-1)! <= Date.now(), 'and today');
    const all = untagged.join('\n');
    t.match(all, '=?iso-8859-1?Q?=DCbergabe');
    t.match(all, /"text" "calendar"/i);
    t.match(all, /"text" "html"/i);
    t.match(all, /low-water-days\.csv/);
    const { untagged: list } = await client.ok('LIST "" "*"');
    for (const attribute of ['Sent', 'Drafts', 'Trash', 'Junk', 'Archive']) {
      t.ok(
        list.some((line) => line.includes(`\\${attribute}`) && !line.includes('Accounts/')),
        `a merged mailbox is \\${attribute}`,
      );
    }
    t.ok(list.some((line) => line.includes('Accounts/work/Projects/Slipway')));
  });

  t.test('the printed curl sends: INBOX of an idling client shows it, Sent holds it once', async (t) => {
    const client = await demo.client();
    t.teardown(() => client.close());
    await client.ok('SELECT INBOX');
    const idle = await client.idle();
    const sent = Date.now();
    await pasted(demo.command('Send a mail:'));
    const answered = Date.now();
    t.match(await client.until((line) => / EXISTS$/.test(line), 5_000), `${merged + 1} EXISTS`);
    t.comment(`curl took ${answered - sent} ms, the client was told ${Date.now() - answered} ms later`);
    await idle.done();
    await demo.said(/work sent "A letter to myself"\n {2}alice@home\.example: delivered to INBOX of home/);
    const count = (messages: readonly ListedMessage[]): number =>
      messages.filter(({ subject }) => subject === 'A letter to myself').length;
    t.equal(count(await listed(demo.client(), 'INBOX')), 1);
    await eventually('the copy in Sent', async () => count(await listed(demo.client(), 'Sent')) === 1);
    t.equal(count(await listed(demo.upstream('home'), 'INBOX')), 1);
    await eventually(
      'the copy in Sent Items of work',
      async () => count(await listed(demo.upstream('work'), 'Sent Items')) === 1,
    );
    t.equal(count(await listed(demo.upstream('home'), 'Sent')), 0, 'only at the account it was sent from');
    t.equal(count(await listed(demo.client(), 'Sent')), 1, 'filed once');
  });

  t.test('a mail to both addresses is one mail; an address elsewhere is told, not reached', async (t) => {
    const before = (await listed(demo.client(), 'INBOX')).length;
    await runPython(
      `
import smtplib, ssl
context = ssl._create_unverified_context()
mail = (b'From: Alice <alice@home.example>\\r\\nSubject: =?utf-8?Q?Three_readers_=1B[2J?=\\r\\n'
        b'Message-ID: <three@home.example>\\r\\n\\r\\nTo all.\\r\\n')
with smtplib.SMTP('127.0.0.1', p['port']) as s:
    s.starttls(context=context)
    s.login('alice', p['password'])
    s.sendmail('alice@home.example', ['alice@work.example', 'alice+tag@home.example', 'x@elsewhere.example'], mail)
print('true')
`,
      { port: demo.port(/SMTP .* or (\d+) with STARTTLS/), password: demo.password },
    );
    await demo.said(/x@elsewhere\.example: would have been delivered/);
    t.match(demo.text, 'home sent "Three readers ?[2J"', 'no control character reaches the terminal');
    const three = (messages: readonly ListedMessage[]): ListedMessage[] =>
      messages.filter(({ messageId }) => messageId === '<three@home.example>');
    await eventually('one entry with both copies', async () => {
      const [entry, ...more] = three(await listed(demo.client(), 'INBOX'));
      const tags = entry?.flags.filter((flag) => flag.startsWith('$account_')) ?? [];
      return more.length === 0 && tags.length === 2;
    });
    t.equal((await listed(demo.client(), 'INBOX')).length, before + 1);
    for (const account of ['work', 'home'] as const) {
      t.equal(three(await listed(demo.upstream(account), 'INBOX')).length, 1, `a copy at ${account}`);
    }
    await eventually('the copy in Sent', async () => three(await listed(demo.client(), 'Sent')).length === 1);
  });

  t.test('a flag and a deletion of a common mail reach both accounts', async (t) => {
    const client = await demo.client();
    t.teardown(() => client.close());
    const common = (messages: readonly ListedMessage[]): ListedMessage[] =>
      messages.filter(({ subject }) => subject === COMMON);
    const [entry] = common(await listFolder(client, 'INBOX'));
    await client.ok('SELECT INBOX');
    await client.ok(`UID STORE ${entry!.uid} +FLAGS (\\Flagged $Later)`);
    for (const account of ['work', 'home'] as const) {
      await eventually(`the flags at ${account}`, async () => {
        const [copy] = common(await listed(demo.upstream(account), 'INBOX'));
        return copy?.flags.includes('\\Flagged') && copy.flags.includes('$Later');
      });
    }
    await client.ok(`UID MOVE ${entry!.uid} Trash`);
    for (const [account, trash] of [
      ['work', 'Deleted Items'],
      ['home', 'Trash'],
    ] as const) {
      await eventually(`the move at ${account}`, async () => {
        const gone = common(await listed(demo.upstream(account), 'INBOX')).length === 0;
        return gone && common(await listed(demo.upstream(account), trash)).length === 1;
      });
    }
    t.equal(common(await listed(demo.client(), 'Trash')).length, 1, 'one entry in the merged Trash');
    t.equal(common(await listed(demo.client(), 'INBOX')).length, 0);
  });

  t.test('what happens at an account directly is shown', async (t) => {
    const client = await demo.client();
    t.teardown(() => client.close());
    await client.ok('SELECT INBOX');
    const upstream = await demo.upstream('work');
    t.teardown(() => upstream.close());
    await upstream.ok('SELECT INBOX');
    const idle = await client.idle();
    await upstream.ok('STORE 1 +FLAGS ($Elsewhere)');
    t.ok(await client.until((line) => /^\d+ FETCH .*\$Elsewhere/.test(line), 10_000));
    await upstream.ok('STORE 1 +FLAGS (\\Deleted)');
    await upstream.ok('EXPUNGE');
    t.match(await client.until((line) => / EXPUNGE$/.test(line), 10_000), /^\d+ EXPUNGE$/);
    await idle.done();
  });

  t.test('a second demo beside it takes free ports', async (t) => {
    const second = await started(t);
    t.not(second.imap().port, demo.imap().port);
    t.not(second.dir, demo.dir);
    t.equal((await listed(second.client(), 'INBOX')).length, merged, 'and has mail of its own');
    t.equal(await second.stop('SIGINT'), 0);
    t.notOk(existsSync(second.dir));
    const still = (await pasted(demo.command('List the INBOX from a shell:'))).trim().split('\n');
    t.ok(still.length >= merged, 'the first goes on');
  });

  t.test('the printed configuration works for the other commands; the log is a file', async (t) => {
    const config = join(demo.dir, 'config.json');
    const status = await runMergebox(['status', '--config', config]);
    t.equal(status.code, 0, status.stderr);
    t.match(status.stdout, /alice +work +(idle|syncing)[\s\S]*alice +home +(idle|syncing)[\s\S]*healthy/);
    const check = await runMergebox(['check', '--config', config]);
    t.equal(check.code, 0, check.stdout + check.stderr);
    t.match(check.stdout, /alice\/work: imap 127\.0\.0\.1:\d+ \(none\): logged in/);
    const log = await readFile(demo.fact(/^ {2}log +(\S+)$/m), 'utf8');
    t.match(log, '"msg":"in sync"');
    t.notMatch(log, demo.password);
    t.notMatch(log, '"level":"error"');
    t.notMatch(demo.text, '"level"', 'the transcript is for people');
  });

  t.test('SIGTERM ends it with 0 and leaves nothing behind', async (t) => {
    const client = await demo.client();
    t.teardown(() => client.close());
    t.ok(existsSync(demo.dir));
    t.equal(await demo.stop('SIGTERM'), 0, demo.text.slice(-500));
    await client.closed();
    t.notOk(existsSync(demo.dir));
  });
});

t.test('demo: a signal before everything runs ends it as well', async (t) => {
  const temporary = t.testdir();
  const demo = new Demo({ TMPDIR: temporary });
  t.teardown(() => demo.stop('SIGKILL'));
  await eventually('its directory', async () => (await readdir(temporary)).length > 0);
  t.equal(await demo.stop('SIGTERM'), 0, demo.text);
  t.same(await readdir(temporary), []);
});
