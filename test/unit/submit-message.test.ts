import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { comparable, needsUtf8, wireAddress } from '../../src/submit/address.js';
import { ContentBudget, withContent } from '../../src/submit/content.js';
import { DotStuffing } from '../../src/submit/dot-stuffing.js';
import { SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { mailboxList } from '../../src/submit/mailbox-list.js';
import { attachedIds } from '../../src/submit/forwarded.js';
import { additions, dateTime, readHeader as readHeaderAt, wireBlocks, wireSize } from '../../src/submit/message.js';
import { verdictOf } from '../../src/submit/queue/attempt.js';
import type { SpoolFile } from '../../src/submit/queue/spool.js';
import { oneLine, type Reply, upstreamRefusal } from '../../src/submit/reply.js';
import { ReplyReader } from '../../src/submit/reply-reader.js';
import { SenderBook } from '../../src/submit/sender.js';

const reception = {
  helo: 'laptop.example',
  peer: '192.0.2.7',
  hostname: 'box.example',
  protocol: 'ESMTPSA',
  id: 'abc.1',
  at: new Date('2024-02-29T23:05:06Z'),
};

const message = (text: string): Buffer => Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1');
const readHeader = (bytes: Buffer): ReturnType<typeof readHeaderAt> => readHeaderAt(bytes, 'box.example');

/** What leaves for a content that comes in blocks of `size` octets, and what is filed. */
async function prepared(
  bytes: Buffer,
  changes: Partial<typeof reception> = {},
  size = 65_536,
): Promise<{ wire: string; filed: string }> {
  const header = readHeader(bytes);
  const added = additions(header, { ...reception, ...changes });
  const blocks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) blocks.push(bytes.subarray(at, at + size));
  const wire: Buffer[] = [];
  for await (const block of wireBlocks({ ...added, hidden: header.hidden }, blocks)) wire.push(block);
  const all = Buffer.concat(wire);
  if (all.length !== wireSize({ ...added, hidden: header.hidden }, bytes.length)) throw new Error('wireSize is wrong');
  return { wire: all.toString('latin1'), filed: added.added + bytes.toString('latin1') };
}

const RECEIVED =
  'Received: from laptop.example ([192.0.2.7])\r\n by box.example (Mergebox) with ESMTPSA id abc.1;\r\n Thu, 29 Feb 2024 23:05:06 +0000\r\n';

t.test('Received is added and nothing else of a complete message changes', async (t) => {
  const text = 'From: a@x.example\nDate: today\nMessage-ID: <1@x>\nSubject: =?x?\n\n.dots\n..\n\xe9 \t \n\n';
  const { wire, filed } = await prepared(message(text));
  t.equal(wire, RECEIVED + message(text).toString('latin1'));
  t.equal(filed, message(text).toString('latin1'), 'filed as it came');
});

t.test('Message-ID and Date are added when they are missing, on the wire and in the filed copy alike', async (t) => {
  const { wire, filed } = await prepared(message('From: a@x.example\n\nhello\n'));
  const added =
    /^Date: Thu, 29 Feb 2024 23:05:06 \+0000\r\nMessage-ID: <[0-9a-f-]{36}@box\.example>\r\nFrom: a@x\.example/;
  t.match(filed, added);
  t.match(wire.slice(RECEIVED.length), added);
  const known = (await prepared(message('From: a@x.example\nMESSAGE-ID: <1@x>\n\n'))).wire;
  t.match(known, /Date: Thu/);
  t.notMatch(known, /box\.example>/);
});

t.test('Bcc and Resent-Bcc stay behind wherever the blocks are cut, folded lines included', async (t) => {
  const text =
    'Bcc: secret@x.example,\n\tother@x.example\nFrom: a@x.example\nbcc : late@x.example\nDate: d\nMessage-ID: <1@x>\nResent-BCC:\n r@x.example\nBccx: stays\n\nBcc: body stays\n';
  const bytes = message(text);
  const expected = 'From: a@x.example\nDate: d\nMessage-ID: <1@x>\nBccx: stays\n\nBcc: body stays\n';
  for (let size = 1; size <= bytes.length; size += 1) {
    const { wire, filed } = await prepared(bytes, {}, size);
    if (wire !== RECEIVED + expected.replaceAll('\n', '\r\n')) t.fail(`blocks of ${size}: ${wire}`);
    if (size === 1) t.equal(filed, bytes.toString('latin1'));
  }
});

