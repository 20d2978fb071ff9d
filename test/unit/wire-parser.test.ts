import fc from 'fast-check';
import t from 'tap';
import { isMergeboxError } from '../../src/util/errors.js';
import { parseDate, parseDateTime, formatDateTime } from '../../src/wire/dates.js';
import {
  MAX_FLAG,
  MAX_FLAGS,
  MAX_LIST_PATTERN,
  MAX_LIST_WILDCARDS,
  MAX_MAILBOX_NAME,
  MAX_OPTIONS,
  MAX_SET_RANGES,
  MAX_STRING_LITERAL,
} from '../../src/wire/limits.js';
import { decodeMutf7, encodeMutf7 } from '../../src/wire/mutf7.js';
import { ParseError } from '../../src/wire/parse-error.js';
import { CommandParser, decodeBase64 } from '../../src/wire/parser.js';
import { countIndexes, eachIndex, type IndexRange, SequenceSet, STAR } from '../../src/wire/sequence-set.js';
import { formatSet, SetBuilder } from '../../src/wire/set-builder.js';

const of = CommandParser.of;

/** A parser whose only content is a literal, with text around it. */
function withLiteral(bytes: Buffer | string, before = '', after = '', binary = false): CommandParser {
  return new CommandParser(
    [Buffer.from(before), Buffer.from(after)],
    [{ bytes: Buffer.from(bytes as string), binary }],
  );
}

/** What the parser makes of each input; a ParseError is its message in angle brackets. */
function results<T>(inputs: readonly (string | Buffer)[], parse: (parser: CommandParser) => T): (T | string)[] {
  return inputs.map((input) => {
    const parser = of(input);
    try {
      const value = parse(parser);
      parser.expectEnd();
      return value;
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return `<${error.message}>`;
    }
  });
}

t.test('ParseError is the protocol error whose message is the BAD text', async (t) => {
  t.throws(() => of('x').expectEnd(), { name: 'ParseError', code: 'protocol' });
  t.ok(isMergeboxError(new ParseError('x'), 'protocol'));
});

t.test('plain names decline without moving, expect names throw', async (t) => {
  const parser = of('(x 1)');
  t.equal(parser.atom(), null);
  t.equal(parser.number(), null);
  t.equal(parser.quoted(), null);
  t.equal(parser.string(), null);
  t.equal(parser.literal(), null);
  t.equal(parser.astring(), null);
  t.equal(parser.sequenceSet(), null);
  t.equal(parser.sp(), false);
  t.equal(parser.word('X'), false);
  t.equal(parser.peekChar('('), true);
  parser.expectChar('(');
  t.equal(parser.word('XX'), false);
  t.equal(parser.word('X'), true);
  parser.expectSp();
  t.equal(parser.number(), 1);
  t.equal(parser.peekRun(1), null);
  t.throws(() => parser.expectSp(), { message: 'Expected a space' });
  parser.expectChar(')');
  t.throws(() => parser.expectSp(), { message: 'Missing argument' });
  t.throws(() => parser.expectChar(')'), { message: 'Expected )' });
  t.equal(parser.peek(), -1);
  parser.expectEnd();
});

t.test('atom and astring end where RFC 9051 says', async (t) => {
  t.same(
    results(["a!#$&'+,-./:;<=>?@[^_`|}~Z", 'a]', 'a(', 'a{', 'a%', 'a*', 'a"', 'a\\', 'aé', ''], (p) =>
      p.expectAtom('it'),
    ),
    ["a!#$&'+,-./:;<=>?@[^_`|}~Z", ...Array(8).fill('<Unexpected text at the end of the command>'), '<Expected it>'],
  );
  t.same(
    results(['a]b', '"a b"', '""', 'a%'], (p) => p.expectAstringText('it')),
    ['a]b', 'a b', '', '<Unexpected text at the end of the command>'],
  );
});

