import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { isMergeboxError } from '../../src/util/errors.js';
import { modSeqText, parseResponse, type Response, uint32 } from '../../src/wire/response.js';
import { NO_DATE, parseInternalDate } from '../../src/wire/response-date.js';
import { contentRange, FetchItems, fetchLiteral, isFetch, parseFetch } from '../../src/wire/response-fetch.js';
import { type FramerLimits, ResponseFramer } from '../../src/wire/response-framer.js';
import { MAX_NESTING, MAX_SERVER_LITERAL } from '../../src/wire/response-limits.js';
import { stringContent } from '../../src/wire/response-scan.js';
import { countRanges, parseRanges, spreadRanges } from '../../src/wire/response-set.js';

const parse = (text: string): Response => {
  const bytes = Buffer.from(`xx${text}yy`, 'latin1');
  return parseResponse(bytes, 2, bytes.length - 2);
};

/** What a framer hands on, as text: responses, and streamed literals with the response up to them. */
function framed(chunks: readonly Buffer[], limits: FramerLimits): string[] {
  const events: string[] = [];
  const framer = new ResponseFramer(
    {
      response: (bytes, start, end, streamed) => {
        const marks = streamed === null ? '' : ` @${streamed.map((at) => at - start).join()}`;
        events.push(`R${marks} ${bytes.toString('latin1', start, end)}`);
      },
      literal: (bytes, start, end, size) => {
        events.push(`L ${size} ${bytes.toString('latin1', start, end)}`);
        if (size % 2 === 1) return null;
        const index = events.push('S ') - 1;
        return {
          chunk: (chunk) => {
            events[index] += chunk.toString('latin1');
          },
        };
      },
    },
    limits,
  );
  for (const chunk of chunks) framer.push(chunk);
  return events;
}

const TRANSCRIPT = Buffer.from(
  [
    '* OK [CAPABILITY IMAP4rev1 IDLE] ready {3}',
    '* 1 FETCH (UID 7 FLAGS (\\Seen) BODY[HEADER] {5}',
    'a\r\nb\n ENVELOPE ("x{9}" {0}',
    ' NIL))',
    '* 2 FETCH (UID 8 BODY[] {12}',
    'twelve\r\noct) FLAGS ())',
    '* 3 FETCH (UID 9 BODY[] {11}',
    'odd ignored FLAGS ())',
    '* 4 FETCH (BODY[1] {14}',
    '01234567890123 BODY[2] {16}',
    '0123456789{99}\r\n UID 4)',
    '',
    '* LIST () "/" {4}',
    'a{1}',
    'M1 OK done {5}',
    '* 5 EXISTS\n* BYE',
    '+ go ahead {7}',
    '',
  ].join('\r\n'),
  'latin1',
);
const SMALL: FramerLimits = { response: 200, streamAbove: 10 };

t.test('ResponseFramer hands on whole responses and streams large literals', (t) => {
  t.strictSame(framed([TRANSCRIPT], SMALL), [
    'R * OK [CAPABILITY IMAP4rev1 IDLE] ready {3}',
    'R * 1 FETCH (UID 7 FLAGS (\\Seen) BODY[HEADER] {5}\r\na\r\nb\n ENVELOPE ("x{9}" {0}\r\n NIL))',
    'L 12 * 2 FETCH (UID 8 BODY[] {12}',
    'S twelve\r\noct)',
    'R @24 * 2 FETCH (UID 8 BODY[] {12}\r\n FLAGS ())',
    'L 11 * 3 FETCH (UID 9 BODY[] {11}',
    'R @24 * 3 FETCH (UID 9 BODY[] {11}\r\n FLAGS ())',
    'L 14 * 4 FETCH (BODY[1] {14}',
    'S 01234567890123',
    'L 16 * 4 FETCH (BODY[1] {14}\r\n BODY[2] {16}',
    'S 0123456789{99}\r\n'.slice(0, 18),
    'R @19,34 * 4 FETCH (BODY[1] {14}\r\n BODY[2] {16}\r\n UID 4)',
    'R * LIST () "/" {4}\r\na{1}',
    'R M1 OK done {5}',
    'R * 5 EXISTS',
    'R * BYE',
    'R + go ahead {7}',
  ]);
  t.end();
});