t.test('a client cannot write into its Received field', async (t) => {
  const evil = { helo: 'x) by bank.example (', peer: '2001:db8::1' };
  const { wire } = await prepared(message('From: a@x.example\n\n'), evil);
  t.match(wire, /^Received: from unknown \(\[IPv6:2001:db8::1\]\)\r\n/);
});

t.test('readHeader tells what a mail answers and forwards, and how urgent it is', async (t) => {
  const read = (fields: string) => readHeader(message(`From: a@x\n${fields}\n\n`));
  t.match(read('In-Reply-To: <1@x>\nReferences: <0@x> <1@x>'), { answers: ['1@x'], forwards: [] });
  t.strictSame(read('References: <0@x>\n <1@x>').answers, ['1@x']);
  t.match(read('X-Forwarded-Message-Id: <2@x>\nReferences: <2@x>'), { answers: [], forwards: ['2@x'] });
  t.strictSame(read('In-Reply-To: your mail of yesterday').answers, []);
  t.equal(read('Subject: =?utf-8?q?caf=C3=A9?=').subject, 'café');
  for (const [fields, priority] of [
    ['X-Priority: 1 (Highest)', 4],
    ['Priority: urgent', 4],
    ['Importance: Low', -4],
    ['Precedence: bulk\nX-Priority: 1', -4],
    ['X-Priority: 3', 0],
    ['', 0],
  ] as const) {
    t.equal(read(fields === '' ? 'X: y' : fields).priority, priority, fields);
  }
});

t.test('attachedIds finds the mails that a mail carries', async (t) => {
  const inner = 'Message-ID: <inner@x>\nSubject: s\n\nbody\n';
  const carrying = (part: string): Buffer =>
    message(`From: a@x\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsee below\n--b\n${part}\n--b--\n`);
  t.strictSame(attachedIds(carrying(`Content-Type: message/rfc822\n\n${inner}`)), ['inner@x']);
  t.strictSame(attachedIds(carrying(`Content-Type: text/plain\n\n${inner}message/rfc822`)), []);
  t.strictSame(attachedIds(message(`From: a@x\nMessage-ID: <own@x>\n\nmessage/rfc822\n`)), []);
});

t.test('a mail that went round is refused', async (t) => {
  const own = 'Received: from x ([192.0.2.1])\n by box.example (Mergebox) with ESMTPA id 1;\n today\n';
  const refused = (text: string): void => {
    t.throws(() => readHeader(message(text)), { message: /^5\.4\.6 .*loop/ });
  };
  t.ok(readHeader(message(`From: a@x\n${own.repeat(2)}\n`)), 'a person may send on what was sent before');
  refused(`From: a@x\n${own.repeat(3)}\n`);
  refused(`From: a@x\n${'Received: from y\n'.repeat(50)}\n`);
  t.ok(readHeader(message(`From: a@x\n${'Received: from y\n'.repeat(49)}\n`)));
  refused('From: a@x\nX-Mergebox-Report: box.example ended\n\n');
});

t.test('readHeader refuses what has no single usable From', async (t) => {
  const refused = (text: string, pattern: RegExp): void => {
    t.throws(() => readHeader(message(text)), { message: pattern });
  };
  refused('Subject: x\n\n', /^5\.6\.0 the message has no From field/);
  refused('From: a@x\nFrom: b@x\n\n', /more than one From/);
  refused('From: \n\n', /no usable address/);
  refused('From: "open\n\n', /no usable address/);
  refused(`From: ${'a@x, '.repeat(101)}a@x\n\n`, /no usable address/);
  refused('From: a@x\nno colon here\n\nbody', /has no field name/);
  for (const name of [' X', '\tFrom', 'From\x0b', 'Fr\xa0om', 'From alice']) {
    refused(`${name}: b@y\nFrom: a@x\n\nbody`, /has no field name/);
  }
  refused(`From: a@x\n${`X: ${'y'.repeat(990)}\n`.repeat(1_100)}\n`, /header is larger than/);
  t.equal(readHeader(message(`From: a@x\n${'Received: from y\n'.repeat(49)}\n`)).from[0], 'a@x');
});