t.test('quoted strings are unescaped, and refused where they break the grammar', async (t) => {
  t.same(
    results(['"a\\"b\\\\c"', '"', '"a', '"a\\', '"a\\"', '"\\n"', '"\0"', '"\r"', '"é\t"'], (p) =>
      p.expectString('it').toString(),
    ),
    [
      'a"b\\c',
      '<A quoted string has no end>',
      '<A quoted string has no end>',
      '<Only " and \\ may follow \\ in a quoted string>',
      '<A quoted string has no end>',
      '<Only " and \\ may follow \\ in a quoted string>',
      '<A quoted string holds NUL or CR; send it as a literal>',
      '<A quoted string holds NUL or CR; send it as a literal>',
      'é\t',
    ],
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('"', '\\', 'a', ' ', 'é', '{') }), (text) => {
      const parser = of(`"${text.replace(/["\\]/g, '\\$&')}"`);
      return parser.quoted()?.toString() === text && parser.atEnd();
    }),
  );
});

t.test('literals are strings, and messages when asked for as such', async (t) => {
  const parser = withLiteral('a\r\n"b', 'x ', ' y');
  t.equal(parser.atom(), 'x');
  t.equal(parser.literal(), null, 'not yet');
  parser.expectSp();
  t.equal(parser.peek(), 0x7b);
  t.equal(parser.atEnd(), false);
  t.equal(parser.atom(), null);
  t.equal(parser.astring()?.toString(), 'a\r\n"b');
  parser.expectSp();
  t.equal(parser.atom(), 'y');
  parser.expectEnd();

  t.throws(() => withLiteral('a\0b').expectString('it'), { message: 'A string holds NUL' });
  t.same(withLiteral('a\0b', '', '', true).expectLiteral('it'), { bytes: Buffer.from('a\0b'), binary: true });
  t.throws(() => of('"x"').expectLiteral('it'), { message: 'Expected it as a literal' });
  const long = Buffer.alloc(MAX_STRING_LITERAL, 'x');
  t.equal(withLiteral(long).expectString('it').length, MAX_STRING_LITERAL);
  t.throws(() => withLiteral(Buffer.concat([long, Buffer.from('x')])).expectString('it'), ParseError);
  t.throws(() => withLiteral(Buffer.of(0xff)).expectAstringText('it'), { message: 'Expected it in UTF-8' });
});

t.test('nstring is null for NIL only where it is no quoted string', async (t) => {
  t.same(
    results(['NIL', 'nil', '"NIL"', 'NILS'], (p) => p.expectNstring('it')?.toString() ?? null),
    [null, null, 'NIL', '<Expected it as a string>'],
  );
});

t.test('numbers stay within 32 bits, or 63', async (t) => {
  t.same(
    results(['0', '4294967295', '4294967296', '9'.repeat(30), '007', '-1', ''], (p) => p.expectNumber('it')),
    [
      0,
      4294967295,
      '<A number is above 4294967295>',
      '<A number is above 4294967295>',
      7,
      '<Expected it as a number>',
      '<Expected it as a number>',
    ],
  );
  t.same(
    results(['0', '1', 'x'], (p) => p.expectNzNumber('it')),
    ['<Expected it to be above 0>', 1, '<Expected it as a number>'],
  );
  const cap = Number.MAX_SAFE_INTEGER;
  t.same(
    results(
      [
        '0',
        '999999999999999',
        '9007199254740991',
        '9007199254740992',
        '9223372036854775807',
        '9223372036854775808',
        '9'.repeat(60_000),
        'x',
      ],
      (p) => p.expectModSeq(),
    ),
    [
      0,
      999999999999999,
      cap,
      cap,
      cap,
      '<a mod-sequence is above 2^63-1>',
      '<a mod-sequence is above 2^63-1>',
      '<Expected a mod-sequence as a number>',
    ],
  );
});

