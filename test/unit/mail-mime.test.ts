import fc from 'fast-check';
import t from 'tap';
import { bodyStructureWire, bodyWire } from '../../src/mail/body-structure.js';
import { envelopeWire } from '../../src/mail/envelope.js';
import { MAX_ADDRESSES, parseAddresses } from '../../src/mail/header-address.js';
import { MimeParser, parseLargeMime, parseMime } from '../../src/mail/mime.js';
import { canonicalLines } from '../../src/mail/mime-lines.js';
import { MAX_MIME_DEPTH, MAX_MIME_PARTS, type MimePart } from '../../src/mail/mime-part.js';
import { findPart, type SectionText, sectionRange } from '../../src/mail/mime-section.js';
import { structureLeaves } from '../../src/mail/mime-structure-reader.js';
import { deriveLargeMetadata, deriveMetadata } from '../../src/mail/metadata.js';
import { CORPUS, mail, manyParts, nestedMultiparts } from './mail-corpus.js';

const corpus = (name: string): Buffer => CORPUS.get(name)!;
const envelope = (...lines: string[]): string => envelopeWire(mail(...lines, '', '')).toString('latin1');
const structure = (bytes: Buffer): string => bodyStructureWire(bytes, parseMime(bytes)).toString('latin1');
const content = (bytes: Buffer, path: readonly number[], text: SectionText = null): string | null => {
  const range = sectionRange(parseMime(bytes), path, text);
  return range === null ? null : bytes.toString('latin1', range.start, range.end);
};

/** Every part with its distance from the root. */
function* walk(part: MimePart, depth = 0): Generator<readonly [MimePart, number]> {
  yield [part, depth];
  for (const child of part.children) yield* walk(child, depth + 1);
}

/** What must hold of any tree; answers the first fault. */
function fault(bytes: Buffer, root: MimePart): string | null {
  let parts = 0;
  if (root.headerStart !== 0 || root.bodyEnd !== bytes.length) return 'the root is not the whole mail';
  for (const [part, depth] of walk(root)) {
    parts += 1;
    if (depth >= MAX_MIME_DEPTH) return `depth ${depth}`;
    if (part.headerStart > part.bodyStart || part.bodyStart > part.bodyEnd) return 'offsets run backwards';
    let from = part.bodyStart;
    for (const child of part.children) {
      if (child.headerStart < from || child.bodyEnd > part.bodyEnd) return 'a child is outside its parent';
      from = child.bodyEnd;
    }
    if (part.kind === 'leaf' && part.children.length > 0) return 'a leaf with children';
    if (part.kind === 'message' && part.children.length !== 1) return 'a message without its one child';
    if (part.text || part.kind === 'message') {
      const lines = bytes.toString('latin1', part.bodyStart, part.bodyEnd).split('\n').length - 1;
      if (part.lines !== lines) return `${part.lines} lines instead of ${lines}`;
    }
  }
  return parts <= MAX_MIME_PARTS ? null : `${parts} parts`;
}

/** The list at the start of `wire` as nested arrays (NIL is null); throws where RFC 9051 §4 is broken. */
function readList(wire: string): unknown {
  let at = 0;
  const value = (): unknown => {
    const rest = wire.slice(at, at + 30);
    if (rest.startsWith('(')) {
      at += 1;
      const items: unknown[] = [];
      while (wire[at] !== ')') {
        if (at >= wire.length) throw new Error('a list without end');
        items.push(value());
        if (wire[at] === ' ') at += 1;
      }
      at += 1;
      return items;
    }
    if (rest.startsWith('"')) {
      // biome-ignore lint/suspicious/noControlCharactersInRegex: TEXT-CHAR is any 7-bit octet but CR, LF and NUL.
      const quoted = /^"((?:[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]|\\["\\])*)"/.exec(wire.slice(at));
      if (quoted === null) throw new Error(`no quoted string: ${rest}`);
      at += quoted[0].length;
      return quoted[1]!.replace(/\\(.)/g, '$1');
    }
    const literal = /^\{(\d+)\}\r\n/.exec(rest);
    if (literal !== null) {
      const start = at + literal[0].length;
      at = start + Number(literal[1]);
      const text = wire.slice(start, at);
      if (text.length !== Number(literal[1]) || text.includes('\0')) throw new Error('a broken literal');
      return text;
    }
    const atom = /^(NIL|\d+)(?=[ )]|$)/.exec(rest);
    if (atom === null) throw new Error(`nothing to read: ${rest}`);
    at += atom[0].length;
    return atom[1] === 'NIL' ? null : Number(atom[1]);
  };
  const list = value();
  if (at !== wire.length) throw new Error(`text behind the list: ${wire.slice(at, at + 30)}`);
  return list;
}