t.test('readHeader stays linear with hostile headers', async (t) => {
  const start = process.cpuUsage();
  for (const text of [
    `From: ${'('.repeat(60_000)}\n\n`,
    `From: ${'<'.repeat(60_000)}\n\n`,
    `From: ${'"\\'.repeat(30_000)}\n\n`,
    `From: ${','.repeat(60_000)}a@x\n\n`,
    `From: a${' '.repeat(60_000)}b@x\n\n`,
    `From: ${'. '.repeat(30_000)}@x\n\n`,
    `From: ${'[\\"]'.repeat(15_000)}@x\n\n`,
    `From: ${'"a"'.repeat(20_000)}@x\n\n`,
    `From: a@x\n${' \n'.repeat(500_000)}\n`,
    `From: a@x\n${':\n'.repeat(300_000)}\n`,
  ]) {
    try {
      readHeader(message(text));
    } catch (error) {
      t.match(error, { responseCode: Number });
    }
  }
  const { user, system } = process.cpuUsage(start);
  t.ok(user + system < 1_500_000, `${user + system} µs of processor time`);
});

t.test('mailboxList finds the addresses of any From', async (t) => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['alice@x.example', ['alice@x.example']],
    ['Alice Example <alice@x.example>', ['alice@x.example']],
    ['"Example, Alice" <alice@x.example>', ['alice@x.example']],
    ['"a <b@evil.example>" <alice@x.example>', ['alice@x.example']],
    ['alice@x.example (bob@evil.example)', ['alice@x.example']],
    ['(a (nested) b) < alice @ x.example >', ['alice@x.example']],
    ['"odd local"@x.example', ['"odd local"@x.example']],
    ['a . b @ x.example', ['a.b@x.example']],
    ['odd local@x.example', ['odd local@x.example']],
    ['a@x, b@y ,, c@z', ['a@x', 'b@y', 'c@z']],
    ['Team: a@x, Bob <b@y>;', ['a@x', 'b@y']],
    ['Undisclosed:;', []],
    ['root@[192.0.2.1]', ['root@[192.0.2.1]']],
    ['=?utf-8?q?a=40b?= <c@d>', ['c@d']],
    ['<>', []],
  ];
  for (const [text, expected] of cases) t.strictSame(mailboxList(text, 10), expected, text);
  const ambiguous = ['<b@y> <a@x>', '<b@y><a@x>', '<a@x> b@y', '<a@x> "b"@y', 'b@y: a@x;', '<b@y>: a@x;'];
  for (const text of ['<a@x', '"a@x', '(a@x', 'a@x, b@y, c@z', ...ambiguous]) t.equal(mailboxList(text, 2), null, text);
});

t.test('SenderBook finds the owner of an address, with tags, without case', async (t) => {
  const account = (id: string, ...addresses: string[]) => ({ id, addresses, sent: 'auto' as const, smtp: null });
  const book = new SenderBook({
    name: 'alice',
    accounts: [account('work', 'Alice@Corp.example', 'a.b+list@corp.example'), account('home', 'me@bücher.example')],
  });
  const owner = (address: string): string | null => book.owner(address)?.account.id ?? null;
  t.equal(owner('alice@corp.EXAMPLE'), 'work');
  t.equal(owner('ALICE+news@corp.example'), 'work');
  t.equal(owner('"alice"@corp.example'), 'work');
  t.equal(owner('a.b+list@corp.example'), 'work');
  t.equal(owner('a.b@corp.example'), null);
  t.equal(owner('me@xn--bcher-kva.example'), 'home');
  t.equal(owner('me+x@BÜCHER.example'), 'home');
  for (const other of [
    'bob@corp.example',
    'alice@corp.example.evil',
    'alice',
    '@corp.example',
    '',
    '+x@corp.example',
  ]) {
    t.equal(owner(other), null, other);
  }
});