t.test('expectMailbox decodes modified UTF-7 and knows INBOX in any case', async (t) => {
  const inputs = [
    'inBox',
    '"INBOX"',
    'INBOX/x',
    '""',
    'Entw&APw-rfe',
    '"Entw&APw-rfe"',
    'R&-D',
    'R&D',
    '"Entwürfe"',
    Buffer.from('"\xff"', 'latin1'),
    '"a&AAo-b"',
    '(',
  ];
  t.same(
    results(inputs, (p) => p.expectMailbox()),
    [
      'INBOX',
      'INBOX',
      'INBOX/x',
      '',
      'Entwürfe',
      'Entwürfe',
      'R&D',
      'R&D',
      'Entwürfe',
      '<A quoted string is not UTF-8>',
      '<A mailbox name holds CR, LF or NUL>',
      '<Expected a mailbox name>',
    ],
  );
  t.same(
    results(['R&-D', '"Entwürfe"', 'inbox'], (p) => {
      p.utf8 = true;
      return p.expectMailbox();
    }),
    ['R&-D', 'Entwürfe', 'INBOX'],
    'as it stands when UTF-8 names are on',
  );
  const long = 'x'.repeat(MAX_MAILBOX_NAME);
  t.same(
    results([long, `${long}x`], (p) => p.expectMailbox()),
    [long, `<A mailbox name is longer than ${MAX_MAILBOX_NAME} octets>`],
  );
});

t.test('expectListMailbox takes wildcards, up to a limit', async (t) => {
  const many = '%'.repeat(MAX_LIST_WILDCARDS);
  const long = 'x'.repeat(MAX_LIST_PATTERN);
  t.same(
    results(['*', 'a]/%', '"Entw&APw-rfe/*"', '""', '(', many, `${many}*`, long, `${long}x`], (p) =>
      p.expectListMailbox(),
    ),
    [
      '*',
      'a]/%',
      'Entwürfe/*',
      '',
      '<Expected a mailbox pattern as a string>',
      many,
      '<Too many wildcards>',
      long,
      `<A mailbox name is longer than ${MAX_LIST_PATTERN} octets>`,
    ],
  );
});

t.test('flags are read as spelled, with or without parentheses where STORE allows it', async (t) => {
  t.same(
    results(['(\\Seen $x NonJunk)', '()', '(\\Seen', '(\\Seen  x)', '(\\)', '(\\*)', '\\Seen'], (p) =>
      p.expectFlagList(),
    ),
    [
      ['\\Seen', '$x', 'NonJunk'],
      [],
      '<Expected a space or ) in the flags>',
      '<Expected a flag>',
      '<Expected a flag>',
      '<Expected a flag>',
      '<Expected the flags in parentheses>',
    ],
  );
  t.same(
    results(['\\Seen \\Flagged', '(a b)', '()', ''], (p) => p.expectFlags()),
    [['\\Seen', '\\Flagged'], ['a', 'b'], [], '<Expected a flag>'],
  );
  const long = 'k'.repeat(MAX_FLAG);
  t.same(
    results([long, `${long}k`], (p) => p.expectFlag()),
    [long, `<A flag is longer than ${MAX_FLAG} octets>`],
  );
  const many = Array(MAX_FLAGS).fill('k');
  t.same(
    results([`(${many.join(' ')})`, `(${many.join(' ')} k)`], (p) => p.expectFlagList()),
    [many, `<More than ${MAX_FLAGS} elements in the flags>`],
  );
  t.same(
    results([many.join(' '), `${many.join(' ')} k`], (p) => p.expectFlags()),
    [many, `<More than ${MAX_FLAGS} flags>`],
  );
});

t.test('expectWords reads a list of atoms in upper case', async (t) => {
  const many = Array(MAX_OPTIONS).fill('X');
  t.same(
    results(['(a B)', '()', `(${many.join(' ')})`, `(${many.join(' ')} x)`], (p) => p.expectWords('it')),
    [['A', 'B'], '<Nothing in the parentheses of it>', many, `<More than ${MAX_OPTIONS} elements in it>`],
  );
  t.same(of('()').expectWords('it', { min: 0 }), []);
});

t.test('expectBase64 takes canonical base64 and = for nothing', async (t) => {
  t.same(
    results(['AGEAYg==', '=', 'AGEAYg', 'AG=A', '(', ''], (p) => p.expectBase64().toString('latin1')),
    ['\0a\0b', '', '<Expected base64>', '<Expected base64>', '<Expected base64>', '<Expected base64>'],
  );
  t.same(decodeBase64(Buffer.from('')), Buffer.alloc(0));
  t.equal(decodeBase64('A-_='), null);
});

