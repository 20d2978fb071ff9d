import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { generate } from 'selfsigned';
import t, { type Test } from 'tap';
import { z } from 'zod';
import type { Config } from '../../src/config/config.js';
import { loadConfig } from '../../src/config/load.js';
import { configSchema } from '../../src/config/schema.js';
import { isMergeboxError } from '../../src/util/errors.js';

const HASH = '$scrypt$ln=10,r=8,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA';
const SECRET = 'open-sesame-7';

const account = (changes: object = {}): object => ({
  id: 'work',
  host: 'imap.corp.example',
  auth: { username: 'alice', password: SECRET },
  ...changes,
});
const user = (changes: object = {}): object => ({
  name: 'alice',
  passwordHash: HASH,
  accounts: [account()],
  ...changes,
});

async function write(test: Test, content: unknown): Promise<string> {
  const file = path.join(test.testdir(), 'config.json');
  await writeFile(file, typeof content === 'string' ? content : JSON.stringify(content), { mode: 0o600 });
  return file;
}

async function load(test: Test, content: unknown, env: NodeJS.ProcessEnv = {}): Promise<Config> {
  return await loadConfig(await write(test, content), env);
}

/** The lines that name a problem; fails the test when the file is accepted or the secret shows. */
async function problems(test: Test, content: unknown, env: NodeJS.ProcessEnv = {}): Promise<readonly string[]> {
  try {
    await load(test, content, env);
  } catch (error) {
    if (!isMergeboxError(error, 'config')) throw error;
    test.notOk(error.message.includes(SECRET), 'no secret in the message');
    return error.message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  test.fail('the configuration was accepted');
  return [];
}

t.test('loadConfig refuses user names that could not be the name of a directory of their own', async (t) => {
  for (const name of ['.', '..', 'a/b', 'a\\b', 'a\0', 'é'.repeat(43), '\ud800']) {
    t.match(await problems(t, { users: [user({ name })] }), [/^users\[0\]\.name: /], JSON.stringify(name));
  }
  for (const name of ['...', '..a', 'é'.repeat(42)])
    t.equal((await load(t, { users: [user({ name })] })).users[0]!.name, name);
});

t.test('loadConfig fills every default from a minimal file', async (t) => {
  const config = await load(t, { users: [user()] });
  const [alice] = config.users;
  t.equal(config.dataDir, path.join(t.testdirName, 'data'), 'relative to the file');
  t.equal(config.tls, null);
  t.strictSame(config.imap.listeners, [
    { host: '0.0.0.0', port: 993, tls: 'implicit' },
    { host: '0.0.0.0', port: 143, tls: 'starttls' },
  ]);
  t.strictSame(
    config.submission.listeners.map((each) => each.port),
    [465, 587],
  );
  t.equal(config.admin.host, '127.0.0.1');
  t.equal(config.admin.token, null);
  t.equal(alice?.defaultAccount, 'work', 'the first account');
  t.match(alice?.accounts[0], { authority: 'both', sent: 'auto', smtp: null, pollSeconds: 60 });
  t.strictSame(alice?.accounts[0]?.endpoint, { host: 'imap.corp.example', port: 993, tls: 'implicit', ca: null });
});

t.test('loadConfig takes the port from the service and the kind of TLS', async (t) => {
  const accounts = [account({ tls: 'starttls', smtp: { host: 'smtp.corp.example', tls: 'starttls' } })];
  const config = await load(t, {
    imap: { listeners: [{ host: '127.0.0.1', tls: 'none' }] },
    submission: { listeners: [{ host: '::1', tls: 'starttls' }, { port: 0 }] },
    users: [user({ accounts })],
  });
  t.strictSame(config.imap.listeners, [{ host: '127.0.0.1', port: 143, tls: 'none' }]);
  t.strictSame(
    config.submission.listeners.map((each) => each.port),
    [587, 0],
  );
  t.equal(config.users[0]?.accounts[0]?.endpoint.port, 143);
  t.equal(config.users[0]?.accounts[0]?.smtp?.endpoint.port, 587);
});

t.test('loadConfig names every unknown, missing and wrong key with its path and what is allowed', async (t) => {
  const lines = await problems(t, {
    dataDirectory: 'x',
    imap: { listeners: [{ host: '127.0.0.1', port: 70_000, tls: 'ssl' }] },
    limits: { messageBytes: 1 },
    users: [
      user({
        accounts: [
          { host: 'h', auth: { username: 'a', password: SECRET }, prot: 'imap' },
          account({ id: 'b', auth: { username: 'a', password: { envy: 'X' } }, addresses: ['no address'] }),
          account({ id: 'c', smtp: { host: 's', auth: { username: 'u', passwort: SECRET } } }),
        ],
      }),
      { name: 'bob smith', passwordHash: 7 },
    ],
  });
  const expected = [
    'dataDirectory: unknown key; allowed: dataDir, tls, imap, submission, admin, log, limits, proxy, users',
    'imap.listeners[0].port: expected at most 65535',
    'imap.listeners[0].tls: expected one of "implicit", "starttls", "none"',
    'limits.messageBytes: expected at least 1024',
    /^users\[0\]\.accounts\[0\]\.prot: unknown key; allowed: id, protocol, host,/,
    'users[0].accounts[0].id: missing; expected a string',
    'users[0].accounts[1].auth.password: expected a string that is not empty, { "env": NAME } or { "file": PATH }',
    'users[0].accounts[1].addresses[0]: expected an address, local@domain',
    'users[0].accounts[2].smtp.auth.passwort: unknown key; allowed: username, password',
    /^users\[0\]\.accounts\[2\]\.smtp\.auth\.password: missing; expected a string/,
    /^users\[1\]\.name: expected 1 to 128 characters/,
    'users[1].passwordHash: expected a string',
  ];
  for (const line of expected) {
    t.ok(
      lines.some((each) => (typeof line === 'string' ? each === line : line.test(each))),
      String(line),
    );
  }
  t.equal(lines.length, expected.length, lines.join('\n'));
});

t.test('loadConfig tells shape and meaning in one run', async (t) => {
  const lines = await problems(t, {
    extra: 1,
    imap: { listeners: [{ host: '192.0.2.1', tls: 'none' }] },
    users: [
      user({
        defaultAccount: 'gone',
        accounts: [account({ prot: 1, auth: { username: 'a', password: { env: 'NOT_SET' } } })],
      }),
    ],
  });
  t.match(lines, [
    /^users\[0\]\.accounts\[0\]\.prot: unknown key/,
    /^extra: unknown key/,
    'users[0].defaultAccount: no account has this id; expected one of: work',
    /^imap\.listeners\[0\]\.tls: "none" would send passwords in clear/,
    'users[0].accounts[0].auth.password: the environment variable NOT_SET is not set',
  ]);
});

t.test('loadConfig refuses what no single key shows', async (t) => {
  const lines = await problems(t, {
    users: [
      user({
        passwordHash: 'plain',
        accounts: [
          account({ addresses: ['a@x.example', 'A@X.example'] }),
          account({ id: 'WORK' }),
          account({ id: 'third', addresses: ['a@X.example'] }),
        ],
      }),
      user({ name: 'Alice' }),
    ],
  });
  t.match(lines, [
    /^users\[1\]\.name: the same name as users\[0\]/,
    /^users\[0\]\.accounts\[1\]\.id: the same id as accounts\[0\]/,
    /^users\[0\]\.passwordHash: not a password hash/,
    /^users\[0\]\.accounts\[2\]\.addresses\[0\]: a@X\.example belongs to accounts\[0\]/,
  ]);
  t.equal(lines.length, 4);
});

t.test('loadConfig refuses plaintext off loopback unless it is allowed there', async (t) => {
  const plain = (host: string, allowPlaintext = false): object => ({ host, tls: 'none', allowPlaintext });
  const lines = await problems(t, {
    imap: { listeners: [plain('127.8.9.1'), plain('localhost'), plain('::1'), plain('0.0.0.0'), plain('::')] },
    users: [
      user({
        accounts: [
          account({ ...plain('mail.example'), smtp: plain('smtp.example') }),
          account({ id: 'b', ...plain('mail.example', true) }),
        ],
      }),
    ],
  });
  t.strictSame(
    lines.map((line) => line.split(':')[0]),
    ['imap.listeners[3].tls', 'imap.listeners[4].tls', 'users[0].accounts[0].tls', 'users[0].accounts[0].smtp.tls'],
  );
});

t.test('loadConfig reads secrets from the environment and from files', async (t) => {
  const dir = t.testdir({ 'secret.txt': 'two\nlines\n\n', 'empty.txt': '\n' });
  const config = path.join(dir, 'config.json');
  const content = (source: object): object => ({
    users: [user({ accounts: [account({ auth: { username: 'a', password: source } })] })],
  });
  const password = async (source: object, env: NodeJS.ProcessEnv = {}): Promise<string | undefined> => {
    await writeFile(config, JSON.stringify(content(source)));
    return (await loadConfig(config, env)).users[0]?.accounts[0]?.auth.password.reveal();
  };
  t.equal(await password({ env: 'P' }, { P: 'from env' }), 'from env');
  t.equal(await password({ file: 'secret.txt' }), 'two\nlines\n', 'one newline is taken off');
  t.equal(await password({ file: path.join(dir, 'secret.txt') }), 'two\nlines\n');
  await t.rejects(password({ env: 'P' }, { P: '' }), { code: 'config', message: /variable P is empty/ });
  await t.rejects(password({ file: 'none.txt' }), {
    message: /auth\.password: cannot read the file .*none\.txt: ENOENT/,
  });
  await t.rejects(password({ file: 'empty.txt' }), { message: /empty\.txt is empty/ });
});

t.test('loadConfig lets SMTP use the account’s login, its own, or none', async (t) => {
  const smtp = (auth?: unknown): object =>
    account({ smtp: { host: 'smtp.example', ...(auth === undefined ? {} : { auth }) } });
  const ofAccount = async (raw: object): Promise<string | null | undefined> =>
    (await load(t, { users: [user({ accounts: [raw] })] })).users[0]?.accounts[0]?.smtp?.auth?.username;
  t.equal(await ofAccount(smtp()), 'alice');
  t.equal(await ofAccount(smtp({ username: 'out', password: 'x' })), 'out');
  t.equal(await ofAccount(smtp(false)), undefined);
});

t.test('loadConfig checks certificate, key and authorities', async (t) => {
  const [one, two] = await Promise.all([generate([], { keySize: 2048 }), generate([], { keySize: 2048 })]);
  t.testdir({ 'one.crt': one.cert, 'one.key': one.private, 'two.key': two.private, junk: 'no PEM' });
  const file = path.join(t.testdirName, 'config.json');
  const tls = async (cert: string, key: string, ca?: string): Promise<Config> => {
    const accounts = [account(ca === undefined ? {} : { ca })];
    await writeFile(file, JSON.stringify({ tls: { cert, key }, users: [user({ accounts })] }));
    return await loadConfig(file, {});
  };
  const config = await tls('one.crt', 'one.key', 'one.crt');
  t.equal(config.tls?.cert, path.join(t.testdirName, 'one.crt'));
  t.equal(config.users[0]?.accounts[0]?.endpoint.ca, one.cert);
  await t.rejects(tls('one.crt', 'two.key'), { message: /tls\.key: is not the key of the certificate/ });
  await t.rejects(tls('none.crt', 'one.key'), { message: /tls\.cert: cannot read the file .*none\.crt: ENOENT/ });
  await t.rejects(tls('junk', 'junk'), {
    message: /tls\.cert: .*no PEM certificate.*tls\.key: .*no PEM private key/s,
  });
  await t.rejects(tls('one.crt', 'one.key', 'junk'), {
    message: /users\[0\]\.accounts\[0\]\.ca: .*no PEM certificate/,
  });
});

t.test('loadConfig tells line and column of a JSON mistake and quotes nothing', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['', 'line 1, column 1: expected a value'],
    ['{\n  "a": 1,\n}', 'line 3, column 1: expected a key'],
    [`{"password": ${SECRET}}`, 'line 1, column 14: expected a value'],
    [`{"a": "${SECRET}\n"}`, 'line 1, column '],
    ['{"a": 1 "b": 2}', 'line 1, column 9: expected "," or "}"'],
    ['[1, 2', 'but the file ends here'],
    ['{} {}', 'line 1, column 4: expected nothing more'],
    ['{"a": 01}', 'line 1, column 7'],
    ['{"users": 1,\n "users": 2}', 'line 2, column 2: the key "users" stands twice'],
    ['['.repeat(100), 'nested deeper than 64'],
  ];
  for (const [text, message] of cases) {
    const file = await write(t, text);
    const error = await loadConfig(file, {}).catch((reason: Error) => reason);
    t.ok(error instanceof Error && error.message.includes(message), message);
    t.notOk(String(error).includes(SECRET));
  }
  await t.rejects(loadConfig('/nowhere/config.json', {}), {
    code: 'config',
    message: /ENOENT; name another with --config/,
  });
  await t.resolves(load(t, `\uFEFF${JSON.stringify({ users: [user()] })}`), 'a byte order mark is no mistake');
});