t.test('an address that others read otherwise is nobody’s', async (t) => {
  const account = {
    id: 'work',
    addresses: ['alice@work.example', '*@catch.example'],
    sent: 'auto' as const,
    smtp: null,
  };
  const book = new SenderBook({ name: 'alice', accounts: [account] });
  for (const address of [
    'alice+boss@evil.example@work.example',
    'alice+,boss@evil.example,x@work.example',
    'boss@evil.example x@catch.example',
    '@evil.example:x@catch.example',
    'alice+=?utf-8?b?Ym9zc0BldmlsLmV4YW1wbGUA?=@work.example',
    'al ice@work.example',
    '"al ice"@work.example',
    'alice@%77ork.example',
    'alice@work.example/evil',
    'alice@work.example?x',
    'alice@work.example#@evil.example',
    'alice@work.example\\',
    'alice@wo\trk.example',
    'x\n@catch.example',
  ]) {
    t.equal(book.owner(address), null, address);
  }
  for (const address of [
    '"alice"@work.example',
    "o'neil/x=y@catch.example",
    'é@catch.example',
    '"a b"@catch.example',
  ]) {
    t.equal(book.owner(address)?.account.id, 'work', address);
  }
  t.equal(wireAddress('bob@far.example%2eevil'), 'bob@far.example%2eevil', 'a recipient goes out as it was given');
  t.equal(wireAddress('bob@1.2'), 'bob@1.2');
});

t.test('addresses go to the wire in A-labels, and say when they need SMTPUTF8', async (t) => {
  t.equal(wireAddress('a@bücher.example'), 'a@xn--bcher-kva.example');
  t.equal(wireAddress('A.B@X.Example'), 'A.B@x.example');
  t.equal(wireAddress('a@[192.0.2.1]'), 'a@[192.0.2.1]');
  t.equal(wireAddress(''), '');
  t.equal(wireAddress('postmaster'), 'postmaster');
  t.equal(needsUtf8('é@x.example'), true);
  t.equal(needsUtf8('e@é.example'), false);
  t.equal(comparable('no address'), null);
});

t.test('an address may own a whole domain, and a relay takes all, some or no addresses', async (t) => {
  const target = (host: string) => ({ endpoint: { host, port: 25, tls: 'none' as const, ca: null }, auth: null });
  const accounts = [
    {
      id: 'work',
      addresses: ['alice@corp.example', '*@dept.corp.example'],
      sent: 'auto' as const,
      smtp: target('work'),
    },
    { id: 'home', addresses: ['me@home.example'], sent: 'auto' as const, smtp: null },
  ];
  const way = (addresses: readonly string[] | null | undefined, address: string): string | null => {
    const relay = addresses === undefined ? null : { ...target('relay'), addresses };
    const sender = new SenderBook({ name: 'alice', accounts, relay }).owner(address);
    return sender === null ? null : `${sender.account.id} by ${sender.target?.endpoint.host ?? 'nothing'}`;
  };
  t.equal(way(undefined, 'anybody@dept.corp.example'), 'work by work');
  t.equal(way(undefined, 'anybody@corp.example'), null);
  t.equal(way(undefined, 'me@home.example'), 'home by nothing');
  t.equal(way(null, 'me+tag@home.example'), 'home by relay');
  t.equal(way(null, 'mallory@home.example'), null, 'a relay makes no address one’s own');
  t.equal(way(['me@home.example'], 'me+tag@home.example'), 'home by relay');
  t.equal(way(['me@home.example'], 'alice@corp.example'), 'work by work');
  t.equal(way(['*@corp.example'], 'alice@corp.example'), 'work by relay');
});