t.test('INTERNALDATE is read and written in seconds', async (t) => {
  const cases: [string, number | null][] = [
    ['17-Jul-1996 02:44:25 -0700', Date.UTC(1996, 6, 17, 9, 44, 25) / 1000],
    [' 1-jan-1970 00:00:00 +0000', 0],
    ['01-JAN-1970 05:30:00 +0530', 0],
    ['1-Jan-1970 00:00:00 +0000', 0],
    ['29-Feb-2024 23:59:60 +0000', Date.UTC(2024, 2, 1) / 1000],
    ['29-Feb-2023 00:00:00 +0000', null],
    ['00-Jan-2023 00:00:00 +0000', null],
    ['01-Foo-2023 00:00:00 +0000', null],
    ['01-Jan-2023 24:00:00 +0000', null],
    ['01-Jan-2023 00:60:00 +0000', null],
    ['01-Jan-2023 00:00:61 +0000', null],
    ['01-Jan-2023 00:00:00 +0060', null],
    ['01-Jan-2023 00:00:00', null],
    ['01-Jan-23 00:00:00 +0000', null],
  ];
  for (const [text, seconds] of cases) t.equal(parseDateTime(text), seconds, text);
  t.equal(new Date(parseDateTime('01-Jan-0023 00:00:00 +0000')! * 1000).getUTCFullYear(), 23);
  t.equal(formatDateTime(837_596_665), '"17-Jul-1996 09:44:25 +0000"');
  t.equal(formatDateTime(0.9), '" 1-Jan-1970 00:00:00 +0000"');
  fc.assert(
    fc.property(fc.integer({ min: -62_167_219_200, max: 253_402_300_799 }), (seconds) => {
      return parseDateTime(formatDateTime(seconds).slice(1, -1)) === seconds;
    }),
  );
  for (const far of [-1e15, 1e15])
    t.match(formatDateTime(far), /^"[ \d]\d-(Jan|Dec)-(0000|9999) \d\d:\d\d:\d\d \+0000"$/);
  t.same(
    results(['"17-Jul-1996 02:44:25 -0700"', '17-Jul-1996', '""'], (p) => p.expectDateTime()),
    [
      837_596_665,
      '<Expected a date and time such as "17-Jul-1996 02:44:25 -0700">',
      '<Expected a date and time such as "17-Jul-1996 02:44:25 -0700">',
    ],
  );
});

t.test('expectDate is midnight UTC', async (t) => {
  t.equal(parseDate('1-Feb-1994'), Date.UTC(1994, 1, 1) / 1000);
  t.same(
    results(['1-Feb-1994', '"01-feb-1994"', '31-Feb-1994', '1-Feb-94', '""', ''], (p) => p.expectDate()),
    [760_060_800, 760_060_800, ...Array(4).fill('<Expected a date such as 17-Jul-1996>')],
  );
});

t.test('modified UTF-7 decodes exactly what it encodes', async (t) => {
  const pairs: [string, string][] = [
    ['~peter/mail/台北/日本語', '~peter/mail/&U,BTFw-/&ZeVnLIqe-'],
    ['R&D', 'R&-D'],
    ['&&', '&-&-'],
    ['Entwürfe', 'Entw&APw-rfe'],
    ['😀', '&2D3eAA-'],
    ['a\tb', 'a&AAk-b'],
    ['-,+', '-,+'],
    ['', ''],
  ];
  for (const [text, encoded] of pairs) {
    t.equal(encodeMutf7(text), encoded, text);
    t.equal(decodeMutf7(encoded), text, encoded);
  }
  t.equal(encodeMutf7('\ud800x'), '&,,0-x', 'a lone surrogate becomes U+FFFD');
  const malformed = [
    '&',
    'a&b',
    '&Jjo',
    '&Jjo!',
    '&U,BTFw-&ZeVnLIqe-',
    '&AGE-',
    '&AP/8-',
    '&A-',
    '&2D0-',
    '&APx-',
    '&APw=-',
    'ü',
    '\t',
  ];
  for (const text of malformed) t.equal(decodeMutf7(text), null, text);
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const encoded = encodeMutf7(text);
      return /^[\x20-\x7e]*$/.test(encoded) && decodeMutf7(encoded) === text;
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'&-,+AJjoUw9!') }), (encoded) => {
      const text = decodeMutf7(encoded);
      return text === null || encodeMutf7(text) === encoded;
    }),
    { numRuns: 2_000 },
  );
});

