import { access, chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type CommandResult, runCommand } from '../harness/command-line.js';
import { runPython } from '../harness/python.js';
import { PASSWORD, startWorld } from '../harness/world.js';

/** A folder for one client, gone with its test. */
async function home(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'imap-client-'));
  t.teardown(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

async function config(path: string, lines: readonly string[]): Promise<void> {
  await writeFile(path, `${lines.join('\n')}\n`, { mode: 0o600 });
}

/** The files that a fetching client made of mails. */
async function fetched(dir: string): Promise<string[]> {
  return (await readdir(dir)).filter((name) => name.startsWith('got-'));
}

/** How many mails are in a Maildir, and which are marked as read. */
async function maildir(path: string): Promise<{ count: number; seen: number }> {
  const names = (await Promise.all(['cur', 'new'].map((part) => readdir(join(path, part))))).flat();
  return { count: names.length, seen: names.filter((name) => /:2,.*S/.test(name)).length };
}

function mustSucceed({ code, stdout, stderr }: CommandResult): void {
  if (code !== 0) throw new Error(`exit ${code}:\n${stdout}${stderr}`);
}

t.test('real clients read and change the merged mailboxes', async (t) => {
  const { box, mails } = await startWorld(t, { mails: 30, common: 10 });
  const { port } = box.listener('imap', 'implicit');
  const total = mails.length;

  await t.test('getmail6 fetches every mail once', async (t) => {
    const dir = await home(t);
    await config(join(dir, 'getmailrc'), [
      '[retriever]',
      'type = SimpleIMAPSSLRetriever',
      'server = localhost',
      `port = ${port}`,
      'username = alice',
      `password = ${PASSWORD}`,
      `ca_certs = ${box.ca}`,
      'mailboxes = ("Archive",)',
      '[destination]',
      // As root it writes no Maildir.
      'type = MDA_external',
      'path = /bin/sh',
      `arguments = ("-c", "cat > ${dir}/got-$$")`,
      'allow_root_commands = true',
      '[options]',
      'read_all = false',
      'delete = false',
    ]);
    const run = (): Promise<CommandResult> => runCommand('getmail', ['--getmaildir', dir], { timeoutMs: 60_000 });
    // Every delivery by a command takes it two seconds.
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    await client.ok('UID COPY 1:2 Archive');
    await client.logout();
    mustSucceed(await run());
    t.equal((await fetched(dir)).length, 2);
    mustSucceed(await run());
    t.equal((await fetched(dir)).length, 2, 'nothing twice');
  });

  await t.test('fetchmail fetches what is unseen and marks it', async (t) => {
    const dir = await home(t);
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    await client.ok('UID STORE 1:* -FLAGS.SILENT (\\Seen)');
    await client.ok('UID STORE 1:5 +FLAGS.SILENT (\\Seen)');
    await config(join(dir, 'rc'), [
      'set no bouncemail',
      `poll localhost service ${port} protocol IMAP timeout 30`,
      `  user "alice" password "${PASSWORD}" keep ssl sslcertck sslcertfile "${box.ca}"`,
      `  mda "cat > ${dir}/mail-$$; mv ${dir}/mail-$$ ${dir}/got-$$"`,
    ]);
    await chmod(join(dir, 'rc'), 0o700);
    const run = (): Promise<CommandResult> =>
      runCommand('fetchmail', ['-f', join(dir, 'rc'), '--pidfile', join(dir, 'pid'), '--nosyslog'], {
        timeoutMs: 60_000,
        env: { ...process.env, HOME: dir, FETCHMAILHOME: dir },
      });
    mustSucceed(await run());
    t.equal((await fetched(dir)).length, total - 5);
    t.match(
      (await client.ok('UID SEARCH UNSEEN')).untagged.find((line) => line.startsWith('SEARCH')),
      /^SEARCH$/,
    );
    t.equal((await run()).code, 1, 'no more mail');
    await client.logout();
  });

  await t.test('offlineimap3 keeps a copy in step, both ways', async (t) => {
    const dir = await home(t);
    await config(join(dir, 'rc'), [
      '[general]',
      'accounts = merged',
      `metadata = ${dir}/meta`,
      '[Account merged]',
      'localrepository = near',
      'remoterepository = far',
      '[Repository near]',
      'type = Maildir',
      `localfolders = ${dir}/mail`,
      '[Repository far]',
      'type = IMAP',
      'remotehost = localhost',
      `remoteport = ${port}`,
      'remoteuser = alice',
      `remotepass = ${PASSWORD}`,
      'ssl = yes',
      `sslcacertfile = ${box.ca}`,
      "folderfilter = lambda name: name in ['INBOX', 'Drafts', 'Trash']",
    ]);
    const run = async (): Promise<void> =>
      mustSucceed(
        await runCommand('offlineimap', ['-o', '-c', join(dir, 'rc'), '-u', 'quiet'], {
          timeoutMs: 100_000,
          env: { ...process.env, HOME: dir },
        }),
      );
    await run();
    const inbox = join(dir, 'mail', 'INBOX');
    t.same(await maildir(inbox), { count: total, seen: total });
    const draft = 'From: a@b.example\nSubject: local\nMessage-ID: <local@offline.example>\n\nx\n';
    await writeFile(join(dir, 'mail', 'Drafts', 'cur', `1.local.test:2,D`), draft);
    const client = await box.imap();
    await client.ok('SELECT INBOX');
    await client.ok('UID STORE 3 +FLAGS (\\Deleted)');
    await client.ok('UID EXPUNGE 3');
    await client.ok('UID STORE 4 -FLAGS (\\Seen)');
    await run();
    t.same(await maildir(inbox), { count: total - 1, seen: total - 2 });
    await client.ok('SELECT Drafts');
    const found = await client.ok('UID SEARCH HEADER Message-ID local@offline.example DRAFT');
    t.match(
      found.untagged.find((line) => line.startsWith('SEARCH')),
      /^SEARCH \d+$/,
    );
    const before = await readdir(inbox, { recursive: true });
    await run();
    t.same((await readdir(inbox, { recursive: true })).sort(), before.sort(), 'a further run changes nothing');
    await client.logout();
  });

  await t.test('curl lists, fetches, searches and appends', async (t) => {
    const curl = async (path: string, ...args: string[]): Promise<string> => {
      const url = `imaps://localhost:${port}/${path}`;
      const run = await runCommand('curl', ['-sS', '--cacert', box.ca, '-u', `alice:${PASSWORD}`, ...args, url]);
      mustSucceed(run);
      return run.stdout;
    };
    t.match(await curl(''), /\* LIST \([^)]*\\Sent[^)]*\) "\/" "Sent"/);
    t.match(await curl('INBOX;UID=1;SECTION=HEADER.FIELDS%20(SUBJECT)'), /^Subject:/im);
    t.match(await curl('INBOX?SUBJECT%20nothing-like-it'), /^\* SEARCH\r?\n/);
    const dir = await home(t);
    await writeFile(join(dir, 'mail'), 'Subject: from curl\r\n\r\nx\r\n');
    await curl('Drafts', '-T', join(dir, 'mail'));
    t.match(await curl('Drafts?SUBJECT%20%22from%20curl%22'), /^\* SEARCH \d+/);
  });

  await t.test("Python's imaplib stores, copies, searches and idles along", async (t) => {
    const result = await runPython<Record<string, unknown>>(
      `
import imaplib, ssl
c = imaplib.IMAP4_SSL('localhost', p['port'], ssl_context=ssl.create_default_context(cafile=p['ca']))
c.login('alice', p['password'])
out = {'utf8': c.enable('UTF8=ACCEPT')[0], 'select': c.select('INBOX')[0], 'flags': c.store('1', '+FLAGS', '\\\\Answered')[0]}
out['search'] = c.search(None, 'ANSWERED')[0]
out['copy'] = c.uid('COPY', '1', 'Archive')[0]
out['thread'] = c.thread('REFERENCES', 'UTF-8', 'ALL')[0]
out['sort'] = c.sort('(REVERSE DATE)', 'UTF-8', 'ALL')[0]
out['quota'] = c.getquotaroot('INBOX')[0]
out['acl'] = [c.myrights('INBOX')[0], c.getacl('INBOX')[0]]
out['namespace'] = c.namespace()[0]
out['append'] = c.append('Drafts', '(\\\\Draft)', imaplib.Time2Internaldate(1700000000), b'Subject: x\\r\\n\\r\\nx')[0]
c.close(); c.logout()
print(json.dumps(out))
`,
      { port, ca: box.ca, password: PASSWORD },
    );
    t.same(new Set(Object.values(result).flat()), new Set(['OK']));
  });

  await t.test('neomutt with QRESYNC sees what vanished while it was open, and while it was away', async (t) => {
    const dir = await home(t);
    const count = async (): Promise<number> => {
      const client = await box.imap();
      const { untagged } = await client.ok('STATUS INBOX (MESSAGES)');
      await client.logout();
      return Number(/MESSAGES (\d+)/.exec(untagged.join())![1]);
    };
    const expunge = async (uid: number): Promise<void> => {
      const client = await box.imap();
      await client.ok('SELECT INBOX');
      await client.ok(`UID STORE ${uid} +FLAGS.SILENT (\\Deleted)`);
      await client.ok(`UID EXPUNGE ${uid}`);
      await client.logout();
    };
    await config(join(dir, 'rc'), [
      `set folder="imaps://alice@localhost:${port}/"`,
      `set imap_pass="${PASSWORD}"`,
      'set spoolfile=+INBOX',
      `set certificate_file="${box.ca}"`,
      'set ssl_usesystemcerts=no ssl_verify_host=yes ssl_force_tls=yes',
      'set imap_qresync=yes imap_condstore=yes imap_check_subscribed=no',
      `set header_cache="${dir}/cache"`,
      'set quit=yes delete=no move=no copy=no wait_key=no confirmappend=no confirmcreate=no auto_tag=no',
      'set sleep_time=0 mail_check=0 timeout=1 mbox_type=mbox beep=no',
    ]);
    /** Opens INBOX, runs `between` while it is open, and answers how many mails it shows then. */
    const shown = async (name: string, between?: () => Promise<void>): Promise<number> => {
      const pause = `<shell-escape>touch ${dir}/${name}.open; while [ ! -e ${dir}/${name}.go ]; do sleep 0.1; done<enter>`;
      const keys = `${pause}<imap-fetch-mail><imap-fetch-mail><tag-pattern>~A<enter><tag-prefix><copy-message>${dir}/${name}.mbox<enter><exit>`;
      const command = `neomutt -F ${dir}/rc -e 'push "${keys}"'`;
      const running = runCommand('script', ['-qec', command, '/dev/null'], {
        timeoutMs: 60_000,
        env: { ...process.env, HOME: dir, TERM: 'xterm', COLUMNS: '80', LINES: '24' },
      });
      while (
        await access(join(dir, `${name}.open`)).then(
          () => false,
          () => true,
        )
      ) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await between?.();
      await writeFile(join(dir, `${name}.go`), '');
      mustSucceed(await running);
      return (await readFile(join(dir, `${name}.mbox`), 'latin1')).split(/^From /m).length - 1;
    };
    const before = await count();
    t.equal(await shown('first'), before);
    t.equal(await shown('open', () => expunge(10)), before - 1, 'while it was open');
    await expunge(12);
    t.equal(await shown('away'), before - 2, 'while it was away');
  });
});