t.test('loadConfig freezes what it returns, and hides secrets in it', async (t) => {
  const config = await load(t, { users: [user()] });
  t.throws(() => Object.assign(config.users[0]?.accounts[0]?.endpoint ?? {}, { port: 1 }), TypeError);
  t.throws(() => (config.users as unknown[]).push({}), TypeError);
  t.notOk(JSON.stringify(config).includes(SECRET));
});

t.test('loadConfig warns of passwords that others can read, and of an open admin address', async (t) => {
  const file = await write(t, { users: [user()] });
  const warnings: string[] = [];
  await loadConfig(file, {}, (text) => warnings.push(text));
  t.strictSame(warnings, []);
  await chmod(file, 0o644);
  await loadConfig(file, {}, (text) => warnings.push(text));
  t.match(warnings, [/config\.json holds passwords .* chmod 600/]);
  await loadConfig(await write(t, { admin: { host: '0.0.0.0' }, users: [user()] }), {}, (text) => warnings.push(text));
  t.match(warnings[1], /admin\.host 0\.0\.0\.0 shows status and metrics/);
});

t.test('config.example.json shows every key and loads', async (t) => {
  const text = await readFile('config.example.json', 'utf8');
  const raw = JSON.parse(text) as unknown;
  t.strictSame(missingKeys(configSchema, [raw]), []);
  const pems = await generate([], { keySize: 2048 });
  const dir = t.testdir({ secrets: { 'work-smtp': 'x', home: 'y', isp: 'z' } });
  await mkdir(path.join(dir, 'certs'));
  await writeFile(path.join(dir, 'certs/server.crt'), pems.cert);
  await writeFile(path.join(dir, 'certs/server.key'), pems.private);
  await writeFile(path.join(dir, 'certs/corp-ca.pem'), pems.cert);
  const file = path.join(dir, 'config.json');
  await writeFile(file, text.replaceAll('/run/secrets', path.join(dir, 'secrets')));
  const config = await loadConfig(file, { WORK_PASSWORD: 'p', MERGEBOX_ADMIN_TOKEN: 'q', PROXY_PASSWORD: 'r' });
  t.equal(config.users[0]?.accounts.length, 4);
});