t.test('DotStuffing stuffs exactly the lines that start with a dot, however the message is cut', (t) => {
  const naive = (text: string): string => {
    const stuffed = text.replace(/(^|\n)\./g, '$1..');
    return text === '' || text.endsWith('\n') ? `${stuffed}.\r\n` : `${stuffed}\r\n.\r\n`;
  };
  const stuffed = (buffers: readonly Buffer[]): Buffer => {
    const stuffing = new DotStuffing();
    return Buffer.concat([...buffers.flatMap((each) => [...stuffing.blocks(each)]), stuffing.end()]);
  };
  const piece = fc.constantFrom('.', '..', '\r\n', 'a', '\r\n.', '.\r\n', 'b.c');
  fc.assert(
    fc.property(fc.array(fc.array(piece, { maxLength: 6 }), { maxLength: 6 }), (parts) => {
      const buffers = parts.map((pieces) => Buffer.from(pieces.join('')));
      return stuffed(buffers).toString() === naive(Buffer.concat(buffers).toString());
    }),
  );
  t.equal(stuffed([Buffer.from('.\r\n'.repeat(100_000))]).length, 100_000 * 4 + 3);
  t.end();
});

/** A spool file in memory. */
function memoryFile(): { file: SpoolFile; blocks: Buffer[]; discarded: () => boolean } {
  const blocks: Buffer[] = [];
  let gone = false;
  const file = {
    name: 'x',
    write: async (chunk: Buffer) => void blocks.push(chunk),
    commit: async () => undefined,
    discard: async () => {
      gone = true;
    },
  } as unknown as SpoolFile;
  return { file, blocks, discarded: () => gone };
}

const noFile = (): Promise<SpoolFile> => Promise.reject(new Error('no file was to be made'));

t.test('withContent refuses bare CR, bare LF and NUL at every split, and takes everything else', async () => {
  const unit = fc.constantFrom('\r\n', '\r', '\n', '\0', '.', 'a', '\xff');
  const bad = (text: string): boolean => /\0|\r(?!\n)/.test(text) || /(?<!\r)\n/.test(text);
  await fc.assert(
    fc.asyncProperty(fc.array(unit, { maxLength: 8 }), fc.array(fc.nat(12), { maxLength: 4 }), async (units, cuts) => {
      const bytes = Buffer.from(units.join(''), 'latin1');
      const edges = [...new Set([0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length])].sort(
        (a, b) => a - b,
      );
      const chunks = edges.slice(1).map((edge, index) => bytes.subarray(edges[index], edge));
      const options = { most: 1_000, budget: new ContentBudget(1_000), createFile: noFile };
      const result = await withContent(Readable.from(chunks), options, async (content) => content).catch(
        (error: { responseCode: number }) => error.responseCode,
      );
      if (bad(units.join(''))) return result === 554;
      return (
        typeof result === 'object' && result.bytes?.equals(bytes) === true && result.eightBit === units.includes('\xff')
      );
    }),
  );
});

const refusal = (work: Promise<unknown>): Promise<number | undefined> =>
  work.then(
    () => undefined,
    (error: { responseCode: number }) => error.responseCode,
  );

t.test('withContent holds to its limits: at the cap, one over, and for all clients together', async (t) => {
  const read = (octets: number, budget: ContentBudget): Promise<number> =>
    withContent(
      Readable.from([Buffer.alloc(octets, 97)]),
      { most: 100, budget, createFile: noFile },
      async ({ size }) => size,
    );
  const budget = new ContentBudget(150);
  t.equal(await read(100, budget), 100);
  t.equal(await refusal(read(101, budget)), 552);
  t.equal(await refusal(read(201, budget)), 421, 'what goes on for ever is cut');
  const options = { most: 100, budget, createFile: noFile };
  await withContent(Readable.from([Buffer.alloc(100, 97)]), options, async () => {
    t.equal(await refusal(read(51, budget)), 452);
    t.equal(await read(50, budget), 50);
  });
  t.equal(await read(100, budget), 100, 'everything was given back');
});

t.test('withContent writes a large message to a file and keeps only its beginning', async (t) => {
  const head = message(`From: a@x\nX-Long: ${'y'.repeat(100_000)}\n\n`);
  const chunks = [head, ...Array.from({ length: 100 }, () => Buffer.alloc(10_000, 97))];
  const most = 2_000_000;
  const spool = memoryFile();
  const budget = new ContentBudget(300_000);
  const createFile = async (): Promise<SpoolFile> => spool.file;
  const content = await withContent(Readable.from(chunks), { most, budget, createFile }, async (each) => each);
  t.equal(content.bytes, null);
  t.equal(content.size, head.length + 1_000_000);
  t.ok(Buffer.concat(spool.blocks).equals(Buffer.concat(chunks)), 'the file has all of it');
  t.ok(content.head.subarray(0, head.length).equals(head), 'the beginning has the whole header');
  t.ok(content.head.length < 300_000);
  t.notOk(spool.discarded());
  const bad = memoryFile();
  const broken = [...chunks, Buffer.from('bare\n')];
  const options = { most, budget, createFile: async (): Promise<SpoolFile> => bad.file };
  t.equal(await refusal(withContent(Readable.from(broken), options, async () => 1)), 554);
  t.ok(bad.discarded(), 'what is refused leaves no file');
});

