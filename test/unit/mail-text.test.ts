import fc from 'fast-check';
import t from 'tap';
import { decodeCharset, knownCharset } from '../../src/mail/charset.js';
import {
  fieldName,
  fieldValue,
  fieldValues,
  headerEnd,
  headerFields,
  MAX_FIELD_OCTETS,
  unfoldedValue,
} from '../../src/mail/header.js';
import { parseMessageDate } from '../../src/mail/header-date.js';
import { filterHeader, HeaderFilter } from '../../src/mail/header-filter.js';
import { parseMime } from '../../src/mail/mime.js';
import { decodePart, TransferDecoder, type TransferEncoding } from '../../src/mail/mime-transfer.js';
import { decodeHeader, type SearchScope, searchText } from '../../src/mail/text.js';
import { CORPUS, mail } from './mail-corpus.js';

t.test('headerEnd stands behind the blank line, or at the end where there is none', async (t) => {
  t.equal(headerEnd(Buffer.from('A: b\r\n\r\nbody')), 8);
  t.equal(headerEnd(Buffer.from('A: b\n\nbody')), 6);
  t.equal(headerEnd(Buffer.from('A: b\n\r\nbody')), 7);
  t.equal(headerEnd(Buffer.from('\r\nbody')), 2);
  t.equal(headerEnd(Buffer.from('\nbody')), 1);
  t.equal(headerEnd(Buffer.from('A: b\r\n \r\nC: d')), 13, 'a line of white space is a fold');
  t.equal(headerEnd(Buffer.from('A: b')), 4);
  t.equal(headerEnd(Buffer.from('A: b\r')), 5);
  t.equal(headerEnd(Buffer.alloc(0)), 0);
  t.equal(headerEnd(Buffer.from('xxA: b\r\n\r\nyy'), 2, 8), 8, 'within bounds');
});

t.test('fieldValue unfolds and trims; names have no case and may have spaces behind', async (t) => {
  const header = mail(
    'Subject: one',
    '\ttwo ',
    '  three',
    'SUBJECT : four',
    'no colon: here',
    'X',
    ':empty',
    '',
    'Subject: body',
  );
  t.equal(fieldValue(header, 'subject'), 'one\ttwo   three');
  t.same(fieldValues(header, 'Subject'), ['one\ttwo   three', 'four']);
  t.equal(fieldValue(header, 'X'), null, 'a line without colon has no name');
  t.equal(fieldValue(header, ''), '', 'it counts as nameless');
  t.equal(fieldValue(header, 'to'), null);
  const long = mail(`A: ${'x'.repeat(MAX_FIELD_OCTETS + 10)}`);
  t.equal(fieldValue(long, 'A')?.length, MAX_FIELD_OCTETS - 1, 'no more than the cap, blank included');
});

