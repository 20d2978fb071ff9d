import { once } from 'node:events';
import { connect as tcpConnect } from 'node:net';
import { type TLSSocket, connect as tlsConnect } from 'node:tls';
import { generate } from 'selfsigned';
import t from 'tap';
import { RawClient, setup } from './imap-support.js';

async function certificate(name: string): Promise<{ cert: string; key: string }> {
  const { cert, private: key } = await generate([{ name: 'commonName', value: name }], { keyType: 'ec' });
  return { cert, key };
}

const trust = { rejectUnauthorized: false } as const;

async function secured(socket: TLSSocket): Promise<TLSSocket> {
  await once(socket, 'secureConnect');
  return socket;
}

/** STARTTLS on a connection that has read its greeting. */
async function startTls(client: RawClient): Promise<void> {
  await client.ok('STARTTLS');
  const secure = tlsConnect({ socket: client.socket, ...trust });
  client.attach(secure);
  await once(secure, 'secureConnect');
}

t.test('STARTTLS', async (t) => {
  const pem = await certificate('localhost');
  const { connect } = await setup(t, { tls: 'starttls', certificate: () => pem });
  await t.test('before it no password is taken', async (t) => {
    const client = await connect();
    t.match(client.greeting, / STARTTLS LOGINDISABLED\]/);
    t.notMatch(client.greeting, 'AUTH=');
    t.match((await client.lines('LOGIN alice secret'))[0], /^\. NO \[PRIVACYREQUIRED\]/);
    t.match((await client.lines('AUTHENTICATE PLAIN'))[0], /^\. NO \[PRIVACYREQUIRED\]/, 'and none is asked for');
  });
  await t.test('after it capabilities are those of a secured connection', async (t) => {
    const client = await connect();
    await startTls(client);
    const [line] = await client.lines('CAPABILITY');
    t.match(line, 'AUTH=PLAIN');
    t.notMatch(line, /STARTTLS|LOGINDISABLED/);
    t.match((await client.lines('STARTTLS'))[0], /^\. BAD /);
    t.match((await client.lines('LOGIN alice secret'))[0], /^\. OK /);
    t.match((await client.lines('STARTTLS'))[0], /^\. BAD /);
  });
  await t.test('plaintext sent behind it is thrown away', async (t) => {
    const client = await connect();
    client.send('a STARTTLS\r\nb LOGIN alice secret\r\nc CAPABILITY\r\n');
    t.equal(await client.tagged('a'), '. OK Begin TLS negotiation now\r\n');
    const secure = tlsConnect({ socket: client.socket, ...trust });
    client.attach(secure);
    await once(secure, 'secureConnect');
    t.match((await client.lines('SELECT INBOX'))[0], /^\. BAD SELECT is not allowed when not logged in/);
    t.equal(client.pending, '', 'no answer to what was injected');
  });
  await t.test('a failed handshake ends the connection', async (t) => {
    const client = await connect();
    await client.ok('STARTTLS');
    client.send('this is no ClientHello\r\n');
    t.notMatch(await client.closed(), /OK|BAD/);
  });
});

t.test('implicit TLS', async (t) => {
  let pem = await certificate('first');
  const { server, port } = await setup(t, { tls: 'implicit', certificate: () => pem });
  await t.test('with ALPN imap, and without ALPN', async (t) => {
    for (const ALPNProtocols of [['imap'], undefined]) {
      const socket = await secured(
        tlsConnect({ port, host: '127.0.0.1', ...trust, ...(ALPNProtocols && { ALPNProtocols }) }),
      );
      t.equal(socket.alpnProtocol, ALPNProtocols === undefined ? false : 'imap');
      const client = new RawClient(socket);
      t.match(await client.expect(/\r\n/), /^\* OK \[CAPABILITY .*AUTH=PLAIN AUTH=LOGIN\]/);
      t.match((await client.lines('LOGIN alice secret'))[0], /^\. OK/);
      client.send('z LOGOUT\r\n');
      t.match(await client.closed(), /z OK/);
    }
  });
  await t.test('another ALPN protocol is refused', async (t) => {
    await t.rejects(
      secured(tlsConnect({ port, host: '127.0.0.1', ...trust, ALPNProtocols: ['h2'] })),
      /no application protocol/i,
    );
  });
  await t.test('a reloaded certificate serves new connections', async (t) => {
    const subject = async (): Promise<unknown> => {
      const socket = await secured(tlsConnect({ port, host: '127.0.0.1', ...trust }));
      const name = socket.getPeerCertificate().subject.CN;
      socket.destroy();
      return name;
    };
    t.equal(await subject(), 'first');
    const good = await certificate('second');
    pem = { cert: 'nonsense', key: 'nonsense' };
    t.throws(() => server.reloadCertificate());
    t.equal(await subject(), 'first', 'an unusable one changes nothing');
    pem = good;
    server.reloadCertificate();
    t.equal(await subject(), 'second');
  });
});

t.test('a handshake that does not come is cut', async (t) => {
  const pem = await certificate('localhost');
  const { port, logged } = await setup(t, { tls: 'implicit', certificate: () => pem, limits: { handshakeMs: 50 } });
  const socket = tcpConnect(port, '127.0.0.1');
  socket.resume();
  await once(socket, 'close');
  t.match(logged(), 'handshake takes too long');
});

t.test('a listener without a usable certificate does not open', async (t) => {
  await t.rejects(setup(t, { tls: 'implicit', certificate: () => ({ cert: 'x', key: 'y' }) }));
});