t.test('ResponseFramer does not care how the octets are split', (t) => {
  const whole = framed([TRANSCRIPT], SMALL);
  for (let at = 0; at <= TRANSCRIPT.length; at += 1) {
    const halves = [TRANSCRIPT.subarray(0, at), TRANSCRIPT.subarray(at)];
    assert.deepEqual(framed(halves, SMALL), whole, `split at ${at}`);
  }
  const octets = Array.from(TRANSCRIPT, (_, at) => TRANSCRIPT.subarray(at, at + 1));
  t.strictSame(framed(octets, SMALL), whole, 'octet by octet');
  fc.assert(
    fc.property(fc.array(fc.nat({ max: TRANSCRIPT.length }), { maxLength: 20 }), (cuts) => {
      const sorted = [0, ...cuts.sort((a, b) => a - b), TRANSCRIPT.length];
      const chunks = sorted.slice(1).map((end, index) => TRANSCRIPT.subarray(sorted[index], end));
      assert.deepEqual(framed(chunks, SMALL), whole);
    }),
    { numRuns: 200 },
  );
  t.end();
});

t.test('ResponseFramer holds its limits at the cap and one over', (t) => {
  const limits = { response: 50, streamAbove: 20 };
  const line = (length: number): Buffer => Buffer.from(`* ${'x'.repeat(length - 2)}\r\n`);
  for (const pieces of [1, 7]) {
    const cut = (bytes: Buffer): Buffer[] => {
      const size = Math.ceil(bytes.length / pieces);
      return Array.from({ length: pieces }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
    };
    t.equal(framed(cut(line(48)), limits).length, 1);
    t.throws(() => framed(cut(line(51)), limits), { code: 'protocol' });
    t.throws(() => framed(cut(Buffer.from('x'.repeat(51))), limits), { code: 'protocol' }, 'a line without end');
  }
  const literals = `* 1 FETCH (${'A {9}\r\n123456789 '.repeat(4)})\r\n`;
  t.throws(() => framed([Buffer.from(literals)], limits), { code: 'protocol' }, 'literals count');
  const size = (digits: string): Buffer => Buffer.from(`* 1 FETCH (BODY[] {${digits}}\r\n`);
  const room = { response: 200, streamAbove: 20 };
  t.equal(framed([size(String(MAX_SERVER_LITERAL))], room).length, 1);
  t.throws(() => framed([size(String(MAX_SERVER_LITERAL + 1))], room), { code: 'protocol' });
  t.throws(() => framed([size('9'.repeat(40))], room), { code: 'protocol' });
  t.end();
});

t.test('ResponseFramer takes time linear in the octets, however small the pieces', (t) => {
  const literal = Buffer.from(`* 1 FETCH (BODY[HEADER] {200000}\r\n${'h'.repeat(200_000)})\r\n`);
  const start = process.cpuUsage();
  const octets = Array.from(literal, (_, at) => literal.subarray(at, at + 1));
  t.equal(framed(octets, { response: 300_000, streamAbove: 262_144 }).length, 1);
  const { user } = process.cpuUsage(start);
  t.ok(user < 3_000_000, `${user} µs`);
  t.end();
});

interface Fetched {
  readonly [item: string]: unknown;
}

function fetched(text: string): Fetched {
  const bytes = Buffer.from(`zz${text}`, 'latin1');
  const items = new FetchItems();
  assert(isFetch(bytes, 2, bytes.length), text);
  parseFetch(bytes, 2, bytes.length, null, items);
  const slice = (start: number, end: number): string | null =>
    start === -1 ? null : bytes.toString('latin1', start, end);
  return {
    sequence: items.sequence,
    uid: items.uid,
    size: items.size,
    date: items.date === NO_DATE ? null : items.date,
    flags: slice(items.flagsStart, items.flagsEnd),
    modSeq: slice(items.modSeqStart, items.modSeqEnd),
    envelope: slice(items.envelopeStart, items.envelopeEnd),
    structure: slice(items.structureStart, items.structureEnd),
    header: slice(items.headerStart, items.headerEnd),
    body: slice(items.bodyStart, items.bodyEnd),
  };
}

t.test('parseFetch slices items raw, in any order and spelling', (t) => {
  const all = {
    UID: ['uid', '4711'],
    FLAGS: ['flags', '(\\Seen $Label1 \\*)'],
    INTERNALDATE: ['date', '"17-Jul-1996 02:44:25 -0700"'],
    'RFC822.SIZE': ['size', '4286'],
    ENVELOPE: ['envelope', '("Wed" {5}\r\na)b"( ((NIL NIL "x\\"y" "z)")) NIL)'],
    BODYSTRUCTURE: ['structure', '(("text" "plain" NIL)("a" "b" ("x" {3}\r\n))))) "mixed")'],
    'BODY[HEADER]': ['header', '{8}\r\nA: (\r\n\r\n'],
    'BODY[1.MIME]<0>': ['body', '"x"'],
    MODSEQ: ['modSeq', '(18446744073709551)'],
    'X-GM-LABELS': ['', '("a b" \\Inbox {2}\r\n)))'],
    EMAILID: ['', '(M6d99ac3275bb4e)'],
    PREVIEW: ['', 'NIL'],
  } as const;
  const expected = {
    sequence: 12,
    uid: 4711,
    size: 4286,
    date: Date.UTC(1996, 6, 17, 9, 44, 25) / 1_000,
    flags: '\\Seen $Label1 \\*',
    modSeq: '18446744073709551',
    envelope: all.ENVELOPE[1],
    structure: all.BODYSTRUCTURE[1],
    header: all['BODY[HEADER]'][1],
    body: '"x"',
  };
  const names = Object.keys(all) as (keyof typeof all)[];
  fc.assert(
    fc.property(fc.shuffledSubarray(names, { minLength: names.length }), fc.boolean(), (order, lower) => {
      const spelled = (name: string): string => (lower ? name.toLowerCase() : name);
      const list = order.map((name) => `${spelled(name)} ${all[name][1]}`).join(' ');
      assert.deepEqual(fetched(`* 12 FETCH (${list})`), expected);
    }),
    { numRuns: 100 },
  );
  t.match(fetched('* 1 FETCH ()'), { uid: -1, flags: null, date: null });
  t.match(fetched('* 1 FETCH (FLAGS() RFC822.HEADER "" RFC822 NIL)'), { flags: '', header: '""', body: 'NIL' });
  t.match(fetched('* 1 FETCH (ENVELOPE NIL INTERNALDATE NIL UID 3)'), { envelope: 'NIL', date: null, uid: 3 });
  t.end();
});

t.test('parseFetch refuses what is malformed, and deep nesting in linear time', (t) => {
  const items = new FetchItems();
  const attempt = (text: string): void => {
    const bytes = Buffer.from(text, 'latin1');
    parseFetch(bytes, 0, bytes.length, null, items);
  };
  for (const rest of ['', '(', '(UID', '(UID 1', '(FLAGS \\Seen)', '(FLAGS (', '(BODY[ 1)', '(ENVELOPE ("a)']) {
    t.throws(() => attempt(`* 1 FETCH ${rest}`), { code: 'protocol' }, rest);
  }
  t.throws(() => attempt('* 1 FETCH (BODY[] {50}\r\nshort)'), { code: 'protocol' }, 'literal past the end');
  t.throws(() => attempt('* 1 FETCH (BODY[] {5)'), { code: 'protocol' });
  const nested = (depth: number): string => `* 1 FETCH (BODYSTRUCTURE ${'('.repeat(depth)}${')'.repeat(depth)})`;
  attempt(nested(MAX_NESTING));
  t.throws(() => attempt(nested(MAX_NESTING + 1)), { code: 'protocol' });
  t.throws(() => attempt(nested(1_000_000)), { code: 'protocol' });
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (noise) => {
      try {
        attempt(`* 1 FETCH (${noise}`);
      } catch (error) {
        assert(isMergeboxError(error, 'protocol'), String(error));
      }
    }),
    { numRuns: 2_000 },
  );
  t.end();
});