/** Paths of keys that none of `values` has; `values` are all that stand at this place of the file. */
function missingKeys(schema: z.ZodType, values: readonly unknown[], at = ''): readonly string[] {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault || schema instanceof z.ZodOptional) {
    return missingKeys(schema.unwrap() as z.ZodType, values, at);
  }
  if (schema instanceof z.ZodArray) return missingKeys(schema.element as z.ZodType, values.flat(), `${at}[]`);
  if (schema instanceof z.ZodObject) {
    const objects = values.filter(
      (value): value is Record<string, unknown> => typeof value === 'object' && value !== null,
    );
    return Object.entries(schema.shape).flatMap(([key, inner]) => {
      const inside = objects.filter((object) => key in object).map((object) => object[key]);
      return inside.length === 0 ? [`${at}.${key}`] : missingKeys(inner as z.ZodType, inside, `${at}.${key}`);
    });
  }
  return [];
}

t.test('loadConfig: what POP3 and local accounts need, and what has no meaning for them', async (t) => {
  const auth = { username: 'alice', password: SECRET };
  const pop3 = { id: 'isp', protocol: 'pop3', host: 'pop.isp.example', auth };
  const config = await load(t, { users: [user({ accounts: [pop3, { id: 'here', protocol: 'local' }] })] });
  const [isp, here] = config.users[0]!.accounts;
  t.match(isp, { endpoint: { port: 995, tls: 'implicit' }, pollSeconds: 300, leaveOnServer: 'until-deleted' });
  t.match(here, { protocol: 'local', pollSeconds: 60 });
  const wrong = [
    { id: 'a', protocol: 'pop3' },
    { ...pop3, id: 'b', authority: 'upstream', leaveOnServer: 30 },
    { ...pop3, id: 'c', leaveOnServer: 'never' },
    { id: 'd', protocol: 'local', authority: 'upstream' },
    { ...account(), id: 'e', auth: { ...auth, mechanism: 'xoauth2' } },
  ];
  const found = await problems(t, { users: [user({ accounts: wrong })] });
  for (const expected of [
    'users[0].accounts[0].host: missing; expected a string',
    'users[0].accounts[0].auth: missing; expected an object',
    'users[0].accounts[1].leaveOnServer: with authority "upstream" nothing is deleted at the server',
    'users[0].accounts[2].leaveOnServer: expected "until-deleted", "forever", or a number of days',
    'users[0].accounts[3].authority: a local account has no server: leave it out',
    'users[0].accounts[4].auth.mechanism: "xoauth2" is for POP3 accounts',
  ]) {
    t.ok(found.includes(expected), `${expected}\n${found}`);
  }
});