t.test('SequenceSet.parse takes the grammar and nothing else', async (t) => {
  t.same(SequenceSet.parse('2,4:7,9,12:*')?.ranges, [
    [2, 2],
    [4, 7],
    [9, 9],
    [12, STAR],
  ]);
  t.same(SequenceSet.parse('7:4,*:3,*:*')?.ranges, [
    [4, 7],
    [3, STAR],
    [STAR, STAR],
  ]);
  t.equal(SequenceSet.parse('$')?.saved, true);
  t.equal(SequenceSet.parse('1:4294967295')?.toString(), '1:4294967295');
  for (const text of ['2,4:7,9,12:*', '*', '$', '5', '1:4294967295']) t.equal(String(SequenceSet.parse(text)), text);
  for (const text of [
    '',
    '0',
    '1,',
    ',1',
    '1,,2',
    '1:',
    ':1',
    '1:2:3',
    '4294967296',
    '1:0',
    'a',
    '1 2',
    '-1',
    '$,1',
    '1,$',
    '**',
    '12345678901',
  ]) {
    t.equal(SequenceSet.parse(text), null, text);
  }
  t.equal(SequenceSet.parse('4:*')?.usesStar, true);
  t.equal(SequenceSet.parse('4')?.usesStar, false);
  t.equal(SequenceSet.parse('4:*,*,3:9')?.largest, 9);
  t.equal(SequenceSet.parse('*')?.largest, 0);
  t.same(
    results(['1:2', '1:2:3', 'x'], (p) => p.expectSequenceSet().toString()),
    ['1:2', '<Malformed or too long sequence set>', '<Expected a sequence set>'],
  );
});

t.test('SequenceSet takes MAX_SET_RANGES ranges and refuses one more', async (t) => {
  const ranges = Array(MAX_SET_RANGES).fill('1').join(',');
  t.equal(SequenceSet.parse(ranges)?.ranges.length, MAX_SET_RANGES);
  t.equal(SequenceSet.parse(`${ranges},1`), null);
});

const uids = Uint32Array.of(3, 5, 6, 7, 20, 4294967295, 0, 0);

t.test('SequenceSet resolves sequence numbers and UIDs to ascending merged positions', async (t) => {
  const sequence = (text: string, length: number): IndexRange[] =>
    SequenceSet.parse(text)!.indexRangesBySequence(length) as IndexRange[];
  t.same(sequence('1:4294967295', 3), [[0, 2]]);
  t.same(sequence('5:*', 3), [[2, 2]], 'n:* holds the last message even when n is above it');
  t.same(sequence('*', 3), [[2, 2]]);
  t.same(sequence('3,1,2', 9), [[0, 2]]);
  t.same(sequence('9,4:5,5:7,1', 9), [
    [0, 0],
    [3, 6],
    [8, 8],
  ]);
  for (const text of ['*', '1:*', '4:*', '1', '1:4294967295', '$']) t.same(sequence(text, 0), [], `${text} of nothing`);

  const byUid = (text: string): IndexRange[] => SequenceSet.parse(text)!.indexRangesByUid(uids, 6);
  t.same(byUid('1:4294967295'), [[0, 5]]);
  t.same(byUid('5,7'), [
    [1, 1],
    [3, 3],
  ]);
  t.same(byUid('7,5,6'), [[1, 3]]);
  t.same(byUid('8:19,21:100'), []);
  t.same(byUid('*'), [[5, 5]]);
  t.same(byUid('4294967294:*'), [[5, 5]]);
  t.same(byUid('4:8,100'), [[1, 3]]);
  t.same(SequenceSet.parse('559:*')!.indexRangesByUid(uids, 5), [[4, 4]], 'RFC 9051 §6.4.9: always the last');
  for (const text of ['*', '1:*', '1:4294967295']) {
    t.same(SequenceSet.parse(text)!.indexRangesByUid(uids, 0), [], `${text} of nothing`);
  }
  t.same(SequenceSet.parse('5:7,6:9,1')!.numberRanges(0, 8), [
    [1, 1],
    [5, 8],
  ]);
});