t.test('isFetch takes FETCH and nothing else', (t) => {
  const is = (text: string): boolean => isFetch(Buffer.from(text), 0, text.length);
  t.ok(is('* 1 FETCH ()'));
  t.ok(is('* 4294967295 fetch (UID 1)'));
  for (const other of ['* FETCH ()', '* 1 EXISTS', '* 1 FETCHED ()', '* 1FETCH ()', 'M1 OK FETCH', '* 1', '']) {
    t.notOk(is(other), other);
  }
  t.end();
});

t.test('a literal that was streamed leaves its place empty', (t) => {
  const bytes = Buffer.from('* 1 FETCH (BODY[] {5000}\r\n UID 9 FLAGS (a))');
  const items = new FetchItems();
  parseFetch(bytes, 0, bytes.length, [bytes.indexOf('{')], items);
  t.match(items, { uid: 9, bodyStart: bytes.indexOf('{') });
  t.strictSame(contentRange(bytes, items.bodyStart, items.bodyEnd), [items.bodyEnd, items.bodyEnd]);
  t.end();
});

t.test('fetchLiteral tells item and UID of the literal to come', (t) => {
  const tell = (text: string): unknown => fetchLiteral(Buffer.from(`q${text}`), 1, text.length + 1);
  t.strictSame(tell('* 1 FETCH (UID 7 BODY[] {9}'), { uid: 7, item: 'body' });
  t.strictSame(tell('* 1 FETCH (BODY[] {9}'), { uid: -1, item: 'body' });
  t.strictSame(tell('* 1 FETCH (FLAGS (x) UID 12 RFC822.HEADER {9}'), { uid: 12, item: 'header' });
  t.strictSame(tell('* 1 FETCH (UID 3 ENVELOPE ("a" {9}'), { uid: 3, item: 'other' });
  t.strictSame(tell('* 1 FETCH (ENVELOPE ("UID 3" BODY[] {9}'), { uid: -1, item: 'body' });
  t.end();
});