t.test('HeaderFilter splits the fields of any header between FIELDS and FIELDS.NOT, as they are', async (t) => {
  const names = ['From', 'SUBJECT', 'received', 'X-None', 'message-id'];
  for (const [mailName, bytes] of CORPUS) {
    const header = bytes.subarray(0, headerEnd(bytes));
    const end = [...headerFields(header)].at(-1)?.end ?? 0;
    const blank = end < header.length ? '\r\n' : '';
    const slow = (not: boolean): string => {
      let text = '';
      for (const field of headerFields(header)) {
        const named = names.some((name) => name.toLowerCase() === fieldName(header, field));
        if (named !== not) text += header.toString('latin1', field.start, field.end);
      }
      return text === '' || text.endsWith('\n') ? text : `${text}\r\n`;
    };
    for (const not of [false, true]) {
      const actual = filterHeader(header, names, not).toString('latin1');
      t.ok(actual === slow(not) + blank, `${mailName}, ${not ? 'not' : 'only'} named`);
    }
  }
  t.equal(filterHeader(Buffer.from('A: b\r\nC: d\r\n\r\nbody'), ['c'], false).toString(), 'C: d\r\n\r\n');
  t.equal(filterHeader(Buffer.from('A: b\r\nC: d\r\n\r\nbody'), ['c'], true).toString(), 'A: b\r\n\r\n');
  t.equal(filterHeader(Buffer.from('A: b\r\n\r\n'), ['c'], false).toString(), '\r\n', 'the blank line alone');
  t.equal(filterHeader(Buffer.from('A: b\r\n'), ['a'], false).toString(), 'A: b\r\n', 'no blank line, none made up');
  t.equal(filterHeader(Buffer.from('A: b'), ['a'], false).toString(), 'A: b\r\n', 'a cut line gets its end');
  t.equal(
    filterHeader(Buffer.from('A\t : b\r\n c\r\nAB: d\r\n\r\n'), ['a'], false).toString(),
    'A\t : b\r\n c\r\n\r\n',
  );
  t.equal(filterHeader(Buffer.from('A: b\r\n\r\n'), [], true).toString(), 'A: b\r\n\r\n', 'no names at all');
  const compiled = new HeaderFilter(['a', 'A', 'b'], false);
  t.equal(
    compiled.apply(Buffer.from('B: 1\nA: 2\nC: 3\n\n')).toString(),
    'B: 1\nA: 2\n\r\n',
    'one filter, many headers',
  );
  t.equal(compiled.apply(Buffer.from('C: 1\r\n\r\n')).toString(), '\r\n');
});

t.test('HeaderFilter finds exactly its names among thousands', async (t) => {
  const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,12}$/);
  fc.assert(
    fc.property(
      fc.array(name, { maxLength: 40 }),
      fc.array(name, { minLength: 1, maxLength: 40 }),
      (wanted, present) => {
        const header = Buffer.from(`${present.map((each, at) => `${each}: ${at}\r\n`).join('')}\r\n`);
        const set = new Set(wanted.map((each) => each.toLowerCase()));
        const expected = present.map((each, at) => (set.has(each.toLowerCase()) ? `${each}: ${at}\r\n` : '')).join('');
        return new HeaderFilter(wanted, false).apply(header).toString() === `${expected}\r\n`;
      },
    ),
  );
  t.pass();
});

t.test('parseMessageDate reads what senders write and nothing else', async (t) => {
  const at = (value: string): string | null => {
    const date = parseMessageDate(value);
    return date === null ? null : `${new Date(date.instant * 1000).toISOString()} ${date.offset}`;
  };
  t.equal(at('Tue, 02 Jan 2024 10:11:12 +0130'), '2024-01-02T08:41:12.000Z 90');
  t.equal(at('2 Jan 2024 10:11 -0800 (PST)'), '2024-01-02T18:11:00.000Z -480');
  t.equal(at('Tue, 2 January 24 10:11:12 GMT'), '2024-01-02T10:11:12.000Z 0');
  t.equal(at('Sat, 01-Feb-97 00:00:00 EST'), '1997-02-01T05:00:00.000Z -300');
  t.equal(at('Fri, 31 Dec 1999 23:59:60 +0000'), '2000-01-01T00:00:00.000Z 0', 'a leap second');
  t.equal(at('29 Feb 2024 00:00:00'), '2024-02-29T00:00:00.000Z 0');
  for (const wrong of [
    '',
    'yesterday',
    '30 Feb 2024 00:00:00',
    '1 Xyz 2024 00:00',
    '1 Jan 2024 24:00',
    '1 Jan 2024',
    '0 Jan 2024 01:00',
  ]) {
    t.equal(at(wrong), null, wrong);
  }
});