t.test('parseMime gives a well-formed tree for every mail of the corpus', async (t) => {
  for (const [name, bytes] of CORPUS) t.equal(fault(bytes, parseMime(bytes)), null, name);
  t.equal(fault(Buffer.alloc(0), parseMime(Buffer.alloc(0))), null, 'no octets at all');
});

t.test('parseMime and the wire forms are well-formed whatever happens to a mail', async () => {
  const seeds = [...CORPUS].filter(([, bytes]) => bytes.length < 5000).map(([, bytes]) => bytes);
  const edit = fc.record({
    at: fc.nat(5000),
    remove: fc.nat(40),
    insert: fc.oneof(
      fc.constantFrom(
        '\r\n',
        '\n',
        '--aa',
        '--aa--',
        '\r\n--bb\r\n',
        '"',
        '(',
        '\\',
        '\0',
        ': ',
        ' ',
        '\xe9',
        ';',
        '<',
        '@',
      ),
      fc.string({ unit: 'binary-ascii', maxLength: 20 }),
    ),
  });
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(edit, { minLength: 1, maxLength: 6 }), (seed, edits) => {
      let text = seed.toString('latin1');
      for (const { at, remove, insert } of edits) text = text.slice(0, at) + insert + text.slice(at + remove);
      const bytes = Buffer.from(text, 'latin1');
      const root = parseMime(bytes);
      if (fault(bytes, root) !== null) throw new Error(fault(bytes, root) ?? '');
      const list = readList(envelopeWire(bytes.subarray(0, root.bodyStart)).toString('latin1'));
      if (!Array.isArray(list) || list.length !== 10) throw new Error('an envelope has ten members');
      readList(bodyStructureWire(bytes, root).toString('latin1'));
      readList(bodyWire(bytes, root).toString('latin1'));
      const leaves = [...walk(root)].filter(([part]) => part.kind !== 'message' && part.children.length === 0);
      const read = structureLeaves(bodyStructureWire(bytes, root));
      if (read?.length !== leaves.length) throw new Error(`${read?.length} leaves read, ${leaves.length} written`);
    }),
    { numRuns: 3000 },
  );
});

t.test('parseLargeMime and MimeParser.run in slices give the same tree', async (t) => {
  for (const name of ['mixed-related-alternative', 'forwarded', 'digest', 'boundary-in-header', 'message-no-blank']) {
    const bytes = corpus(name);
    const parser = new MimeParser(bytes);
    let turns = 1;
    while (!parser.run(1)) turns += 1;
    t.ok(turns > 2, `${name}: took ${turns} turns`);
    t.equal(structure(bytes), bodyStructureWire(bytes, parser.root).toString('latin1'), name);
  }
  const large = mail(
    'Content-Type: multipart/mixed; boundary=aa',
    '',
    '--aa',
    '',
    Array<string>(200_000).fill('a line of text, and no boundary').join('\r\n'),
    '--aa--',
  );
  t.same(fault(large, await parseLargeMime(large)), null, 'over several slices');
  t.equal((await parseLargeMime(large)).children[0]!.lines, 199_999);
});

