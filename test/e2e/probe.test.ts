import { readFile, stat, writeFile } from 'node:fs/promises';
import { createServer as httpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer as tlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import { defaultReach } from '../../src/account-probe.js';
import { parseAddress } from '../../src/probe/address.js';
import { accountEntry } from '../../src/probe/entry.js';
import { httpGet } from '../../src/probe/http.js';
import { type ProbeOptions, type ProbeReport, probe } from '../../src/probe/probe.js';
import { reportText } from '../../src/probe/report.js';
import type { Finding, Reach, Resolver, SrvRecord } from '../../src/probe/types.js';
import { Secret } from '../../src/util/secret.js';
import { startDns } from '../harness/dns-server.js';
import { type Dovecot, startDovecot } from '../harness/dovecot.js';
import { startMergebox } from '../harness/mergebox.js';
import { SmtpUpstream } from '../harness/smtp-upstream.js';

const direct = (): null => null;
const PASSWORD = new Secret('secret');

async function dovecot(test: Test, tls: 'implicit' | 'starttls' | 'none'): Promise<Dovecot> {
  const server = await startDovecot({ tls, pop3: true });
  test.teardown(() => server.stop());
  return server;
}

async function pems(server: Dovecot): Promise<{ ca: string; cert: string; key: string }> {
  const read = (name: string): Promise<string> => readFile(join(server.dir, name), 'utf8');
  return { ca: await read('ca.pem'), cert: await read('server.pem'), key: await read('server.key') };
}

async function submission(test: Test, options: ConstructorParameters<typeof SmtpUpstream>[0]): Promise<SmtpUpstream> {
  const server = new SmtpUpstream(options);
  await server.listen();
  test.teardown(() => server.stop());
  return server;
}

function resolving(records: Readonly<Record<string, number>>, target = 'localhost'): Resolver {
  const record = (port: number): SrvRecord => ({ name: target, port, priority: 0, weight: 0 });
  return {
    srv: async (name) => {
      const port = records[name.split('._tcp.')[0] ?? ''];
      return port === undefined ? [{ name: '.', port: 0, priority: 0, weight: 0 }] : [record(port)];
    },
    mx: async () => [],
  };
}

function run(
  address: string,
  reach: Partial<Reach>,
  ca: string | null,
  options: Partial<ProbeOptions> = {},
): Promise<ProbeReport> {
  const none = async (): Promise<never> => Promise.reject(new Error('no web server'));
  return probe({
    address: parseAddress(address),
    password: PASSWORD,
    confirmed: [],
    reach: { ...defaultReach(direct, ca), get: none, ...reach },
    proxyFor: direct,
    ca,
    ...options,
  });
}

const found = (report: ProbeReport, service: Finding['service']): Finding | undefined =>
  report.findings.find(({ spoken }) => spoken?.service === service);

t.test('account probe finds servers by SRV, logs in, and adds the account to the file', async (t) => {
  const server = await dovecot(t, 'implicit');
  const { ca, cert, key } = await pems(server);
  const smtp = await submission(t, {
    tls: 'starttls',
    certificate: { cert, key },
    login: { user: 'alice', password: 'secret' },
  });
  const dns = await startDns({
    '_imaps._tcp.localhost': [{ target: 'localhost', port: server.port }],
    '_pop3s._tcp.localhost': [{ target: 'localhost', port: server.pop3Port }],
    '_submissions._tcp.localhost': [{ target: '.', port: 0 }],
    '_submission._tcp.localhost': [{ target: 'localhost', port: smtp.port }],
  });
  t.teardown(() => dns.stop());
  const box = await startMergebox({ users: [{ name: 'alice', password: 'x', accounts: [] }] });
  t.teardown(() => box.stop());
  const before = await readFile(box.configFile, 'utf8');
  const options = ['alice@localhost', '--dns', dns.address, '--ca', server.ca];
  const dry = await box.command(['account', 'probe', ...options]);
  t.equal(dry.code, 0, dry.stderr);
  t.match(
    dry.stdout,
    new RegExp(`imap localhost:${server.port} \\(TLS, by SRV record\\): TLS verified; offers .*IDLE`),
  );
  t.match(dry.stdout, '"env": "LOCALHOST_PASSWORD"');
  t.equal(await readFile(box.configFile, 'utf8'), before, 'nothing is written unless asked for');
  const { code, stdout, stderr } = await box.command(['account', 'probe', ...options, '--password-stdin', '--write'], {
    stdin: 'secret\n',
  });
  t.equal(code, 0, stderr);
  t.match(stdout, 'logged in as alice\n');
  const [imapAt, popAt, smtpAt] = ['  imap ', '  pop3 ', '  smtp '].map((each) => stdout.indexOf(each));
  t.ok(0 < imapAt! && imapAt! < popAt! && popAt! < smtpAt!, stdout);
  const config = JSON.parse(await readFile(box.configFile, 'utf8')) as {
    users: [{ accounts: Record<string, unknown>[] }];
  };
  t.match(config.users[0].accounts, [
    {
      id: 'localhost',
      protocol: 'imap',
      host: 'localhost',
      port: server.port,
      tls: 'implicit',
      ca: server.ca,
      auth: { username: 'alice', password: { file: 'passwords/alice-localhost' } },
      addresses: ['alice@localhost'],
      smtp: { host: 'localhost', port: smtp.port, tls: 'starttls' },
    },
  ]);
  const secret = join(box.dir, 'passwords/alice-localhost');
  t.equal(await readFile(secret, 'utf8'), 'secret');
  t.equal((await stat(secret)).mode & 0o777, 0o600);
  t.equal((await stat(box.configFile)).mode & 0o777, 0o600);
  t.notMatch(stdout + stderr, /secret\b/);
  t.equal((await box.command(['check'])).code, 0, 'the entry works');
  const again = await box.command(['account', 'probe', ...options, '--password-stdin', '--write'], { stdin: 'wrong' });
  t.equal(again.code, 1);
  t.match(again.stdout, /the login was refused: /);
  t.equal(
    JSON.parse(await readFile(box.configFile, 'utf8')).users[0].accounts.length,
    1,
    'a wrong password adds nothing',
  );
  t.ok(ca.includes('CERTIFICATE'));
});

t.test(
  'probe reads the autoconfig document over verified HTTPS and takes POP3 where there is nothing else',
  async (t) => {
    const server = await dovecot(t, 'starttls');
    const { ca, cert, key } = await pems(server);
    const document = `<clientConfig><emailProvider><incomingServer type="pop3"><hostname>localhost</hostname>
    <port>${server.pop3Port}</port><socketType>STARTTLS</socketType><username>%EMAILLOCALPART%</username>
    </incomingServer></emailProvider></clientConfig>`;
    const asked: string[] = [];
    const web = httpsServer({ cert, key }, (request, response) => {
      asked.push(request.url ?? '');
      if (request.url?.startsWith('/.well-known/')) response.end(document);
      else response.writeHead(404).end();
    });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    t.teardown(() => new Promise((resolve) => web.close(resolve)));
    const real = httpGet({ proxyFor: direct, ca });
    const port = (web.address() as AddressInfo).port;
    const get: Reach['get'] = (url, signal) => {
      if (url.protocol === 'http:' || url.hostname !== 'localhost') return Promise.reject(new Error('no such host'));
      return real(new URL(`https://localhost:${port}${url.pathname}${url.search}`), signal);
    };
    const report = await run('alice@localhost', { resolver: resolving({}), get }, ca);
    t.same(asked, ['/.well-known/autoconfig/mail/config-v1.1.xml?emailaddress=alice%40localhost']);
    t.match(found(report, 'pop3'), {
      source: 'autoconfig',
      trust: 'trusted',
      login: { result: 'accepted', username: 'alice' },
    });
    t.match(accountEntry(report, 'x', { env: 'X' }, null), {
      protocol: 'pop3',
      tls: 'starttls',
      auth: { username: 'alice' },
    });
    const untrusting = await run(
      'alice@localhost',
      { resolver: resolving({}), get: httpGet({ proxyFor: direct, ca: null }) },
      ca,
    );
    t.equal(found(untrusting, 'pop3'), undefined, 'no document from a web server without a valid certificate');
  },
);

t.test('probe sends no password to a host outside the domain until a person confirms it', async (t) => {
  const server = await dovecot(t, 'implicit');
  const { ca, cert, key } = await pems(server);
  const heard: string[] = [];
  const thief = tlsServer({ cert, key }, (socket) => {
    socket.on('error', () => undefined);
    socket.write('* OK ready\r\n');
    socket.on('data', (chunk) => {
      heard.push(chunk.toString());
      const [tag, verb] = chunk.toString().split(' ');
      if (verb?.startsWith('CAPABILITY')) socket.write(`* CAPABILITY IMAP4REV1 AUTH=PLAIN\r\n${tag} OK\r\n`);
      else if (verb?.startsWith('AUTHENTICATE')) socket.write('+ \r\n');
      else socket.write('M2 OK welcome\r\n');
    });
  });
  await new Promise<void>((resolve) => thief.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise((resolve) => thief.close(resolve)));
  const resolver = resolving({ _imaps: (thief.address() as AddressInfo).port });
  const report = await run('alice@victim.example', { resolver }, ca);
  t.match(found(report, 'imap'), { trust: 'needs confirmation', login: { result: 'not tried' } });
  t.same(heard, ['M1 CAPABILITY\r\n'], 'it was asked what it is, and told nothing');
  t.equal(accountEntry(report, 'x', { env: 'X' }, null), null);
  t.match(reportText(report), /outside the domain of the address[\s\S]*--confirm localhost/);
  const confirmed = await run('alice@victim.example', { resolver }, ca, { confirmed: ['localhost'] });
  t.match(found(confirmed, 'imap')?.login, { result: 'accepted', username: 'alice@victim.example' });
  t.ok(heard.some((line) => line.includes(Buffer.from('\0alice@victim.example\0secret').toString('base64'))));
});

t.test('probe uses no server without TLS or with a certificate that is not valid', async (t) => {
  const plain = await dovecot(t, 'none');
  const secure = await dovecot(t, 'implicit');
  const { ca } = await pems(secure);
  const smtp = await submission(t, { tls: 'none' });
  const bare = await run(
    'alice@localhost',
    { resolver: resolving({ _imap: plain.port, _pop3: plain.pop3Port, _submission: smtp.port }) },
    ca,
  );
  t.equal(bare.findings.filter(({ spoken }) => spoken !== null).length, 0);
  for (const service of ['imap', 'pop3', 'smtp'])
    t.match(
      bare.findings.find((finding) => finding.service === service && finding.source === 'SRV record')?.failure,
      /it offers no TLS here, so it is not used/,
    );
  t.notMatch(await plain.log(), /Login: user|auth failed/, 'no password came');
  t.same(smtp.commandsOf('AUTH'), []);
  const wrongKind = await run('alice@localhost', { resolver: resolving({ _imaps: plain.port }) }, ca);
  t.match(wrongKind.findings[0], { spoken: null, failure: /SSL|TLS|closed|EPROTO/i });
  const stranger = await run('alice@localhost', { resolver: resolving({ _imaps: secure.port }) }, null);
  t.match(stranger.findings[0], { spoken: null, failure: /certificate/ });
  t.notMatch(await secure.log(), /Login: user|auth failed/);
});

t.test('probe goes by what answers, not by what was said to be there', async (t) => {
  const server = await dovecot(t, 'implicit');
  const { ca } = await pems(server);
  const report = await run(
    'alice@localhost',
    { resolver: resolving({ _imaps: server.pop3Port, _pop3s: server.port }) },
    ca,
  );
  t.match(found(report, 'imap'), { service: 'pop3', port: server.port, login: { result: 'accepted' } });
  t.match(found(report, 'pop3'), { service: 'imap', port: server.pop3Port, login: { result: 'not tried' } });
  t.match(reportText(report), 'said to be imap, but pop3 answers there');
});

const HELLO =
  'From: a@x.example\r\nDate: Mon, 02 Sep 2024 10:00:00 +0000\r\nSubject: hello\r\nMessage-ID: <h@x.example>\r\n\r\nbody\r\n';

t.test('protocol "auto" finds the server once, remembers it, and looks again while it cannot be found', async (t) => {
  const server = await dovecot(t, 'starttls');
  const auth = { username: 'alice@localhost', password: 'secret' };
  const place = { host: 'localhost', tls: undefined, auth, addresses: ['alice@localhost'], protocol: 'auto' };
  const box = await startMergebox({
    users: [
      {
        name: 'alice',
        password: 'x',
        accounts: [
          { id: 'mail', server, ...place },
          {
            id: 'pop',
            server,
            ...place,
            port: server.pop3Port,
            addresses: ['pop@localhost'],
            auth: { username: 'alice', password: 'secret' },
          },
        ],
      },
    ],
  });
  t.teardown(() => box.stop());
  await server.deliver('alice', 'INBOX', HELLO);
  await box.sync();
  const file = join(box.dir, 'data/found-servers.json');
  const first = await readFile(file, 'utf8');
  t.match(JSON.parse(first), {
    'alice/mail': { protocol: 'imap', username: 'alice', incoming: { port: server.port, tls: 'starttls' }, smtp: null },
    'alice/pop': { protocol: 'pop3', incoming: { port: server.pop3Port, tls: 'starttls' } },
  });
  t.notMatch(first, 'secret');
  t.equal((await box.list()).length, 1, 'the same mail by IMAP and by POP3');
  await box.restart();
  await box.sync();
  t.equal(box.log().match(/servers found/g)?.length, 2, 'both are remembered');
  // Nothing is remembered and the server is away: the account comes with its server.
  const config = await box.readConfig();
  (config['users'] as { accounts: unknown[] }[])[0]!.accounts.splice(1);
  await box.writeConfig(config);
  await writeFile(file, 'no JSON');
  await server.pause();
  await box.restart();
  t.match((await box.command(['status'])).stdout, /no server was found for alice@localhost/);
  await server.start();
  await box.sync();
  t.equal(box.log().match(/servers found/g)?.length, 3);
  t.equal(JSON.parse(await readFile(file, 'utf8'))['alice/mail'].protocol, 'imap');
});