t.test('parseInternalDate agrees with Date.UTC and knows what is no date', (t) => {
  const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');
  const two = (n: number): string => String(n).padStart(2, '0');
  const date = fc.date({ min: new Date('1900-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
  fc.assert(
    fc.property(date, fc.integer({ min: -840, max: 840 }), (utc, zone) => {
      const seconds = Math.floor(utc.getTime() / 1_000);
      const local = new Date((seconds + zone * 60) * 1_000);
      const day = String(local.getUTCDate()).padStart(2, ' ');
      const time = [local.getUTCHours(), local.getUTCMinutes(), local.getUTCSeconds()].map(two).join(':');
      const sign = zone < 0 ? '-' : '+';
      const offset = `${sign}${two(Math.floor(Math.abs(zone) / 60))}${two(Math.abs(zone) % 60)}`;
      const year = String(local.getUTCFullYear()).padStart(4, '0');
      const text = `"${day}-${months[local.getUTCMonth()]}-${year} ${time} ${offset}"`;
      assert.equal(parseInternalDate(Buffer.from(text), 0, text.length), seconds, text);
    }),
  );
  for (const text of ['NIL', '""', '"17-Jul-1996"', '"17-Foo-1996 02:44:25 -0700"', '"xx-Jul-1996 02:44:25 -0700"']) {
    t.equal(parseInternalDate(Buffer.from(text), 0, text.length), NO_DATE, text);
  }
  t.end();
});

t.test('parseResponse reads every kind that a reader needs', (t) => {
  t.strictSame(parse('M3 OK [HIGHESTMODSEQ 7] done  now'), {
    kind: 'tagged',
    tag: 'M3',
    status: 'OK',
    code: { name: 'HIGHESTMODSEQ', argument: '7' },
    text: 'done  now',
  });
  t.match(parse('a NO'), { kind: 'tagged', status: 'NO', code: null, text: '' });
  t.match(parse('* OK [PERMANENTFLAGS (\\Seen [x] \\*)] limited'), {
    kind: 'condition',
    code: { name: 'PERMANENTFLAGS', argument: '(\\Seen [x] \\*)' },
    text: 'limited',
  });
  t.match(parse('* BYE [UNAVAILABLE'), { kind: 'condition', status: 'BYE', code: null, text: '[UNAVAILABLE' });
  t.match(parse('* PREAUTH hi'), { kind: 'condition', status: 'PREAUTH' });
  t.strictSame(parse('+ bo\x01red'), { kind: 'continuation', text: 'bo red' });
  t.strictSame(parse('* 23 EXISTS'), { kind: 'exists', number: 23 });
  t.strictSame(parse('* 2 Expunge'), { kind: 'expunge', number: 2 });
  t.strictSame(parse('* 0 RECENT'), { kind: 'recent', number: 0 });
  t.strictSame(parse('* capability imap4rev1 Auth=PLAIN '), { kind: 'capability', names: ['IMAP4REV1', 'AUTH=PLAIN'] });
  t.strictSame(parse('* ENABLED QRESYNC'), { kind: 'enabled', names: ['QRESYNC'] });
  t.strictSame(parse('* FLAGS (\\Seen a)'), { kind: 'flags', flags: ['\\Seen', 'a'] });
  t.strictSame(parse('* VANISHED (EARLIER) 1:3,9,7:5'), {
    kind: 'vanished',
    earlier: true,
    uids: [
      [1, 3],
      [9, 9],
      [5, 7],
    ],
  });
  t.match(parse('* VANISHED 4294967295'), { earlier: false, uids: [[4294967295, 4294967295]] });
  t.strictSame(parse('* SEARCH'), { kind: 'search', numbers: [] });
  t.strictSame(parse('* SEARCH 5 1 9 (MODSEQ 3)'), { kind: 'search', numbers: [5, 1, 9] });
  t.strictSame(parse('* ESEARCH (TAG "M1") UID MIN 2 COUNT 3 ALL 2:3,8 MODSEQ 9'), {
    kind: 'esearch',
    tag: 'M1',
    all: [
      [2, 3],
      [8, 8],
    ],
  });
  t.strictSame(parse('* ESEARCH (TAG "M1") UID'), { kind: 'esearch', tag: 'M1', all: [] });
  const status = parse('* STATUS "a \\"b\\"" (MESSAGES 3 uidnext 4)');
  t.match(status, { kind: 'status', mailbox: 'a "b"' });
  if (status.kind === 'status')
    t.strictSame(
      [...status.items],
      [
        ['MESSAGES', '3'],
        ['UIDNEXT', '4'],
      ],
    );
  t.match(parse('* STATUS {3}\r\nx(y ()'), { mailbox: 'x(y' });
  t.strictSame(parse('* LIST (\\HasNoChildren \\Sent) NIL &AOk-'), {
    kind: 'list',
    attributes: ['\\hasnochildren', '\\sent'],
    mailbox: '&AOk-',
  });
  t.strictSame(parse('* XYZZY 1'), { kind: 'other', name: 'XYZZY' });
  t.strictSame(parse('* 3 PLUGH'), { kind: 'other', name: 'PLUGH' });
  t.end();
});

t.test('parseResponse refuses what is malformed and takes any octets without harm', (t) => {
  for (const text of ['garbage', 'M1 YES', '* SEARCH 1 x', '* VANISHED 0', '* VANISHED 1:4294967296', '* STATUS x']) {
    t.throws(() => parse(text), { code: 'protocol' }, text);
  }
  fc.assert(
    fc.property(
      fc.constantFrom('', '* ', '* OK [', '* ESEARCH ', '* STATUS ', '* LIST ', '* VANISHED ', 'M1 NO '),
      fc.string({ unit: 'binary', maxLength: 80 }),
      (start, rest) => {
        try {
          parse(start + rest);
        } catch (error) {
          assert(isMergeboxError(error, 'protocol'), String(error));
        }
      },
    ),
    { numRuns: 3_000 },
  );
  t.end();
});

t.test('sets stay ranges until somebody asks for the numbers', (t) => {
  const ranges = parseRanges('1:4294967295,7', 'x');
  t.equal(countRanges(ranges), 4_294_967_296);
  t.throws(() => spreadRanges(ranges, 'x'), { code: 'protocol' });
  t.strictSame([...spreadRanges(parseRanges('3:5,1', 'x'), 'x', 4)], [3, 4, 5, 1]);
  t.throws(() => spreadRanges(parseRanges('3:5,1', 'x'), 'x', 3), { code: 'protocol' });
  t.throws(() => parseRanges('1:*', 'x'), { code: 'protocol' });
  t.strictSame(parseRanges('', 'x'), []);
  t.end();
});

t.test('stringContent, uint32 and modSeqText', (t) => {
  const content = (text: string): string | null =>
    stringContent(Buffer.from(text, 'latin1'), 0, text.length)?.toString('latin1') ?? null;
  t.equal(content('NIL'), null);
  t.equal(content('""'), '');
  t.equal(content('"a\\"\\\\b"'), 'a"\\b');
  t.equal(content('{3}\r\n"x"'), '"x"');
  t.equal(content('~{1}\r\n\0'), '\0');
  t.equal(content('atom'), 'atom');
  t.equal(uint32('4294967295', 'x'), 4_294_967_295);
  t.throws(() => uint32('4294967296', 'x'), { code: 'protocol' });
  t.throws(() => uint32('-1', 'x'), { code: 'protocol' });
  t.equal(modSeqText('9223372036854775807'), '9223372036854775807');
  for (const text of [undefined, '0', '', 'x', '12345678901234567890']) t.equal(modSeqText(text), null);
  t.end();
});