t.test('parseMime stops at MAX_MIME_DEPTH and MAX_MIME_PARTS and leaves the rest as it is', async (t) => {
  const depth = (bytes: Buffer): number => Math.max(...[...walk(parseMime(bytes))].map(([, level]) => level)) + 1;
  t.equal(depth(nestedMultiparts(MAX_MIME_DEPTH - 1)), MAX_MIME_DEPTH, 'at the cap');
  t.equal(depth(nestedMultiparts(MAX_MIME_DEPTH)), MAX_MIME_DEPTH, 'one over');
  t.match(structure(nestedMultiparts(MAX_MIME_DEPTH)), '("application" "octet-stream" ("boundary" "b99.")');
  t.notMatch(structure(nestedMultiparts(MAX_MIME_DEPTH - 1)), 'octet-stream');
  const last = (count: number): [number, string] => {
    const bytes = manyParts(count);
    const { children } = parseMime(bytes);
    const { bodyStart, bodyEnd } = children[children.length - 1]!;
    return [children.length, bytes.toString('latin1', bodyStart, bodyEnd)];
  };
  t.same(last(MAX_MIME_PARTS - 2), [MAX_MIME_PARTS - 2, String(MAX_MIME_PARTS - 3)], 'below the cap');
  const [count, rest] = last(MAX_MIME_PARTS + 1);
  t.equal(count, MAX_MIME_PARTS - 1, 'the root is one of them');
  t.match(rest, /^9998\r\n--aa\r\n\r\n9999\r\n--aa\r\n\r\n10000\r\n--aa--\r\n$/, 'what follows stays in the last part');
});

t.test('bodyStructureWire shows types, parameters, sizes and extension data', async (t) => {
  t.equal(
    structure(corpus('alternative')),
    '(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 23 2 NIL NIL NIL NIL)' +
      '("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 40 2 NIL NIL NIL NIL)' +
      ' "alternative" ("boundary" "=_alt") NIL NIL NIL)',
  );
  const bytes = corpus('alternative');
  t.equal(
    bodyWire(bytes, parseMime(bytes)).toString(),
    '(("text" "plain" ("charset" "utf-8") NIL NIL "7bit" 23 2)' +
      '("text" "html" ("charset" "utf-8") NIL NIL "quoted-printable" 40 2) "alternative")',
    'BODY has no extension data',
  );
  t.match(structure(corpus('mixed-related-alternative')), '("attachment" ("filename" "a very long name.pdf"))');
  t.match(structure(corpus('type-rfc2231')), `"name*" "utf-8''a%20b" "t*" "utf-8''qr%25" "z*2" "foo"`);
  t.equal(structure(mail('', '')), '("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 0 0 NIL NIL NIL NIL)');
  const forwarded = readList(structure(corpus('forwarded'))) as unknown[][];
  t.same(forwarded[1]!.slice(0, 2), ['message', 'rfc822']);
  t.equal((forwarded[1]![7] as unknown[])[1], 'An ordinary subject', 'with the envelope of the message inside');
});

t.test('envelopeWire: From stands in for Sender and Reply-To, other missing fields are NIL', async (t) => {
  const ann = '((NIL NIL "a" "b"))';
  t.equal(envelope('From: a@b'), `(NIL NIL ${ann} ${ann} ${ann} NIL NIL NIL NIL NIL)`);
  t.equal(
    envelope('From: a@b', 'Sender:', 'Reply-To: c@d', 'Date: today', 'Subject:', 'In-Reply-To: <x>'),
    [`("today" "" ${ann} ${ann} ((NIL NIL "c" "d")) NIL NIL NIL "<x>" NIL)`].join(''),
  );
  t.equal(envelope('X: y'), '(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)');
  t.match(envelope('Subject: a "b"'), '{5}\r\na "b"', 'quotes go as a literal');
  t.match(envelope('Subject: \xe9'), '{1}\r\n\xe9', 'octets above 127 go as a literal');
  t.match(envelope('Subject: a\0b'), '{5}\r\na\xef\xbf\xbdb', 'a NUL cannot go at all');
  t.match(envelope('Message-ID: <a\\b>'), '"<a\\\\b>"');
});

