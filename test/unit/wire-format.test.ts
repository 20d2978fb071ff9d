import fc from 'fast-check';
import t from 'tap';
import { bodyFromStructure, valueEnd } from '../../src/wire/body.js';
import {
  formatAstring,
  formatDelimiter,
  formatFlagList,
  formatLine,
  formatLiteral,
  formatMailbox,
  formatNstring,
  formatQuoted,
  formatString,
  formatText,
  literalHeader,
} from '../../src/wire/format.js';
import { MAX_STRUCTURE_DEPTH } from '../../src/wire/limits.js';
import { CommandParser } from '../../src/wire/parser.js';

t.test('formatQuoted escapes, and declines what only a literal can carry', async (t) => {
  t.equal(formatQuoted('a "b" \\c\t'), '"a \\"b\\" \\\\c\t"');
  t.equal(formatQuoted(''), '""');
  for (const text of ['\r', '\n', '\0', '\x7f', '\x1b', 'é', '台'])
    t.equal(formatQuoted(text), null, JSON.stringify(text));
});

t.test('formatString picks a literal for long, 8-bit and control octets', async (t) => {
  t.equal(formatString('a"b').toString(), '"a\\"b"');
  t.equal(formatString('é').toString('latin1'), '{2}\r\n\xc3\xa9');
  t.equal(formatString(Buffer.of(0xe9)).toString('latin1'), '{1}\r\n\xe9');
  t.equal(formatString('a\nb').toString(), '{3}\r\na\nb');
  t.equal(formatString('x'.repeat(1_000)).toString(), `"${'x'.repeat(1_000)}"`);
  t.equal(formatString('x'.repeat(1_001)).toString(), `{1001}\r\n${'x'.repeat(1_001)}`);
  t.equal(formatNstring(null).toString(), 'NIL');
  t.equal(formatNstring('NIL').toString(), '"NIL"');
  t.equal(formatLiteral(Buffer.from('')).toString(), '{0}\r\n');
  t.equal(literalHeader(7, { binary: true }), '~{7}\r\n');
});

t.test('formatAstring gives an atom only where it reads back as that text', async (t) => {
  t.equal(formatAstring('FROM'), 'FROM');
  t.equal(formatAstring('nil'), '"nil"');
  t.equal(formatAstring(''), '""');
  t.equal(formatAstring('a b'), '"a b"');
  t.equal(formatAstring('a]'), '"a]"');
  t.equal(formatAstring('é'), '{2}\r\né');
});

t.test('formatMailbox is read back by expectMailbox, in both encodings', async (t) => {
  t.equal(formatMailbox('Entwürfe', { utf8: false }), '"Entw&APw-rfe"');
  t.equal(formatMailbox('Entwürfe', { utf8: true }), '"Entwürfe"');
  t.equal(formatMailbox('R&D', { utf8: false }), '"R&-D"');
  t.equal(formatMailbox('R&D', { utf8: true }), '"R&D"');
  t.equal(formatMailbox('a"b\\c', { utf8: false }), '"a\\"b\\\\c"');
  t.equal(formatMailbox('a\r\nb', { utf8: false }), '"a&AA0ACg-b"');
  t.equal(formatMailbox('a\r\nb', { utf8: true }), '{4}\r\na\r\nb');
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), fc.boolean(), (name, utf8) => {
      // In UTF-8 a name holds no controls (RFC 9051 §5.1).
      fc.pre(!(utf8 ? /[\p{Cc}\u2028\u2029]/u : /[\0\r\n]/).test(name) && name.toUpperCase() !== 'INBOX');
      const parser = CommandParser.of(formatMailbox(name, { utf8 }));
      parser.utf8 = utf8;
      return parser.expectMailbox() === name && parser.atEnd();
    }),
    { numRuns: 500 },
  );
});

t.test('formatFlagList, formatDelimiter and formatLine write what LIST and FETCH need', async (t) => {
  t.equal(formatFlagList(['\\Seen', 'x']), '(\\Seen x)');
  t.equal(formatFlagList([]), '()');
  t.equal(formatDelimiter('/'), '"/"');
  t.equal(formatDelimiter('\\'), '"\\\\"');
  t.equal(formatDelimiter(null), 'NIL');
  t.equal(formatLine(['* ', Buffer.from([0xff]), 'é']).toString('latin1'), '* \xff\xc3\xa9\r\n');
});

t.test('formatText is always one harmless line', async (t) => {
  t.equal(formatText('No such mailbox'), 'No such mailbox');
  t.equal(formatText('a\r\n* OK b\0c'), 'a * OK b c');
  t.equal(formatText(''), '-');
  t.equal(formatText(' \r\n'), '-');
  t.equal(formatText('[ALERT] hi'), '- [ALERT] hi');
  t.equal(formatText('Grüße'), 'Gr?e');
  t.equal(formatText('Grüße', { utf8: true }), 'Grüße');
  t.equal(formatText('x'.repeat(501)), `${'x'.repeat(500)}...`);
  t.equal(formatText('x'.repeat(500)).length, 500);
});

const TEXT = '("TEXT" "PLAIN" ("CHARSET" "us-ascii") NIL NIL "7BIT" 1152 23';
const ENVELOPE = '("date" "a (b" (("x" NIL "y" "z")) NIL NIL NIL NIL NIL NIL "<m@x>")';