t.test('ReplyReader puts replies together at every split, and refuses what is none', async (t) => {
  const text = '250-first\r\n250-SIZE 100\r\n250 last\r\n550 5.1.1 no such\r\n';
  for (let cut = 0; cut <= text.length; cut += 1) {
    const reader = new ReplyReader();
    const replies = [...reader.push(Buffer.from(text.slice(0, cut))), ...reader.push(Buffer.from(text.slice(cut)))];
    t.strictSame(
      replies.map(({ code, enhanced, text, lines }) => [code, enhanced, text, lines.length]),
      [
        [250, null, 'first SIZE 100 last', 3],
        [550, '5.1.1', 'no such', 1],
      ],
    );
  }
  t.throws(() => new ReplyReader().push(Buffer.from('hello\r\n')), { code: 'protocol' });
  t.throws(() => new ReplyReader().push(Buffer.from('999 hello\r\n')), { code: 'protocol' });
  t.throws(() => new ReplyReader().push(Buffer.alloc(SUBMIT_LIMITS.replyBytes + 1, 97)), { code: 'protocol' });
  const endless = new ReplyReader();
  t.throws(
    () => {
      for (let i = 0; i < 10_000; i += 1) endless.push(Buffer.from('250-more of it\r\n'));
    },
    { code: 'protocol' },
  );
  const many = new ReplyReader();
  for (let i = 0; i < 10_000; i += 1) many.push(Buffer.from('250 a reply that is complete\r\n'));
});

t.test('oneLine makes any text fit into a reply', (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 3_000 }), (text) => {
      const line = oneLine(text);
      return /^[\x20-\x7e]*$/.test(line) && line.length <= SUBMIT_LIMITS.replyText;
    }),
  );
  t.equal(oneLine('a\r\n250 ok\r\n'), 'a 250 ok');
  t.equal(oneLine('größe'), 'gr?e');
  t.end();
});

t.test('verdictOf holds nothing against a mail that is the fault of our login or of that server', async (t) => {
  const reply = (code: number, enhanced: string | null = null): Reply => ({ code, enhanced, text: 'why', lines: [] });
  const verdict = (code: number, enhanced?: string): readonly string[] => {
    const { state, status } = verdictOf(reply(code, enhanced ?? null));
    return [state, status];
  };
  t.strictSame(verdict(250, '2.1.5'), ['delivered', '2.1.5']);
  t.strictSame(verdict(251), ['delivered', '2.0.0']);
  t.strictSame(verdict(550, '5.1.1'), ['failed', '5.1.1']);
  t.strictSame(verdict(552), ['failed', '5.0.0']);
  t.strictSame(verdict(450), ['waiting', '4.0.0']);
  t.strictSame(verdict(421, '4.3.2'), ['waiting', '4.3.2']);
  t.strictSame(verdict(530, '5.7.0'), ['waiting', '4.0.0']);
  t.strictSame(verdict(535), ['waiting', '4.0.0']);
  t.strictSame(verdict(354), ['waiting', '4.0.0']);
  const refused = upstreamRefusal(verdictOf(reply(550, '5.1.1')));
  t.strictSame([refused.responseCode, refused.message], [550, '5.1.1 why']);
  t.match(upstreamRefusal({ status: '4.4.7', reply: 'no code' }), { responseCode: 554, message: /^5\.4\.7 no code/ });
});

t.test('dateTime writes RFC 5322 dates', async (t) => {
  t.equal(dateTime(new Date('2024-01-05T00:00:09Z')), 'Fri, 5 Jan 2024 00:00:09 +0000');
});