t.test('parseAddresses reads names, groups, routes and comments, and mends what can be mended', async (t) => {
  const shown = (value: string): string[] =>
    parseAddresses(value).map(({ name, route, mailbox, domain }) => [name, route, mailbox, domain].join('|'));
  t.same(shown('"A \\"B\\"" <@r,@s:a@b>, (x) c@d (C D)'), ['A "B"|@r,@s|a|b', 'C D||c|d']);
  t.same(shown('G: a@b, c@d;, e@f'), ['||G|', '||a|b', '||c|d', '|||', '||e|f']);
  t.same(shown('a . b @ c . d, "x y"@[::1]'), ['||a.b|c.d', '||x y|[::1]']);
  t.same(shown('N <a@b'), ['N||a|SYNTAX_ERROR']);
  t.same(shown('some words'), ['some words||MISSING_MAILBOX|MISSING_DOMAIN']);
  t.same(shown('('), []);
  const many = (count: number): string => Array.from({ length: count }, (_, i) => `a${i}@b`).join(', ');
  t.equal(parseAddresses(many(MAX_ADDRESSES)).length, MAX_ADDRESSES);
  t.equal(parseAddresses(many(MAX_ADDRESSES + 1)).length, MAX_ADDRESSES, 'one over the cap');
});

t.test('findPart and sectionRange number parts as RFC 9051 §6.4.5.1 does', async (t) => {
  const bytes = corpus('forwarded');
  t.equal(content(bytes, []), bytes.toString('latin1'));
  t.match(content(bytes, [], 'HEADER'), /^Received: [\s\S]*\r\n\r\n$/);
  t.match(content(bytes, [], 'TEXT'), /^--fwd\r\n/);
  t.equal(content(bytes, [1]), 'Hello,\r\nthis is text.\r\n');
  t.equal(content(bytes, [1], 'MIME'), 'Content-Type: text/plain; charset=utf-8\r\n\r\n');
  t.equal(content(bytes, [1], 'HEADER'), null, 'only a message has a HEADER');
  t.match(content(bytes, [2], 'HEADER'), /^Message-ID: [\s\S]*boundary="inner"\r\n\r\n$/);
  t.match(content(bytes, [2], 'TEXT'), /^--inner\r\n/);
  t.match(content(bytes, [2, 2]), /caf=C3=A9/);
  t.equal(content(bytes, [2, 3]), null);
  t.equal(content(bytes, [3]), null);
  t.equal(content(bytes, [0]), null);
  t.equal(content(bytes, [1, 1]), null);
  const plain = corpus('plain');
  t.equal(content(plain, [1]), content(plain, [], 'TEXT'), 'a mail of one part has the part 1');
  t.equal(content(plain, [1], 'MIME'), content(plain, [], 'HEADER'));
  t.equal(content(plain, [2]), null);
  t.equal(content(plain, [], 'MIME'), null);
  const twice = corpus('forwarded-twice');
  t.match(content(twice, [1], 'HEADER'), /^Subject: middle/);
  t.match(content(twice, [1, 1], 'HEADER'), /^Subject: innermost/);
  t.equal(content(twice, [1, 1, 1]), 'text\r\n');
  t.equal(findPart(parseMime(twice), [])?.kind, 'message');
});

t.test('canonicalLines gives every line CRLF, once', async (t) => {
  t.equal(canonicalLines(Buffer.from('\na\r\nb\n\n\rc\r')).toString(), '\r\na\r\nb\r\n\r\n\rc\r');
  const whole = corpus('plain');
  t.equal(canonicalLines(whole), whole, 'nothing to do: the same Buffer');
  const bare = Buffer.from(whole.toString('latin1').replaceAll('\r\n', '\n'), 'latin1');
  t.same(canonicalLines(bare), whole);
  t.equal(fault(bare, parseMime(bare)), null, 'bare LF can be read as it is, too');
});