const number = fc.integer({ min: 1, max: 40 });
const end = fc.oneof(number, fc.constant(STAR));
const sets = fc.array(fc.tuple(end, end), { minLength: 1, maxLength: 8 });

t.test('SequenceSet agrees with spelling the set out', async (t) => {
  fc.assert(
    fc.property(sets, fc.uniqueArray(number, { maxLength: 30 }), (pairs, present) => {
      const name = (n: number): string => (n === STAR ? '*' : String(n));
      const set = SequenceSet.parse(pairs.map(([a, b]) => `${name(a)}:${name(b)}`).join(','))!;
      const sorted = Uint32Array.from(present).sort();
      const spell = (star: number, all: Iterable<number>): number[] =>
        [...all].filter((n) =>
          pairs.some(([a, b]) => {
            const [x, y] = [a, b].map((each) => (each === STAR ? star : each)) as [number, number];
            return n >= Math.min(x, y) && n <= Math.max(x, y);
          }),
        );
      const byUid = set.indexRangesByUid(sorted, sorted.length);
      const bySequence = set.indexRangesBySequence(sorted.length);
      for (const ranges of [byUid, bySequence]) {
        if (ranges.some(([first], at) => at > 0 && first <= ranges[at - 1]![1] + 1)) return false;
        if (countIndexes(ranges) !== [...eachIndex(ranges)].length) return false;
      }
      const foundUids = [...eachIndex(byUid)].map((index) => sorted[index]!);
      const foundNumbers = [...eachIndex(bySequence)].map((index) => index + 1);
      const numbers = Array.from(sorted, (_, index) => index + 1);
      return (
        foundUids.join() === spell(sorted.at(-1) ?? 0, sorted).join() &&
        foundNumbers.join() === spell(sorted.length, numbers).join()
      );
    }),
    { numRuns: 2_000 },
  );
  t.pass();
});

t.test('formatSet joins runs and reads back', async (t) => {
  t.equal(formatSet([1, 2, 3, 5]), '1:3,5');
  t.equal(formatSet([]), '');
  t.equal(formatSet([7]), '7');
  t.equal(formatSet([9, 1, 2, 4, 3]), '9,1:2,4,3', 'in the order given');
  fc.assert(
    fc.property(fc.uniqueArray(number, { minLength: 1 }), (numbers) => {
      const ascending = numbers.sort((a, b) => a - b);
      const back = SequenceSet.parse(formatSet(ascending))!.indexRangesBySequence(40);
      return [...eachIndex(back)].map((index) => index + 1).join() === ascending.join();
    }),
  );
});

t.test('SetBuilder counts, takes ranges, and cuts long sets into chunks', async (t) => {
  const builder = new SetBuilder();
  t.ok(builder.isEmpty);
  t.equal(builder.toString(), '');
  t.same(builder.chunks(10), []);
  builder.addRange(1, 4).add(5).addRange(6, 9).add(11).add(13).addRange(20, 29);
  t.equal(builder.count, 21);
  t.notOk(builder.isEmpty);
  t.equal(builder.toString(), '1:9,11,13,20:29');
  t.same(builder.chunks(7), ['1:9,11', '13', '20:29']);
  t.same(builder.chunks(8), ['1:9,11', '13,20:29']);
  t.same(builder.chunks(1), ['1:9', '11', '13', '20:29']);
  t.same(builder.chunks(100), ['1:9,11,13,20:29']);
});
