import { once } from 'node:events';
import { constants, createInflateRaw, deflateRawSync } from 'node:zlib';
import t from 'tap';
import { mail, type RawClient, setup } from './imap-support.js';

/** A client's side of RFC 4978: what is sent is compressed in one go, what comes is inflated. */
async function compressed(client: RawClient): Promise<{
  send(text: string | Buffer): void;
  tagged(tag: string): Promise<string>;
}> {
  await client.ok('COMPRESS DEFLATE');
  const inflate = createInflateRaw();
  client.socket.removeAllListeners('data');
  client.socket.pipe(inflate);
  let received = '';
  inflate.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1');
  });
  return {
    send: (text) => void client.socket.write(deflateRawSync(text, { finishFlush: constants.Z_SYNC_FLUSH })),
    tagged: async (tag) => {
      while (!received.includes(`${tag} `)) await once(inflate, 'data');
      const taken = received;
      received = '';
      return taken;
    },
  };
}

t.test('COMPRESS=DEFLATE compresses both directions, once', async (t) => {
  const { login, alice } = await setup(t);
  for (let i = 0; i < 300; i += 1) alice.deliver(mail(`subject ${i}`, 'x'.repeat(2_000)));
  const client = await login();
  t.match((await client.lines('COMPRESS LZW')).at(-1), /^\. NO \[CANNOT\]/);
  const stream = await compressed(client);
  const before = client.socket.bytesRead;
  stream.send('a1 SELECT INBOX\r\na2 FETCH 1:* (BODY.PEEK[])\r\n');
  const text = await stream.tagged('a2');
  t.match(text, /\* 300 EXISTS\r\n[\s\S]*a1 OK [\s\S]*a2 OK FETCH completed\r\n$/);
  t.ok(text.length > 600_000);
  t.ok(client.socket.bytesRead - before < text.length / 5, 'fewer octets on the wire');
  stream.send('a3 COMPRESS DEFLATE\r\n');
  t.match(await stream.tagged('a3'), /^a3 NO \[COMPRESSIONACTIVE\]/);
  stream.send('a4 LOGOUT\r\n');
  t.match(await stream.tagged('a4'), /\* BYE [\s\S]*a4 OK /);
});

t.test('COMPRESS is not there before login', async (t) => {
  const { connect } = await setup(t);
  const client = await connect();
  t.notMatch(client.greeting, 'COMPRESS');
  t.match((await client.lines('COMPRESS DEFLATE')).at(-1), /^\. BAD /);
});

t.test('an APPEND comes through compressed, cut anywhere', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login();
  const stream = await compressed(client);
  const bytes = mail('cut', 'y'.repeat(50_000));
  stream.send(`a1 APPEND INBOX {${bytes.length}+}\r\n`);
  for (let at = 0; at < bytes.length; at += 777) stream.send(bytes.subarray(at, at + 777));
  stream.send('\r\n');
  t.match(await stream.tagged('a1'), /^a1 OK \[APPENDUID /);
  t.strictSame(alice.mailbox('INBOX').message(1)?.bytes, bytes);
});

t.test('what is not DEFLATE ends the connection, and only that', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  await client.ok('COMPRESS DEFLATE');
  client.send(Buffer.alloc(64, 0xff));
  await client.closed();
  const other = await login();
  await other.ok('NOOP');
});

t.test('a bomb is counted inflated: it ends the connection and takes no memory', async (t) => {
  const { login } = await setup(t, { limits: { messageBytes: 1_000_000, commandBytes: 65_536 } });
  const client = await login();
  await client.ok('COMPRESS DEFLATE');
  const bomb = deflateRawSync(Buffer.alloc(200_000_000, 0x41), { finishFlush: constants.Z_SYNC_FLUSH });
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 5);
  client.send(bomb);
  await client.closed();
  clearInterval(watch);
  t.ok(peak - before < 60_000_000, `${peak - before} octets more at most`);
  const other = await login();
  await other.ok('NOOP');
});
