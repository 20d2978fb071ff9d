import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import { type CommandResult, runMergebox } from '../harness/command-line.js';
import { startDovecot } from '../harness/dovecot.js';
import { ImapClient } from '../harness/imap-client.js';
import { hashPassword } from '../harness/mergebox-config.js';
import { Mergebox, startMergebox, type TestUser } from '../harness/mergebox.js';
import { eventually } from '../harness/net.js';

type Json = Record<string, unknown>;

/** The object about this account, wherever in the document it stands. */
function accountStatus(document: unknown, id: string): Json | undefined {
  if (typeof document !== 'object' || document === null) return undefined;
  const record = document as Json;
  if ((record['id'] === id || record['account'] === id) && typeof record['state'] === 'string') return record;
  for (const value of Object.values(record)) {
    const found = accountStatus(value, id);
    if (found !== undefined) return found;
  }
  return undefined;
}

t.test('check, status, sync and the admin service tell how things are', async (t) => {
  const [good, bad] = [await startDovecot({ tls: 'implicit' }), await startDovecot()];
  t.teardown(() => Promise.all([good.stop(), bad.stop()]));
  await good.deliver('alice', 'INBOX', 'Subject: one\nMessage-ID: <one@test.example>\n\nx\n');
  await bad.deliver('alice', 'INBOX', 'Subject: two\nMessage-ID: <two@test.example>\n\nx\n');
  const users: TestUser[] = [
    {
      name: 'alice',
      password: 'pw',
      accounts: [
        { id: 'good', server: good },
        { id: 'bad', server: bad, password: 'not-the-password' },
      ],
    },
  ];
  const box = await startMergebox({ users, overrides: { limits: { firstSyncSeconds: 3 } } });
  t.teardown(() => box.stop());

  await t.test('check reports each upstream and fails for the one that refuses', async (t) => {
    const { code, stdout, stderr } = await box.command(['check']);
    t.equal(code, 1);
    t.match(stdout + stderr, /good/);
    t.match(stdout + stderr, /bad.*authentication/is);
    t.notMatch(stdout + stderr, /not-the-password/);
  });

  await t.test('a wrong upstream password is that account’s failure alone', async (t) => {
    await eventually('the good account to be served', async () => (await box.list()).length === 1);
    t.match(await box.list(), [{ messageId: '<one@test.example>' }]);
    const { body } = await eventually('status of the bad account', async () => {
      const status = await box.status();
      return accountStatus(status.body, 'bad')?.['state'] === 'failed: authentication' && status;
    });
    t.equal(accountStatus(body, 'bad')?.['state'], 'failed: authentication');
    t.notMatch(String(accountStatus(body, 'good')?.['state']), /failed/);
    t.equal((await box.status()).code, 1);
    t.match(box.log(), /authentication/);
    t.notMatch(box.log(), /not-the-password/, 'no secret in the log');
  });

  await t.test('sync --wait fails for the failing account, succeeds for the other', async (t) => {
    t.equal((await box.command(['sync', '--account', 'good', '--wait', '--timeout', '20'])).code, 0);
    t.equal((await box.command(['sync', '--wait', '--timeout', '3'])).code, 1);
    t.equal((await box.command(['sync', '--account', 'nosuch'])).code === 0, false, 'an unknown account is an error');
  });

  await t.test('healthz, readyz, metrics and api/status', async (t) => {
    const get = async (path: string): Promise<{ status: number; text: string; type: string }> => {
      const response = await fetch(`${box.adminUrl}${path}`);
      return { status: response.status, text: await response.text(), type: response.headers.get('content-type') ?? '' };
    };
    t.equal((await get('/healthz')).status, 200);
    t.equal((await get('/readyz')).status, 200);
    const metrics = await get('/metrics');
    t.equal(metrics.status, 200);
    t.match(metrics.type, /^application\/openmetrics-text/);
    t.match(metrics.text, /# EOF\s*$/);
    t.match(metrics.text, /^# TYPE \w+ \w+$/m);
    const status = await get('/api/status');
    t.equal(status.status, 200);
    t.equal(accountStatus(JSON.parse(status.text), 'bad')?.['state'], 'failed: authentication');
    t.equal((await get('/nowhere')).status, 404);
  });

  await t.test('status for people names every account', async (t) => {
    const { stdout } = await box.command(['status']);
    t.match(stdout, /good/);
    t.match(stdout, /bad.*failed: authentication/);
  });

  await t.test('the right password lets the account in', async (t) => {
    const config = await box.readConfig();
    const accounts = (config['users'] as [{ accounts: [Json, { auth: Json }] }])[0].accounts;
    accounts[1].auth['password'] = { env: 'BAD_PASSWORD' };
    await box.terminate();
    await box.writeConfig(config);
    const fixed = await Mergebox.create({ users, env: { BAD_PASSWORD: 'secret' } });
    t.teardown(() => fixed.stop());
    await fixed.writeConfig(config);
    await fixed.start();
    await fixed.sync();
    t.equal((await fixed.list()).length, 2);
    t.equal((await fixed.status()).code, 0);
    t.equal((await fixed.command(['check'])).code, 0);
  });
});

t.test('status and sync without a daemon fail with a reason', async (t) => {
  const box = await Mergebox.create({ users: [{ name: 'alice', password: 'pw', accounts: [] }] });
  t.teardown(() => box.stop());
  for (const command of ['status', 'sync']) {
    const { code, stderr } = await box.command([command]);
    t.equal(code, 1, command);
    t.match(stderr, /running|serve|connect/i);
  }
});

t.test('a configuration that is wrong names the key, exits 2 and opens nothing', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  const box = await Mergebox.create({ users: [{ name: 'alice', password: 'pw', accounts: [{ id: 'a', server }] }] });
  t.teardown(() => box.stop());
  const valid = JSON.stringify(await box.readConfig());
  const serve = async (change: (config: Json) => void, command = 'serve'): Promise<CommandResult> => {
    const config = JSON.parse(valid) as Json;
    change(config);
    await box.writeConfig(config);
    return box.command([command], { timeoutMs: 20_000 });
  };
  const account = (config: Json): Json => (config['users'] as { accounts: Json[] }[])[0]!.accounts[0]!;
  const cases: [string, (config: Json) => void, RegExp][] = [
    ['an unknown key at the top', (config) => Object.assign(config, { imapp: {} }), /imapp/],
    [
      'an unknown key deep down',
      (config) => Object.assign(account(config), { hots: 'x' }),
      /users.?0.?\.accounts.?0.?\.hots/,
    ],
    ['a missing host', (config) => delete account(config)['host'], /users.?0.?\.accounts.?0.?\.host/],
    ['no users', (config) => delete config['users'], /users/],
    ['a wrong type', (config) => Object.assign(account(config), { port: 'imap' }), /users.?0.?\.accounts.?0.?\.port/],
    [
      'a secret that is not there',
      (config) => Object.assign(account(config), { auth: { username: 'a', password: { env: 'NO_SUCH_VARIABLE' } } }),
      /NO_SUCH_VARIABLE/,
    ],
    [
      'plaintext off loopback',
      (config) => Object.assign(config, { imap: { listeners: [{ host: '0.0.0.0', port: 0, tls: 'none' }] } }),
      /imap\.listeners.?0.?\..*allowPlaintext/s,
    ],
  ];
  for (const [what, change, expected] of cases) {
    const { code, stdout, stderr } = await serve(change);
    t.equal(code, 2, what);
    t.match(stderr + stdout, expected, what);
    t.notMatch(stdout, /"ready"/, what);
  }
  t.equal((await serve((config) => Object.assign(config, { imapp: {} }), 'check')).code, 2, 'check as well');
  const missing = await runMergebox(['serve', '--config', `${box.dir}/nothing.json`]);
  t.equal(missing.code, 2);
  t.match(missing.stderr + missing.stdout, /nothing\.json/);
  const usage = await runMergebox(['no-such-command']);
  t.equal(usage.code, 2);
});

t.test('hash-password makes a salted hash that opens a login', async (t) => {
  const hash = await hashPassword('säfe word');
  const again = await runMergebox(['hash-password'], { stdin: 'säfe word\n' });
  t.equal(again.code, 0);
  t.not(again.stdout.trim(), hash, 'another salt each time');
  t.notMatch(hash, 'säfe');
  const box = await startMergebox({ users: [{ name: 'bob', password: 'säfe word', accounts: [] }] });
  t.teardown(() => box.stop());
  const client = await ImapClient.connect(box.endpoint('implicit'));
  t.equal((await client.command('LOGIN bob wrong')).status, 'NO');
  const token = Buffer.from('\0bob\0säfe word').toString('base64');
  t.equal((await client.command(`AUTHENTICATE PLAIN ${token}`)).status, 'OK');
  await client.ok('SELECT INBOX');
  await client.logout();
});

t.test('listeners: TLS, STARTTLS, and a certificate of its own when none is given', async (t) => {
  const box = await Mergebox.create({ users: [{ name: 'alice', password: 'pw', accounts: [] }] });
  t.teardown(() => box.stop());
  await box.start();
  for (const tls of ['none', 'implicit', 'starttls'] as const) {
    const client = await box.imap('alice', tls);
    t.match((await client.ok('CAPABILITY')).untagged[0], /^CAPABILITY .*IMAP4rev1/, tls);
    await client.logout();
  }
  const plain = await ImapClient.connect({ ...box.endpoint('starttls'), tls: 'none' });
  t.match((await plain.ok('CAPABILITY')).untagged[0], /STARTTLS.*LOGINDISABLED|LOGINDISABLED.*STARTTLS/);
  t.equal((await plain.command('LOGIN alice pw')).status, 'NO', 'no password in clear');
  plain.close();

  await box.terminate();
  const config = await box.readConfig();
  delete config['tls'];
  await box.writeConfig(config);
  const fingerprint = async (): Promise<string> => {
    await box.start();
    const { port } = box.listener('imap', 'implicit');
    const der = await new Promise<Buffer>((resolve, reject) => {
      const socket = tlsConnect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
        resolve(socket.getPeerCertificate().raw);
        socket.destroy();
      });
      socket.once('error', reject);
    });
    await box.terminate();
    return createHash('sha256').update(der).digest('hex');
  };
  const made = await fingerprint();
  t.equal(await fingerprint(), made, 'made once');
  t.match(box.log().replace(/:/g, '').toLowerCase(), made, 'its fingerprint is logged');
});

t.test('the data directory is private', async (t) => {
  const server = await startDovecot();
  t.teardown(() => server.stop());
  await server.deliver('alice', 'INBOX', 'Subject: private\n\nx\n');
  const box = await startMergebox({ users: [{ name: 'alice', password: 'pw', accounts: [{ id: 'a', server }] }] });
  t.teardown(() => box.stop());
  await box.sync();
  const { stat, readdir } = await import('node:fs/promises');
  t.equal((await stat(`${box.dir}/data`)).mode & 0o077, 0, 'nobody else may look into dataDir');
  for (const name of await readdir(`${box.dir}/data`, { recursive: true })) {
    const path = `${box.dir}/data/${name}`;
    if (!(await stat(path)).isFile()) continue;
    t.notOk((await readFile(path)).includes('password":"secret'), `${name} holds no upstream password`);
  }
});