t.test('bodyFromStructure drops extension data and keeps every other octet', async (t) => {
  const convert = (structure: string): string | null =>
    bodyFromStructure(Buffer.from(structure, 'latin1'))?.toString('latin1') ?? null;
  for (const [structure, body] of [
    [`${TEXT})`, `${TEXT})`],
    [`${TEXT} NIL NIL NIL NIL)`, `${TEXT})`],
    [`${TEXT} "md5" ("attachment" ("filename" "a)b")) ("en" "de") "loc" 5 (x (y)))`, `${TEXT})`],
    [
      '("application" "pdf" NIL "<id>" "d" "base64" 9 NIL ("inline" NIL) NIL NIL)',
      '("application" "pdf" NIL "<id>" "d" "base64" 9)',
    ],
    [`(${TEXT} NIL)${TEXT} NIL NIL) "mixed" ("boundary" "=_\\"x") NIL NIL NIL)`, `(${TEXT})${TEXT}) "mixed")`],
    [`(${TEXT} NIL) ${TEXT}) "mixed")`, `(${TEXT})${TEXT}) "mixed")`],
    [
      `("message" "RFC822" NIL NIL NIL "7bit" 99 ${ENVELOPE} ${TEXT} NIL) 12 NIL NIL)`,
      `("message" "RFC822" NIL NIL NIL "7bit" 99 ${ENVELOPE} ${TEXT}) 12)`,
    ],
    [
      `(("message" "global" NIL NIL NIL "8bit" 99 ${ENVELOPE} (${TEXT} NIL) "mixed" NIL) 12 NIL)${TEXT} "x") "digest" NIL)`,
      `(("message" "global" NIL NIL NIL "8bit" 99 ${ENVELOPE} (${TEXT}) "mixed") 12)${TEXT}) "digest")`,
    ],
    ['("message" "rfc822" NIL NIL NIL "7bit" 99 NIL ("inline" NIL))', '("message" "rfc822" NIL NIL NIL "7bit" 99)'],
    ['("message" "delivery-status" NIL NIL NIL "7bit" 99 NIL)', '("message" "delivery-status" NIL NIL NIL "7bit" 99)'],
    [
      '({4}\r\ntext "x" NIL NIL {6}\r\n)("\\\r\n "7bit" 1 2 NIL)',
      '({4}\r\ntext "x" NIL NIL {6}\r\n)("\\\r\n "7bit" 1 2)',
    ],
  ]) {
    t.equal(convert(structure!), body, structure!);
    t.equal(convert(body!), body, 'BODY is its own BODY');
  }
  for (const malformed of [
    '',
    'NIL',
    '()',
    '(',
    ')',
    '("text")',
    '("text" "plain" NIL NIL NIL "7bit" 5)',
    `${TEXT}`,
    `${TEXT}) `,
    `${TEXT} )`,
    `${TEXT} (`,
    `${TEXT} "`,
    `${TEXT} {9}\r\nabc)`,
    `(${TEXT}))`,
    `(${TEXT})`,
    '("message" "rfc822" NIL NIL NIL "7bit" 9 () NIL 1)',
    `${TEXT}\r\n)`,
  ]) {
    t.equal(convert(malformed), null, malformed);
  }
});

t.test('bodyFromStructure takes MAX_STRUCTURE_DEPTH levels and refuses one more', async (t) => {
  const nested = (depth: number, extension: string): Buffer =>
    Buffer.from(`${'('.repeat(depth)}${TEXT}${extension})${` "mixed"${extension})`.repeat(depth)}`);
  t.same(bodyFromStructure(nested(MAX_STRUCTURE_DEPTH, ' NIL')), nested(MAX_STRUCTURE_DEPTH, ''));
  t.equal(bodyFromStructure(nested(MAX_STRUCTURE_DEPTH + 1, '')), null);
  t.equal(bodyFromStructure(Buffer.alloc(1_000_000, '(')), null);
});

t.test('bodyFromStructure takes linear time for lists of any depth', async (t) => {
  // The recursion looks at bodies only, so lists inside a field are free to nest.
  const deep = Buffer.from(`${TEXT} ${'('.repeat(300_000)}${')'.repeat(300_000)})`);
  t.equal(bodyFromStructure(deep)?.toString(), `${TEXT})`);
  const wide = (parts: number): Buffer => Buffer.from(`(${`${TEXT} NIL (("x")))`.repeat(parts)} "mixed")`);
  const cost = (structure: Buffer): number => {
    let least = Number.POSITIVE_INFINITY;
    for (let run = 0; run < 5; run += 1) {
      const before = process.cpuUsage();
      bodyFromStructure(structure);
      least = Math.min(least, process.cpuUsage(before).user);
    }
    // The kernel may count none at all for so short a time.
    return Math.max(least, 1_000);
  };
  const ratio = cost(wide(16_000)) / cost(wide(2_000));
  t.ok(ratio < 28, `eight times the parts cost ${ratio.toFixed(1)} times as much`);
});

t.test('valueEnd steps over exactly one value', async (t) => {
  for (const [text, length] of [
    ['NIL x', 3],
    ['"a\\"b" x', 6],
    ['(a (b) "c)") x', 12],
    ['{3}\r\n) (x', 8],
    ['12)', 2],
    ['()', 2],
    [' x', -1],
    [')', -1],
    ['', -1],
    ['(a', -1],
    ['"a', -1],
    ['"a\\"', -1],
    ['{3}\r\nab', -1],
    ['{x}', -1],
    ['\r\n', -1],
  ] as const) {
    t.equal(valueEnd(Buffer.from(text), 0), length, text);
  }
});