t.test('deriveMetadata has all that is kept of a mail', async (t) => {
  const bytes = corpus('forwarded');
  const { message, sha256, bodyHash } = deriveMetadata(bytes, 'content');
  t.equal(message.size, bytes.length);
  t.equal(message.messageId, 'one@example.org');
  t.equal(message.header.toString(), content(bytes, [], 'HEADER'));
  t.equal(message.structure.toString(), structure(bytes));
  t.ok(message.mergeKey);
  t.match(sha256, /^[0-9a-f]{64}$/);
  t.not(sha256, bodyHash);
  t.equal(deriveMetadata(bytes, 'off').message.mergeKey, null);
  const large = Buffer.concat([bytes, Buffer.alloc(5 << 20, 'x')]);
  t.same(await deriveLargeMetadata(large, 'content'), deriveMetadata(large, 'content'));
});

/** CPU time of `run`, in microseconds: the least of several tries, so that neighbours do not count. */
function cost(run: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 3; i += 1) {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, user + system);
  }
  return least;
}

t.test('reading costs in proportion to the size, for mail made to hurt', async (t) => {
  const repeat = (unit: string) => (n: number) => Buffer.from(unit.repeat(n), 'latin1');
  const mixed = 'Content-Type: multipart/mixed; boundary=';
  const cases: Readonly<Record<string, (n: number) => Buffer>> = {
    'addresses without end': (n) => mail(`To: ${'a@b,'.repeat(n)}`, '', ''),
    'open comments': (n) => mail(`To: ${'('.repeat(n)}`, '', ''),
    'open quotes': (n) => mail(`To: ${'"a,'.repeat(n)}`, '', ''),
    'open groups': (n) => mail(`To: ${'a:'.repeat(n)}`, '', ''),
    'open angles': (n) => mail(`To: ${'a <'.repeat(n)}`, '', ''),
    backslashes: (n) => mail(`To: "${'\\'.repeat(n)}`, '', ''),
    routes: (n) => mail(`To: <${'@a,'.repeat(n)}`, '', ''),
    dots: (n) => mail(`To: ${'. '.repeat(n)}`, '', ''),
    parameters: (n) => mail(`Content-Type: text/plain${';a*0=b'.repeat(n)}`, '', ''),
    'broken parameters': (n) => mail(`Content-Type: text/plain${';"'.repeat(n)}`, '', ''),
    folds: (n) => mail(`Subject: ${'\r\n '.repeat(n)}`, '', ''),
    'fields without colon': repeat('ab\r\n'),
    'lines of dashes': (n) => mail(`${mixed}aa`, '', '--a\r\n'.repeat(n)),
    'open multiparts': (n) => Buffer.from(`${mixed}aa\r\n\r\n--aa\r\n`.repeat(n)),
    'closed multiparts': (n) => mail(`${mixed}a`, '', `--a\r\n${mixed}b\r\n\r\n--b--\r\n`.repeat(n)),
    'dashes under many boundaries': (n) =>
      Buffer.concat([
        Buffer.from(
          Array.from(
            { length: 90 },
            (_, i) => `${mixed}${'a'.repeat(70 - (i % 60))}b\r\n\r\n--${'a'.repeat(70 - (i % 60))}b\r\n`,
          ).join(''),
        ),
        Buffer.from(`--${'a'.repeat(69)}c\r\n`.repeat(n)),
      ]),
    messages: (n) => Buffer.from('Content-Type: message/rfc822\r\n\r\n'.repeat(n)),
  };
  const read = (bytes: Buffer): void => {
    const root = parseMime(bytes);
    envelopeWire(bytes.subarray(0, root.bodyStart));
    bodyStructureWire(bytes, root);
  };
  for (const [name, make] of Object.entries(cases)) {
    const [small, large] = [make(4_000), make(32_000)];
    read(small);
    const [once, eightfold] = [cost(() => read(small)), cost(() => read(large))];
    // Quadratic would be 64 times; 8 times is linear, and the rest is for the garbage collector.
    t.ok(eightfold < 30 * Math.max(once, 1000), `${name}: ${once} µs, eight times as much in ${eightfold} µs`);
  }
});