t.test('decodeHeader: the examples of RFC 2047 §8 and what senders make of it', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['=?ISO-8859-1?Q?a?=', 'a'],
    ['=?ISO-8859-1?Q?a?= b', 'a b'],
    ['=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=', 'ab'],
    ['=?ISO-8859-1?Q?a?=  \r\n   =?ISO-8859-1?Q?b?=', 'ab'],
    ['=?ISO-8859-1?Q?a_b?=', 'a b'],
    ['=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=', 'a b'],
    ['=?utf-8?b?4oKs?= x', '€ x'],
    ['=?utf-8?Q?=E2=82?= =?UTF-8?q?=AC?=', '€'],
    ['=?utf-8*en?q?=C3=A9?=', 'é'],
    ['=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=', '=?iso-2022-jp?b?GyRCRnxLXBsoQg==?='],
    ['=?x-unheard-of?q?=C3=A9?=', 'é'],
    ['=?x-unheard-of?q?=E9?=', 'é'],
    ['=?utf-8?q?open', '=?utf-8?q?open'],
    ['=?utf-8?x?y?=', '=?utf-8?x?y?='],
    ['a =? b =?utf-8?q?c?=', 'a =? b c'],
    ['\xc3\xa9 \xe2\x82\xac', 'é €'],
    ['\xe9', 'é'],
    ['folded\r\n text', 'folded text'],
    ['', ''],
  ];
  for (const [value, text] of cases) {
    if (value.includes('iso-2022-jp')) t.equal(typeof decodeHeader(value), 'string', 'a charset that is not at hand');
    else t.equal(decodeHeader(value), text, value);
  }
  t.equal(decodeHeader(Buffer.from('\xe9=?utf-8?q?=C3=A9?=', 'latin1')), 'éé', 'a Buffer as well');
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (text) => decodeHeader(`=?utf-8?b?${Buffer.from(text).toString('base64')}?=`) === text || text.length > 1000,
    ),
  );
});

t.test('decodeCharset falls back to UTF-8 and ISO 8859-1', async (t) => {
  t.equal(decodeCharset(Buffer.from([0x80]), 'windows-1252'), '€');
  t.equal(decodeCharset(Buffer.from([0xa4]), 'ISO-8859-15'), '€');
  t.equal(decodeCharset(Buffer.from('é'), null), 'é');
  t.equal(decodeCharset(Buffer.from([0xe9]), null), 'é');
  t.equal(decodeCharset(Buffer.from([0xe9]), 'us-ascii'), 'é');
  t.equal(decodeCharset(Buffer.from([0xe9]), 'utf-8'), 'é', 'a lie about UTF-8 is found out');
  t.equal(decodeCharset(Buffer.from('\ufffd'), 'utf-8'), '\ufffd', 'a true U+FFFD is none');
  t.equal(decodeCharset(Buffer.from([0xc4, 0xe3]), 'GB2312'), '你');
  t.equal(knownCharset('no-such-charset'), null);
  t.equal(knownCharset(''), null);
  t.equal(knownCharset('base64'), null, 'a codec is no charset');
  t.equal(knownCharset('__proto__'), null);
});

const decoded = (encoding: TransferEncoding, ...pieces: readonly Buffer[]): string => {
  const decoder = new TransferDecoder(encoding);
  return Buffer.concat([...pieces.map((piece) => decoder.write(piece)), decoder.end()]).toString('latin1');
};

t.test('TransferDecoder undoes base64 and quoted-printable, and bears what is broken', async (t) => {
  const qp = (text: string): string => decoded('quoted-printable', Buffer.from(text, 'latin1'));
  t.equal(qp('caf=C3=a9 =3D\r\n'), 'caf\xc3\xa9 =\r\n');
  t.equal(qp('soft=\r\nbreak=\nhere= \t\r\nend='), 'softbreakhereend');
  t.equal(qp('trailing \t\r\nspace=20 \r\nlast  '), 'trailing\r\nspace \r\nlast  ');
  t.equal(qp('=ZZ = =4'), '=ZZ = =4');
  t.equal(qp('a\nb\rc'), 'a\nb\rc');
  const b64 = (text: string): string => decoded('base64', Buffer.from(text, 'latin1'));
  t.equal(b64('aGVs\r\nbG8='), 'hello');
  t.equal(b64('aGVs!-bG8'), 'hello');
  t.equal(b64('a'), '');
  t.equal(decoded('identity', Buffer.from('a=20')), 'a=20');
});

