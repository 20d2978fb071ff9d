import { Readable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { comparable, needsUtf8, wireAddress } from '../../src/submit/address.js';
import { ContentBudget, withContent } from '../../src/submit/content.js';
import { dotStuffed } from '../../src/submit/dot-stuffing.js';
import { SUBMIT_LIMITS } from '../../src/submit/limits.js';
import { mailboxList } from '../../src/submit/mailbox-list.js';
import { dateTime, prepare, readHeader } from '../../src/submit/message.js';
import { oneLine, type Reply, refusalOf } from '../../src/submit/reply.js';
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
const wireText = (text: string): string => {
  const bytes = message(text);
  return Buffer.concat(prepare(bytes, readHeader(bytes), reception).wire).toString('latin1');
};

const RECEIVED =
  'Received: from laptop.example ([192.0.2.7])\r\n by box.example (Mergebox) with ESMTPSA id abc.1;\r\n Thu, 29 Feb 2024 23:05:06 +0000\r\n';

t.test('prepare adds Received and changes nothing else of a complete message', async (t) => {
  const text = 'From: a@x.example\nDate: today\nMessage-ID: <1@x>\nSubject: =?x?\n\n.dots\n..\n\xe9 \t \n\n';
  t.equal(wireText(text), RECEIVED + message(text).toString('latin1'));
  const bytes = message(text);
  t.equal(prepare(bytes, readHeader(bytes), reception).filed, bytes, 'filed as it came');
});

t.test('prepare adds Message-ID and Date when they are missing, on the wire and in the filed copy alike', async (t) => {
  const bytes = message('From: a@x.example\n\nhello\n');
  const { wire, filed } = prepare(bytes, readHeader(bytes), reception);
  const added =
    /^Date: Thu, 29 Feb 2024 23:05:06 \+0000\r\nMessage-ID: <[0-9a-f-]{36}@box\.example>\r\nFrom: a@x\.example/;
  t.match(filed.toString(), added);
  t.equal(Buffer.concat(wire).toString(), RECEIVED + filed.toString());
  t.match(wireText('From: a@x.example\nMESSAGE-ID: <1@x>\n\n'), /Date: Thu/);
  t.notMatch(wireText('From: a@x.example\nMESSAGE-ID: <1@x>\n\n'), /box\.example>/);
});

t.test(
  'prepare takes Bcc and Resent-Bcc out on the wire, folded lines included, and keeps them in the filed copy',
  async (t) => {
    const text =
      'Bcc: secret@x.example,\n\tother@x.example\nFrom: a@x.example\nbcc : late@x.example\nDate: d\nMessage-ID: <1@x>\nResent-BCC:\n r@x.example\nBccx: stays\n\nBcc: body stays\n';
    const bytes = message(text);
    const { wire, filed } = prepare(bytes, readHeader(bytes), reception);
    const expected = 'From: a@x.example\nDate: d\nMessage-ID: <1@x>\nBccx: stays\n\nBcc: body stays\n';
    t.equal(Buffer.concat(wire).toString(), RECEIVED + expected.replaceAll('\n', '\r\n'));
    t.ok(filed.equals(bytes));
  },
);

t.test('prepare does not let a client write into its Received field', async (t) => {
  const bytes = message('From: a@x.example\n\n');
  const evil = { ...reception, helo: 'x) by bank.example (', peer: '2001:db8::1' };
  const { wire } = prepare(bytes, readHeader(bytes), evil);
  t.match(Buffer.concat(wire).toString(), /^Received: from unknown \(\[IPv6:2001:db8::1\]\)\r\n/);
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
  refused(`From: a@x\n${'Received: from y\n'.repeat(50)}\n`, /^5\.4\.6 .*loop/);
  refused(`From: a@x\n${`X: ${'y'.repeat(990)}\n`.repeat(1_100)}\n`, /header is larger than/);
  t.equal(readHeader(message(`From: a@x\n${'Received: from y\n'.repeat(49)}\n`)).from[0], 'a@x');
});

t.test('readHeader stays linear with hostile headers', async (t) => {
  const start = performance.now();
  for (const text of [
    `From: ${'('.repeat(60_000)}\n\n`,
    `From: ${'<'.repeat(60_000)}\n\n`,
    `From: ${'"\\'.repeat(30_000)}\n\n`,
    `From: ${','.repeat(60_000)}a@x\n\n`,
    `From: a@x\n${' \n'.repeat(500_000)}\n`,
    `From: a@x\n${':\n'.repeat(300_000)}\n`,
  ]) {
    try {
      readHeader(message(text));
    } catch (error) {
      t.match(error, { responseCode: Number });
    }
  }
  t.ok(performance.now() - start < 1_000);
});

t.test('mailboxList finds the addresses of any From', async (t) => {
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ['alice@x.example', ['alice@x.example']],
    ['Alice Example <alice@x.example>', ['alice@x.example']],
    ['"Example, Alice" <alice@x.example>', ['alice@x.example']],
    ['"a <b@evil.example>" <alice@x.example>', ['alice@x.example']],
    ['alice@x.example (bob@evil.example)', ['alice@x.example']],
    ['(a (nested) b) < alice @ x.example >', ['alice@x.example']],
    ['"odd local"@x.example', ['"oddlocal"@x.example']],
    ['a@x, b@y ,, c@z', ['a@x', 'b@y', 'c@z']],
    ['Team: a@x, Bob <b@y>;', ['a@x', 'b@y']],
    ['Undisclosed:;', []],
    ['root@[192.0.2.1]', ['root@[192.0.2.1]']],
    ['=?utf-8?q?a=40b?= <c@d>', ['c@d']],
    ['<>', []],
  ];
  for (const [text, expected] of cases) t.strictSame(mailboxList(text, 10), expected, text);
  for (const text of ['<a@x', '"a@x', '(a@x', 'a@x, b@y, c@z']) t.equal(mailboxList(text, 2), null, text);
});

