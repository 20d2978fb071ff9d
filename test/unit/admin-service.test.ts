import { X509Certificate } from 'node:crypto';
import { chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { type RequestOptions, request } from 'node:http';
import { createServer } from 'node:net';
import path from 'node:path';
import { connect as tlsConnect, createServer as tlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { bearsToken, isOwnHost } from '../../src/admin/access.js';
import { type Admin, type AdminOptions, adminSocketPath, createAdmin } from '../../src/admin/admin.js';
import { adminRequest } from '../../src/admin/client.js';
import { type AccountRequest, MAX_BODY, type SyncRequest } from '../../src/admin/request.js';
import { type AccountStatus, isHealthy, type StatusReport, statusText } from '../../src/admin/status.js';
import { ensureCertificate } from '../../src/util/certificate.js';
import { MergeboxError } from '../../src/util/errors.js';
import { silentLog } from '../../src/util/log.js';
import { Metrics } from '../../src/util/metrics.js';
import { Secret } from '../../src/util/secret.js';

const account: AccountStatus = {
  user: 'alice',
  account: 'work',
  state: 'idle',
  lastSync: '2024-01-01T00:00:00.000Z',
  pending: 0,
  parked: 0,
  refused: [],
  lastError: null,
  folders: 3,
  messages: 1_234,
};
const report: StatusReport = {
  healthy: true,
  version: '0.1.0',
  startedAt: '2024-01-01T00:00:00.000Z',
  accounts: [account],
  queue: { waiting: 0, held: 0 },
};

interface Running {
  readonly admin: Admin;
  readonly port: number;
  readonly socket: string;
  readonly asked: SyncRequest[];
  /** What release and retry were asked for. */
  readonly accounts: unknown[];
  get(url: string, options?: RequestOptions, body?: string): Promise<{ status: number; type: string; body: string }>;
}

async function run(test: Test, changes: Partial<AdminOptions> = {}): Promise<Running> {
  const dataDir = changes.dataDir ?? test.testdir({});
  const asked: SyncRequest[] = [];
  const accounts: unknown[] = [];
  const forAccount = (what: 'release' | 'retry' | 'drop') => async (request: AccountRequest) => {
    accounts.push({ what, ...request });
    return { ok: true, accounts: [] };
  };
  const admin = createAdmin({
    host: '127.0.0.1',
    port: 0,
    token: new Secret('let-me-in'),
    dataDir,
    status: async () => report,
    sync: async (what) => {
      asked.push(what);
      if (what.user === 'nobody') throw new MergeboxError('nonexistent', 'no user nobody');
      return { ok: true, accounts: [{ user: 'alice', account: 'work', result: 'idle' }] };
    },
    release: forAccount('release'),
    retry: forAccount('retry'),
    drop: forAccount('drop'),
    queue: async ({ command }) => JSON.stringify({ command }),
    rebuild: async ({ user }) => ({ ok: true, accounts: [{ user, account: '*', result: 'rebuilt' }] }),
    ready: () => true,
    metrics: new Metrics(),
    log: silentLog(),
    ...changes,
  });
  const { port } = await admin.start();
  test.teardown(() => admin.close());
  const get: Running['get'] = (url, options = {}, body = '') =>
    new Promise((resolve, reject) => {
      const outgoing = request({ host: '127.0.0.1', port, path: url, agent: false, ...options }, (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('end', () =>
          resolve({
            status: incoming.statusCode ?? 0,
            type: incoming.headers['content-type'] ?? '',
            body: Buffer.concat(chunks).toString(),
          }),
        );
      });
      outgoing.on('error', reject);
      outgoing.end(body);
    });
  return { admin, port, socket: adminSocketPath(dataDir), asked, accounts, get };
}

const bearer = (token: string): RequestOptions => ({ method: 'POST', headers: { authorization: `Bearer ${token}` } });

t.test('healthz, readyz, metrics and status answer over TCP', async (t) => {
  let ready = false;
  const metrics = new Metrics();
  metrics.counter('mergebox_things', 'Things', ['kind']).add(2, { kind: 'x"y' });
  metrics.gauge('mergebox_level', 'Level').set(1.5);
  metrics.observed('mergebox_now', 'Now', () => 7);
  metrics.histogram('mergebox_seconds', 'Seconds', [1, 2]).observe(1.5);
  const { get } = await run(t, { ready: () => ready, metrics });
  t.match(await get('/healthz'), { status: 200, body: 'ok\n' });
  t.match(await get('/readyz'), { status: 503 });
  ready = true;
  t.match(await get('/readyz?x=1'), { status: 200 });
  const text = await get('/metrics');
  t.match(text.type, /^application\/openmetrics-text; version=1\.0\.0/);
  t.match(text.body, /# TYPE mergebox_things counter\nmergebox_things_total\{kind="x\\"y"\} 2\n/);
  t.match(text.body, /mergebox_level 1\.5\n/);
  t.match(text.body, /mergebox_now 7\n/);
  t.match(text.body, /mergebox_seconds_bucket\{le="2"[^}]*\} 1\n/);
  t.match(text.body, /# EOF\n$/);
  const status = await get('/api/status');
  t.match(status, { status: 200, type: /application\/json/ });
  t.strictSame(JSON.parse(status.body), report);
  t.match(await get('/healthz', { method: 'HEAD' }), { status: 200, body: '' });
});

t.test('two instances keep their numbers apart', async (t) => {
  const [one, two] = [new Metrics(), new Metrics()];
  one.counter('mergebox_x', 'X').add(1);
  two.counter('mergebox_x', 'X').add(5);
  t.match(await one.text(), /mergebox_x_total 1\n/);
  t.match(await two.text(), /mergebox_x_total 5\n/);
});

t.test('what changes something needs the token over TCP', async (t) => {
  const { get, asked } = await run(t);
  t.match(await get('/api/sync', { method: 'POST' }), { status: 401, body: /token is missing or wrong/ });
  t.match(await get('/api/sync', bearer('let-me-out')), { status: 401 });
  t.match(await get('/api/sync', bearer('let-me-in ')), { status: 200 });
  t.equal(asked.length, 1);
  const closed = await run(t, { token: null });
  t.match(await closed.get('/api/sync', bearer('')), { status: 401, body: /set admin\.token/ });
  t.match(await closed.get('/api/sync', bearer('null')), { status: 401 });
  t.equal(closed.asked.length, 0);
});

t.test('sync takes user, account, wait and timeoutMs, and nothing else', async (t) => {
  const { get, asked } = await run(t);
  const post = (body: unknown) =>
    get('/api/sync', bearer('let-me-in'), typeof body === 'string' ? body : JSON.stringify(body));
  t.match(await post({ user: 'alice', account: 'work', wait: true, timeoutMs: 5_000 }), {
    status: 200,
    body: /"ok": true/,
  });
  t.match(await post(''), { status: 200 });
  t.strictSame(asked, [
    { user: 'alice', account: 'work', wait: true, timeoutMs: 5_000 },
    { wait: false, timeoutMs: 60_000 },
  ]);
  t.match(await post({ user: 'nobody' }), { status: 404, body: /no user nobody/ });
  t.match(await post({ usr: 'alice' }), { status: 400, body: /unknown key .*usr.*allowed: user, account/ });
  t.match(await post({ user: 1 }), { status: 400, body: /user: expected a string/ });
  t.match(await post({ wait: 'yes' }), { status: 400 });
  t.match(await post({ timeoutMs: -1 }), { status: 400 });
  t.match(await post('{'), { status: 400, body: /not JSON/ });
  t.match(await post('[]'), { status: 400 });
  t.match(await post(`${' '.repeat(MAX_BODY - 2)}{}`), { status: 200 });
  t.match(await post(`${' '.repeat(MAX_BODY - 1)}{}`), { status: 413 });
});

t.test('release, retry and drop take an account, a user and an action if need be, and a token', async (t) => {
  const { get, accounts } = await run(t);
  const post = (url: string, body: unknown) => get(url, bearer('let-me-in'), JSON.stringify(body));
  t.match(await get('/api/release', { method: 'POST' }), { status: 401 });
  t.match(await post('/api/release', { account: 'work' }), { status: 200 });
  t.match(await post('/api/retry', { account: 'work', user: 'alice' }), { status: 200 });
  t.match(await post('/api/retry', {}), { status: 400, body: /account: expected a string/ });
  t.match(await post('/api/retry', { account: 'work', all: true }), { status: 400, body: /unknown key/ });
  t.match(await post('/api/retry', { account: 'work', action: 7 }), { status: 200 });
  t.match(await post('/api/retry', { account: 'work', action: '7' }), { status: 400, body: /action: expected/ });
  t.match(await post('/api/drop', { account: 'work' }), { status: 400, body: /action: expected/ });
  t.match(await get('/api/drop', { method: 'POST' }), { status: 401 });
  t.match(await post('/api/drop', { account: 'work', action: 8 }), { status: 200 });
  t.same(accounts, [
    { what: 'release', account: 'work' },
    { what: 'retry', account: 'work', user: 'alice', action: null },
    { what: 'retry', account: 'work', action: 7 },
    { what: 'drop', account: 'work', action: 8 },
  ]);
});

t.test('only known paths and methods, and only for our own names', async (t) => {
  const { get } = await run(t);
  t.match(await get('/nothing'), { status: 404, body: /\/api\/status/ });
  t.match(await get('/../etc/passwd'), { status: 404 });
  t.match(await get('/api/status', { method: 'DELETE' }), { status: 405 });
  t.match(await get('/api/sync'), { status: 405 });
  t.match(await get('/api/status', { headers: { host: 'evil.example' } }), { status: 421 });
  t.match(await get('/api/status', { headers: { host: 'localhost:1' } }), { status: 200 });
});

t.test('a failure inside is logged and not shown', async (t) => {
  const { get } = await run(t, { status: () => Promise.reject(new Error('SELECT * FROM secrets')) });
  const answer = await get('/api/status');
  t.equal(answer.status, 500);
  t.notMatch(answer.body, /secrets/);
  const down = await run(t, { status: () => Promise.reject(new MergeboxError('unavailable', 'the store is closing')) });
  t.match(await down.get('/api/status'), { status: 503, body: /the store is closing/ });
});

t.test('a client that leaves calls its sync off', async (t) => {
  let left: (value: unknown) => void = () => undefined;
  const aborted = new Promise((resolve) => {
    left = resolve;
  });
  let begun: (value: unknown) => void = () => undefined;
  const started = new Promise((resolve) => {
    begun = resolve;
  });
  const { port } = await run(t, {
    sync: (_what, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => {
          reject(new MergeboxError('aborted', 'called off'));
          left(true);
        });
        begun(true);
      }),
  });
  const outgoing = request({ host: '127.0.0.1', port, path: '/api/sync', agent: false, ...bearer('let-me-in') });
  outgoing.on('error', () => undefined);
  outgoing.end();
  await started;
  outgoing.destroy();
  t.equal(await aborted, true);
});

t.test('the socket in dataDir asks for no token and is its owner’s alone', async (t) => {
  const { socket, asked } = await run(t);
  t.equal((await stat(socket)).mode & 0o777, 0o600);
  t.strictSame(await adminRequest(socket, 'GET', '/api/status'), { status: 200, body: report });
  t.match(await adminRequest(socket, 'POST', '/api/sync', { wait: true }), { status: 200, body: { ok: true } });
  t.match(await adminRequest(socket, 'POST', '/api/sync', { wat: true }), {
    status: 400,
    body: { error: /unknown key/ },
  });
  t.equal(asked.length, 1);
});

t.test('a second daemon on the same dataDir is refused, a dead one’s socket is taken over', async (t) => {
  const { socket, admin } = await run(t);
  const dataDir = path.dirname(socket);
  const again = { host: '127.0.0.1', port: 0, token: null, dataDir, status: async () => report, ready: () => true };
  const second = createAdmin({
    ...again,
    sync: async () => ({ ok: true, accounts: [] }),
    release: async () => ({ ok: true, accounts: [] }),
    retry: async () => ({ ok: true, accounts: [] }),
    drop: async () => ({ ok: true, accounts: [] }),
    rebuild: async () => ({ ok: true, accounts: [] }),
    queue: async () => '',
    metrics: new Metrics(),
    log: silentLog(),
  });
  await t.rejects(second.start(), { code: 'config', message: /another mergebox uses this dataDir/ });
  await admin.close();
  await t.rejects(adminRequest(socket, 'GET', '/healthz'), {
    code: 'unavailable',
    message: /start it with mergebox serve/,
  });
  await writeFile(socket, '');
  await second.start();
  t.match(await adminRequest(socket, 'GET', '/api/status'), { status: 200 });
  await second.close();
});

t.test('a taken TCP port leaves nothing behind', async (t) => {
  const blocker = createServer();
  await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
  t.teardown(() => blocker.close());
  const { port } = blocker.address() as { port: number };
  await t.rejects(run(t, { port }), { code: 'EADDRINUSE' });
});

t.test('the socket works in a directory whose path is too long for one', async (t) => {
  const dataDir = path.join(t.testdir({}), 'd'.repeat(60), 'e'.repeat(60));
  await mkdir(dataDir, { recursive: true });
  const { socket } = await run(t, { dataDir });
  t.ok(Buffer.byteLength(socket) > 108);
  t.match(await adminRequest(socket, 'GET', '/api/status'), { status: 200 });
});

t.test('adminRequest ends a wait that is too long', async (t) => {
  const { socket } = await run(t, { status: () => new Promise(() => undefined) });
  await t.rejects(adminRequest(socket, 'GET', '/api/status', undefined, 50), { code: 'timeout' });
});

t.test('isOwnHost knows addresses and configured names only', async (t) => {
  for (const host of ['127.0.0.1', '127.0.0.1:8080', '[::1]', '[::1]:1', 'localhost', 'LOCALHOST:8080', 'box.lan:80']) {
    t.equal(isOwnHost(host, 'box.lan'), true, host);
  }
  for (const host of [
    undefined,
    '',
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'a:b:c',
    '::1',
  ]) {
    t.equal(isOwnHost(host, 'box.lan'), false, String(host));
  }
});

t.test('bearsToken takes exactly the token', async (t) => {
  const token = new Secret('abc');
  t.equal(bearsToken('Bearer abc', token), true);
  t.equal(bearsToken('bearer  abc', token), true);
  for (const field of [undefined, '', 'abc', 'Bearer', 'Bearer ab', 'Bearer abcd', 'Basic abc', 'Bearer abc x']) {
    t.equal(bearsToken(field, token), false, String(field));
  }
  t.equal(bearsToken('Bearer abc', null), false);
});

t.test('statusText shows a line per account and what is wrong', async (t) => {
  const failing: AccountStatus = {
    ...account,
    account: 'isp',
    state: 'failed: authentication',
    lastSync: null,
    pending: 3,
    lastError: 'the server said no',
  };
  const text = statusText({ ...report, healthy: false, accounts: [account, failing], queue: { waiting: 2, held: 1 } });
  t.equal(
    text,
    `${[
      'USER   ACCOUNT  STATE                   LAST SYNC                 PENDING  PARKED  FOLDERS  MESSAGES',
      'alice  work     idle                    2024-01-01T00:00:00.000Z  0        0       3        1234',
      'alice  isp      failed: authentication  never                     3        0       3        1234',
      '  last error: the server said no',
      'queue: 2 waiting, 1 held; NOT HEALTHY',
    ].join('\n')}\n`,
  );
});

t.test('statusText shows what was refused, why, and the commands that settle it', async (t) => {
  const common = { uidValidity: 5, flags: null, since: '2024-01-02T00:00:00.000Z', attempts: 1, onlyCopy: false };
  const commands = (id: number) => ({ retry: `mergebox retry work ${id}`, drop: `mergebox drop work ${id}` });
  const text = statusText({
    ...report,
    healthy: false,
    accounts: [
      {
        ...account,
        parked: 4,
        refused: [
          {
            ...common,
            id: 7,
            kind: 'flags',
            folder: 'INBOX',
            uid: 12,
            target: null,
            flags: '+$Work',
            reason: 'client: STORE',
            error: 'NO [LIMIT] keywords',
            ...commands(7),
          },
          {
            ...common,
            id: 9,
            kind: 'append',
            folder: null,
            uidValidity: null,
            uid: null,
            target: 'Sent',
            reason: 'client: APPEND',
            error: 'NO [OVERQUOTA] full',
            onlyCopy: true,
            ...commands(9),
          },
        ],
      },
    ],
  });
  t.same(text.split('\n').slice(2, -2), [
    '  refused 7: flags +$Work of UID 12 in "INBOX", asked for 2024-01-02T00:00:00.000Z (client: STORE)',
    '    NO [LIMIT] keywords',
    '    mergebox retry work 7   or   mergebox drop work 7',
    '  refused 9: append to "Sent", asked for 2024-01-02T00:00:00.000Z (client: APPEND)',
    '    NO [OVERQUOTA] full',
    '    the mail is only here; dropping it writes it to a file',
    '    mergebox retry work 9   or   mergebox drop work 9',
    '  and 2 more',
  ]);
});

t.test('isHealthy wants no attention for what mends itself soon', async (t) => {
  t.strictSame(
    (['starting', 'syncing', 'idle', 'offline', 'held', 'failed: authentication'] as const).map((state) =>
      isHealthy({ state, parked: 0 }),
    ),
    [true, true, true, false, false, false],
  );
  t.equal(isHealthy({ state: 'idle', parked: 1 }), false);
});

t.test('ensureCertificate makes a certificate once that clients on this machine accept', async (t) => {
  const dir = path.join(t.testdir({}), 'new');
  const first = await ensureCertificate(dir);
  t.strictSame(await ensureCertificate(dir), first, 'the same one again');
  const files = await readdir(dir);
  t.equal(files.length, 1);
  t.equal((await stat(path.join(dir, files[0] ?? ''))).mode & 0o777, 0o600);
  const parsed = new X509Certificate(first.cert);
  t.equal(parsed.fingerprint256, first.fingerprint256);
  for (const name of ['localhost']) t.equal(parsed.checkHost(name), name);
  for (const address of ['127.0.0.1', '::1']) t.ok(parsed.checkIP(address), address);
  t.ok(new Date(parsed.validTo).getTime() > Date.now() + 9 * 365 * 86_400_000);
  const server = tlsServer({ cert: first.cert, key: first.key }, (socket) => socket.end('hi'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const { port } = server.address() as { port: number };
  const authorized = await new Promise<boolean>((resolve, reject) => {
    const socket = tlsConnect({ host: '127.0.0.1', port, ca: first.cert, servername: 'localhost' }, () => {
      resolve(socket.authorized);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  t.equal(authorized, true);
});

t.test('ensureCertificate refuses a damaged file instead of replacing it', async (t) => {
  const dir = t.testdir({});
  await ensureCertificate(dir);
  const [name = ''] = await readdir(dir);
  const file = path.join(dir, name);
  const text = await readFile(file, 'utf8');
  await writeFile(file, text.slice(0, -200));
  await t.rejects(ensureCertificate(dir), { code: 'config', message: /damaged; remove it/ });
  await writeFile(file, text);
  const other = await ensureCertificate(path.join(dir, 'other'));
  await writeFile(file, text.replace(/-----BEGIN CERTIFICATE.*$/s, other.cert));
  await t.rejects(ensureCertificate(dir), { code: 'config' });
  await chmod(file, 0o600);
});