t.test('TransferDecoder gives the same however its input is cut', async (t) => {
  const text = fc.oneof(
    fc.string({ unit: fc.constantFrom('=', '4', '1', ' ', '\t', '\r', '\n', 'a', '\xe9', '=3D', '=\r\n') }),
    fc.base64String(),
  );
  fc.assert(
    fc.property(
      text,
      fc.array(fc.nat(30), { maxLength: 8 }),
      fc.constantFrom('base64', 'quoted-printable'),
      (whole, cuts, name) => {
        const encoding = name as TransferEncoding;
        const bytes = Buffer.from(whole, 'latin1');
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts) {
          pieces.push(bytes.subarray(at, at + cut));
          at += cut;
        }
        pieces.push(bytes.subarray(at));
        return decoded(encoding, ...pieces) === decoded(encoding, bytes);
      },
    ),
    { numRuns: 2000 },
  );
  t.pass();
});

const found = (bytes: Buffer, scope: Partial<SearchScope> = {}): string[] => [
  ...searchText(bytes, parseMime(bytes), { header: false, overlap: 0, ...scope }),
];

t.test('searchText gives decoded text, the fields of parts, and no attachments', async (t) => {
  const bytes = CORPUS.get('mixed-related-alternative')!;
  const body = found(bytes).join('\n');
  t.match(body, '<p>café = €</p> more');
  t.match(body, 'this is text.');
  t.match(body, 'content-description: the report');
  t.notMatch(body, 'JVBERi0xLjQK', 'what is no text is left out');
  t.notMatch(body, 'An ordinary subject');
  t.match(found(bytes, { header: true }).join('\n'), 'subject: An ordinary subject');
  t.match(found(CORPUS.get('forwarded')!).join('\n'), 'subject: An ordinary subject', 'of the message inside');
  t.match(found(CORPUS.get('encoded-headers')!, { header: true }).join('\n'), 'subject: € und über plain');
  const part = (type: string, text: string, ...fields: string[]): string =>
    found(mail(`Content-Type: text/plain; charset=${type}`, ...fields, '', text)).join('');
  t.equal(part('iso-8859-1', '\xe9'), 'é');
  t.equal(part('utf-8', '\xc3\xa9'), 'é');
  t.equal(part('us-ascii', '\xe9'), 'é');
  t.equal(part('unheard-of', '\xc3\xa9'), 'é');
  t.equal(part('utf-16le', 'YQBiAA==', 'Content-Transfer-Encoding: base64'), 'ab');
});

t.test('searchText repeats the end of a piece, so that nothing is missed between two', async (t) => {
  const word = 'the needle';
  const text = `${'é '.repeat(131_070)}${word}${' x'.repeat(200_000)}`;
  const bytes = Buffer.from(`Content-Type: text/plain; charset=utf-8\r\n\r\n${text}`);
  for (const shift of [0, 1, 2, 3, 5, 8]) {
    const shifted = Buffer.concat([
      bytes.subarray(0, bytes.length - text.length),
      bytes.subarray(bytes.length - text.length),
    ]);
    const pieces = found(Buffer.concat([shifted.subarray(0, 43), Buffer.alloc(shift, 'y'), shifted.subarray(43)]), {
      overlap: word.length - 1,
    });
    t.ok(pieces.length > 1);
    t.ok(
      pieces.some((piece) => piece.includes(word)),
      `cut at ${shift}`,
    );
  }
});

t.test('decodePart gives the octets of a part', async (t) => {
  const bytes = CORPUS.get('mixed-related-alternative')!;
  const image = parseMime(bytes).children[0]!.children[1]!;
  t.same(decodePart(bytes, image).subarray(0, 4), Buffer.from('\x89PNG', 'latin1'));
  t.equal(unfoldedValue(bytes, [...headerFields(bytes, image.headerStart, image.bodyStart)][2]!), '<img1@example.org>');
});