t.test('SenderBook finds the owner of an address, with tags, without case', async (t) => {
  const account = (id: string, ...addresses: string[]) => ({ id, addresses, sent: 'auto' as const, smtp: null });
  const book = new SenderBook({
    name: 'alice',
    accounts: [account('work', 'Alice@Corp.example', 'a.b+list@corp.example'), account('home', 'me@bücher.example')],
  });
  const owner = (address: string): string | null => book.owner(address)?.id ?? null;
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

t.test('dotStuffed stuffs exactly the lines that start with a dot, however the message is cut', (t) => {
  const naive = (text: string): string => {
    const stuffed = text.replace(/(^|\n)\./g, '$1..');
    return text === '' || text.endsWith('\n') ? `${stuffed}.\r\n` : `${stuffed}\r\n.\r\n`;
  };
  const piece = fc.constantFrom('.', '..', '\r\n', 'a', '\r\n.', '.\r\n', 'b.c');
  fc.assert(
    fc.property(fc.array(fc.array(piece, { maxLength: 6 }), { maxLength: 6 }), (parts) => {
      const buffers = parts.map((pieces) => Buffer.from(pieces.join(''))).filter((each) => each.length > 0);
      const out = Buffer.concat([...dotStuffed(buffers)]).toString();
      return out === naive(Buffer.concat(buffers).toString());
    }),
  );
  const large = Buffer.from('.\r\n'.repeat(100_000));
  t.equal(Buffer.concat([...dotStuffed([large])]).length, 100_000 * 4 + 3);
  t.end();
});

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
      const result = await withContent(
        Readable.from(chunks),
        1_000,
        new ContentBudget(1_000),
        async (content) => content,
      ).catch((error: { responseCode: number }) => error.responseCode);
      if (bad(units.join(''))) return result === 554;
      return typeof result === 'object' && result.bytes.equals(bytes) && result.eightBit === units.includes('\xff');
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
    withContent(Readable.from([Buffer.alloc(octets, 97)]), 100, budget, async ({ bytes }) => bytes.length);
  const budget = new ContentBudget(150);
  t.equal(await read(100, budget), 100);
  t.equal(await refusal(read(101, budget)), 552);
  t.equal(await refusal(read(201, budget)), 421, 'what goes on for ever is cut');
  await withContent(Readable.from([Buffer.alloc(100, 97)]), 100, budget, async () => {
    t.equal(await refusal(read(51, budget)), 452);
    t.equal(await read(50, budget), 50);
  });
  t.equal(await read(100, budget), 100, 'everything was given back');
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

t.test('refusalOf passes a verdict on, and never what would confuse the client’s own session', async (t) => {
  const reply = (code: number, enhanced: string | null = null): Reply => ({ code, enhanced, text: 'why', lines: [] });
  const pass = (code: number, enhanced?: string): readonly unknown[] => {
    const { responseCode, message, temporary } = refusalOf(reply(code, enhanced ?? null), 'work');
    return [responseCode, message.split(' ')[0], temporary];
  };
  t.strictSame(pass(550, '5.1.1'), [550, '5.1.1', false]);
  t.strictSame(pass(450), [450, '4.0.0', true]);
  t.strictSame(pass(552), [552, '5.0.0', false]);
  t.strictSame(pass(421, '4.3.2'), [451, '4.4.1', true]);
  t.strictSame(pass(530, '5.7.0'), [451, '4.4.1', true]);
  t.strictSame(pass(535), [451, '4.4.1', true]);
  t.strictSame(pass(354), [451, '4.5.0', true]);
  t.match(refusalOf(reply(550), 'work').message, /why \(answer of the server of account work\)/);
});

t.test('dateTime writes RFC 5322 dates', async (t) => {
  t.equal(dateTime(new Date('2024-01-05T00:00:09Z')), 'Fri, 5 Jan 2024 00:00:09 +0000');
});
