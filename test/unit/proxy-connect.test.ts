import { createServer, type Server, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Endpoint, ProxySettings } from '../../src/config/config.js';
import { proxyFor } from '../../src/config/proxy.js';
import { connectTcp } from '../../src/upstream/connector.js';
import { isMergeboxError } from '../../src/util/errors.js';
import { Secret } from '../../src/util/secret.js';

const LOGIN = { username: 'us:er', password: new Secret('pä:ss') };

/** A proxy that follows a script: what it expects as hex or text, and what it answers. */
async function scripted(test: Test, serve: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  test.teardown(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as { port: number }).port;
}

/** Answers the n-th thing the client says with the n-th step. */
function steps(answers: readonly (string | Buffer)[], heard: Buffer[] = []): (socket: Socket) => void {
  return (socket) => {
    let at = 0;
    socket.on('data', (chunk) => {
      heard.push(chunk);
      const answer = answers[at++];
      if (answer !== undefined) socket.write(answer);
    });
  };
}

function endpoint(
  type: ProxySettings['type'],
  port: number,
  auth: ProxySettings['auth'] = null,
  host = 'mail.example',
): Endpoint {
  return { host, port: 993, tls: 'none', ca: null, proxy: { type, host: '127.0.0.1', port, auth } };
}

async function refusal(task: Promise<Socket>): Promise<string> {
  try {
    (await task).destroy();
    return 'no error';
  } catch (error) {
    return isMergeboxError(error) ? `${error.code}: ${error.message}` : `unexpected ${String(error)}`;
  }
}

async function firstOctets(socket: Socket): Promise<string> {
  const chunk = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  socket.destroy();
  return chunk.toString('latin1');
}

t.test('connectTcp asks an HTTP proxy for the name as it is, with Basic credentials', async (t) => {
  const heard: Buffer[] = [];
  const port = await scripted(t, steps(['HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n* OK hello\r\n'], heard));
  const socket = await connectTcp(endpoint('http', port, LOGIN), 5_000);
  t.equal(await firstOctets(socket), '* OK hello\r\n', 'what the server said at once is not lost');
  const basic = Buffer.from('us:er:pä:ss', 'utf8').toString('base64');
  t.equal(
    Buffer.concat(heard).toString(),
    `CONNECT mail.example:993 HTTP/1.1\r\nHost: mail.example:993\r\nProxy-Authorization: Basic ${basic}\r\n\r\n`,
  );
});

t.test('connectTcp reads an HTTP proxy’s answer split at every octet', async (t) => {
  const answer = 'HTTP/1.0 200 ok\r\nA: b\r\n\r\n220 hi\r\n';
  const port = await scripted(t, (socket) => {
    socket.setNoDelay(true);
    socket.once('data', async () => {
      for (const octet of answer) {
        socket.write(octet);
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
  const socket = await connectTcp(endpoint('http', port), 5_000);
  let text = '';
  for await (const chunk of socket) {
    text += String(chunk);
    if (text.endsWith('\n')) break;
  }
  t.equal(text, '220 hi\r\n');
});

t.test('connectTcp tells what an HTTP proxy refuses, and never its password', async (t) => {
  for (const [answer, expected] of [
    [
      'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n',
      /^authentication: http proxy 127\.0\.0\.1:\d+: it refuses the login of "proxy\.auth": 407/,
    ],
    ['HTTP/1.1 403 Forbidden\r\n\r\n', /^connection: .*no tunnel to mail\.example:993: it answered 403 Forbidden$/],
    ['220 smtp.example ESMTP\r\n\r\n', /^protocol: .*does not answer as an HTTP proxy$/],
    [`HTTP/1.1 200 ok\r\nX: ${'x'.repeat(20_000)}`, /^protocol: .*its answer has no end$/],
  ] as const) {
    const port = await scripted(t, steps([answer]));
    const text = await refusal(connectTcp(endpoint('http', port, LOGIN), 5_000));
    t.match(text, expected);
    t.notMatch(text, /pä:ss|cGFzcw/);
  }
});

t.test('connectTcp gives up on a proxy that hangs up, says nothing, or is not there', async (t) => {
  const hangsUp = await scripted(t, (socket) => socket.once('data', () => socket.end()));
  t.match(
    await refusal(connectTcp(endpoint('http', hangsUp), 5_000)),
    /^connection: .*closed the connection before the tunnel stood$/,
  );
  t.match(await refusal(connectTcp(endpoint('socks5', hangsUp), 5_000)), /^connection: .*closed the connection/);
  const silent = await scripted(t, () => undefined);
  t.match(await refusal(connectTcp(endpoint('socks5', silent), 100)), /^timeout: connect to mail\.example:993/);
  t.match(
    await refusal(connectTcp(endpoint('http', 1), 5_000)),
    /^connection: http proxy 127\.0\.0\.1:1: .*ECONNREFUSED/,
  );
  const stop = new AbortController();
  const called = connectTcp(endpoint('http', silent), 5_000, stop.signal);
  stop.abort();
  t.match(await refusal(called), /^aborted/);
});

t.test('connectTcp sends a name to a SOCKS5 proxy unresolved, and addresses as addresses', async (t) => {
  const granted = Buffer.from([5, 0, 0, 1, 10, 0, 0, 1, 3, 225]);
  for (const [host, octets] of [
    ['mail.example', Buffer.concat([Buffer.from([3, 12]), Buffer.from('mail.example')])],
    ['192.0.2.7', Buffer.from([1, 192, 0, 2, 7])],
    ['2001:db8::7', Buffer.from([4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])],
    ['::ffff:192.0.2.7', Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 7])],
  ] as const) {
    const heard: Buffer[] = [];
    const port = await scripted(t, steps([Buffer.from([5, 0]), Buffer.concat([granted, Buffer.from('hello')])], heard));
    const socket = await connectTcp(endpoint('socks5', port, null, host), 5_000);
    t.equal(await firstOctets(socket), 'hello');
    t.same(heard, [Buffer.from([5, 1, 0]), Buffer.concat([Buffer.from([5, 1, 0]), octets, Buffer.from([3, 225])])]);
  }
});

t.test('connectTcp logs in to a SOCKS5 proxy by RFC 1929 and reads every form of bound address', async (t) => {
  for (const bound of [
    [1, 0, 0, 0, 0],
    [3, 3, 97, 98, 99],
    [4, ...Array<number>(16).fill(0)],
  ]) {
    const heard: Buffer[] = [];
    const granted = Buffer.from([5, 0, 0, ...bound, 0, 0]);
    const port = await scripted(
      t,
      steps([Buffer.from([5, 2]), Buffer.from([1, 0]), Buffer.concat([granted, Buffer.from('!')])], heard),
    );
    const socket = await connectTcp(endpoint('socks5', port, LOGIN), 5_000);
    t.equal(await firstOctets(socket), '!');
    t.same(heard[0], Buffer.from([5, 2, 0, 2]));
    t.same(
      heard[1],
      Buffer.concat([Buffer.from([1, 5]), Buffer.from('us:er'), Buffer.from([6]), Buffer.from('pä:ss')]),
    );
  }
});

t.test('connectTcp tells what a SOCKS5 proxy refuses', async (t) => {
  const cases: [Buffer[], ProxySettings['auth'], RegExp][] = [
    [[Buffer.from([5, 255])], null, /^authentication: .*it wants a login$/],
    [[Buffer.from([5, 2]), Buffer.from([1, 1])], LOGIN, /^authentication: .*wrong user or password$/],
    [
      [Buffer.from([5, 0]), Buffer.from([5, 2, 0, 1])],
      null,
      /^connection: .*mail\.example:993: not allowed by its rules$/,
    ],
    [[Buffer.from([5, 0]), Buffer.from([5, 4, 0, 1])], null, /^connection: .*host unreachable or name unknown$/],
    [[Buffer.from([5, 0]), Buffer.from([5, 77, 0, 1])], null, /^connection: .*reply 77$/],
    [[Buffer.from([5, 0]), Buffer.from([5, 0, 0, 9])], null, /^protocol: .*unknown address$/],
    [[Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')], null, /^protocol: .*does not answer as a SOCKS5 proxy$/],
    [
      [Buffer.from([5, 2])],
      { username: 'u', password: new Secret('x'.repeat(256)) },
      /^authentication: .*room for 255/,
    ],
  ];
  for (const [answers, auth, expected] of cases) {
    const port = await scripted(t, steps(answers));
    t.match(await refusal(connectTcp(endpoint('socks5', port, auth), 5_000)), expected);
  }
});

t.test('connectTcp asks no proxy for a host that could smuggle a header', async (t) => {
  const port = await scripted(t, steps([]));
  t.match(
    await refusal(connectTcp(endpoint('http', port, null, 'a\r\nX: y'), 5_000)),
    /^connection: .*cannot be asked/,
  );
  t.match(
    await refusal(connectTcp(endpoint('http', port, null, 'a'.repeat(256)), 5_000)),
    /^connection: .*cannot be asked/,
  );
});

t.test('proxyFor excepts hosts as NO_PROXY does', async (t) => {
  const proxy: ProxySettings = { type: 'http', host: 'p', port: 1, auth: null };
  const used = (except: string[], host: string, port = 993): boolean =>
    proxyFor({ proxy, except }, host, port) !== null;
  t.equal(proxyFor(null, 'a', 1), null);
  t.ok(used([], 'mail.example'));
  for (const pattern of ['*', 'example', '.example', '*.example', 'mail.example', 'MAIL.Example.', 'mail.example:993'])
    t.notOk(used([pattern], 'mail.example'), pattern);
  for (const pattern of ['ail.example', 'x.mail.example', 'mail.example:143', '10.0.0.0/8', ''])
    t.ok(used([pattern], 'mail.example'), pattern);
  for (const pattern of ['10.1.2.3', '10.0.0.0/8', '10.1.2.3:993']) t.notOk(used([pattern], '10.1.2.3'), pattern);
  for (const pattern of ['10.1.2.4', '11.0.0.0/8', '10.0.0.0/99', '3', '2.3'])
    t.ok(used([pattern], '10.1.2.3'), pattern);
  t.notOk(used(['::1'], '[::1]'));
  t.notOk(used(['2001:db8::/32'], '2001:db8::5'));
  t.notOk(used(['[::1]:993'], '::1'));
  t.ok(used(['[::1]:143'], '::1'));
});
