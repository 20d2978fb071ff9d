import fc from 'fast-check';
import t from 'tap';
import { CommandReader, type LiteralEvent, type ReaderEvent } from '../../src/wire/command-reader.js';
import { InputBuffer } from '../../src/wire/input-buffer.js';
import { MAX_COMMAND_NAME, MAX_LINE, MAX_LITERALS, MAX_TAG } from '../../src/wire/limits.js';
import type { CommandParser } from '../../src/wire/parser.js';

type Answer = (event: LiteralEvent) => 'accept' | 'reject';
const accept: Answer = () => 'accept';

/** One line of text per event; the rest of a command in JSON, with literals in angle brackets. */
function describe(event: ReaderEvent): string {
  switch (event.type) {
    case 'command':
      return `${event.tag} ${event.uid ? 'UID ' : ''}${event.name}${JSON.stringify(rest(event.parser))}`;
    case 'literal':
      return `${event.tag} ${event.command} {${event.size}${event.nonSync ? '+' : ''}${event.binary ? ' binary' : ''}} after ${event.total}`;
    case 'bad':
      return `${event.tag ?? '*'} BAD ${event.reason}`;
    case 'line':
      return `line ${event.line.toString('latin1')}`;
  }
}

function rest(parser: CommandParser): string {
  let text = '';
  while (!parser.atEnd()) {
    const literal = parser.literal();
    if (literal !== null) {
      text += `<${literal.bytes.toString('latin1')}>`;
      continue;
    }
    const char = String.fromCharCode(parser.peek());
    parser.expectChar(char);
    text += char;
  }
  return text;
}

function drain(reader: CommandReader, answer: Answer = accept): string[] {
  const events: string[] = [];
  for (let event = reader.next(); event !== null; event = reader.next()) {
    events.push(describe(event));
    if (event.type !== 'literal') continue;
    if (answer(event) === 'accept') reader.acceptLiteral();
    else reader.rejectLiteral();
  }
  return events;
}

function read(input: string | Buffer, answer: Answer = accept): string[] {
  const reader = new CommandReader();
  reader.push(Buffer.from(input as string, 'latin1'));
  return drain(reader, answer);
}

/** The events when the input comes in these chunks. */
function readChunks(input: Buffer, cuts: readonly number[], answer: Answer = accept): string[] {
  const reader = new CommandReader();
  const events: string[] = [];
  const ends = [...new Set(cuts.map((cut) => cut % (input.length + 1)))].sort((a, b) => a - b);
  let from = 0;
  for (const end of [...ends, input.length]) {
    reader.push(Buffer.from(input.subarray(from, end)));
    events.push(...drain(reader, answer));
    from = end;
  }
  return events;
}

t.test('CommandReader cuts pipelined lines into commands', async (t) => {
  t.same(read('a1 NOOP\r\na2 uid fetch 1:* (FLAGS)\r\na3 Capability\r\nb'), [
    'a1 NOOP""',
    'a2 UID FETCH" 1:* (FLAGS)"',
    'a3 CAPABILITY""',
  ]);
  t.same(read('a NOOP\nb NOOP\n'), ['a NOOP""', 'b NOOP""'], 'a lone LF ends a line');
  t.same(read('a X "\rb"\r\n'), ['a X" \\"\\rb\\""'], 'CR elsewhere is the grammar’s business');
});

t.test('CommandReader tells the tag of a bad line where it has one', async (t) => {
  t.same(
    read(
      [
        '',
        ' a NOOP',
        '* NOOP',
        '+ NOOP',
        'a+b NOOP',
        '"a" NOOP',
        'tag',
        'a ',
        'a  NOOP',
        'a (x)',
        'a UID',
        'a UID ',
        'a UID (',
      ]
        .map((line) => `${line}\r\n`)
        .join(''),
    ),
    [
      '* BAD Empty line',
      '* BAD Expected a tag',
      '* BAD Expected a tag',
      '* BAD Expected a tag',
      '* BAD Expected a tag',
      '* BAD Expected a tag',
      'tag BAD Expected a command',
      'a BAD Expected a command',
      'a BAD Expected a command',
      'a BAD Expected a command',
      'a BAD Expected a command after UID',
      'a BAD Expected a command after UID',
      'a BAD Expected a command after UID',
    ],
  );
});

t.test('CommandReader takes tags and names up to their limits', async (t) => {
  const tag = 't'.repeat(MAX_TAG);
  t.same(read(`${tag} NOOP\r\n${tag}t NOOP\r\n`), [`${tag} NOOP""`, `* BAD A tag is longer than ${MAX_TAG} octets`]);
  const name = 'N'.repeat(MAX_COMMAND_NAME);
  t.same(read(`a ${name}\r\na ${name}N\r\n`), [`a ${name}""`, 'a BAD Expected a command']);
});

t.test('CommandReader takes a line of MAX_LINE octets and refuses one more', async (t) => {
  const line = `a X ${'y'.repeat(MAX_LINE - 4)}`;
  for (const end of ['\r\n', '\n']) {
    const good = read(`${line}${end}b NOOP${end}`);
    t.same(
      good.map((event) => event.length > 100),
      [true, false],
    );
    t.same(read(`${line}y${end}b NOOP${end}`), ['a BAD Line too long', 'b NOOP""']);
  }
  const reader = new CommandReader();
  reader.push(Buffer.from(`${line}\r`));
  t.equal(reader.next(), null, 'CR is not counted while LF may still come');
  reader.push(Buffer.from('\n'));
  t.equal(reader.next()?.type, 'command');
});

t.test('CommandReader counts the text of all lines of a command together', async (t) => {
  const half = 'y'.repeat(MAX_LINE / 2);
  t.same(read(`a X ${half} {1+}\r\nz ${half}\r\nb NOOP\r\n`), ['a X {1+} after 0', 'a BAD Line too long', 'b NOOP""']);
});

t.test('CommandReader holds next to nothing of an endless line', async (t) => {
  const reader = new CommandReader();
  reader.push(Buffer.from('a X '));
  for (let mib = 0; mib < 8; mib += 1) {
    reader.push(Buffer.alloc(1 << 20, 'y'));
    t.equal(reader.next(), null);
    t.ok(reader.buffered < 100, `${reader.buffered} octets are buffered`);
    t.ok(reader.midCommand);
  }
  reader.push(Buffer.from('\r\nb NOOP\r\n'));
  t.same(drain(reader), ['a BAD Line too long', 'b NOOP""']);
  t.notOk(reader.midCommand);
});

t.test('CommandReader swallows the literal behind a line that is too long', async (t) => {
  const long = `a X ${'y'.repeat(MAX_LINE)}`;
  t.same(read(`${long} {11+}\r\nx EXPUNGE\r\n tail\r\nb NOOP\r\n`), ['a BAD Line too long', 'b NOOP""']);
  t.same(read(`${long} {11}\r\nb NOOP\r\n`), ['a BAD Line too long', 'b NOOP""'], 'the client waits for our answer');
  const input = Buffer.from(`${long} {11+}\r\nx EXPUNGE\r\n tail\r\nb NOOP\r\n`);
  const cuts = Array.from({ length: 60 }, (_, index) => input.length - index);
  t.same(readChunks(input, cuts), ['a BAD Line too long', 'b NOOP""']);
});

t.test('CommandReader announces every form of literal and hands the bytes on', async (t) => {
  t.same(read('a LOGIN {5}\r\nalice {3+}\r\np w\r\n'), [
    'a LOGIN {5} after 0',
    'a LOGIN {3+} after 5',
    'a LOGIN" <alice> <p w>"',
  ]);
  t.same(read('a APPEND x ~{3}\r\n\0\r\n\r\na APPEND x (~{2+}\r\nhi)\r\n'), [
    'a APPEND {3 binary} after 0',
    'a APPEND" x <\\u0000\\r\\n>"',
    'a APPEND {2+ binary} after 0',
    'a APPEND" x (<hi>)"',
  ]);
  t.same(read('a X {0}\r\n\r\n'), ['a X {0} after 0', 'a X" <>"']);
  t.same(read('a X {5} \r\na X {-5}\r\na X {+}\r\na X {123456789012345678901}\r\n').length, 4, 'not literals');
});

t.test('CommandReader waits for the answer to a literal', async (t) => {
  const reader = new CommandReader();
  reader.push(Buffer.from('a X {2+}\r\nhi\r\n'));
  t.equal(reader.next()?.type, 'literal');
  t.equal(reader.next(), null);
  t.equal(reader.next(), null);
  reader.acceptLiteral();
  t.throws(() => reader.acceptLiteral(), { message: 'No literal was announced' });
  t.same(drain(reader), ['a X" <hi>"']);
});

t.test('rejectLiteral drops the command of a synchronizing literal at once', async (t) => {
  t.same(
    read('a X {900}\r\nb NOOP\r\n', () => 'reject'),
    ['a X {900} after 0', 'b NOOP""'],
  );
});

t.test('rejectLiteral swallows the bytes of a non-synchronizing literal and the rest of its command', async (t) => {
  t.same(
    read('a X {9+}\r\nx NOOP\r\n1 {9+}\r\ny NOOP\r\n2 "tail"\r\nb NOOP\r\n', () => 'reject'),
    ['a X {9+} after 0', 'b NOOP""'],
  );
  t.same(
    read('a X {1+}\r\nx {1+}\r\ny {1}\r\nb NOOP\r\n', ({ total }) => (total === 0 ? 'accept' : 'reject')),
    ['a X {1+} after 0', 'a X {1+} after 1', 'b NOOP""'],
    'a synchronizing literal inside the refused rest ends it',
  );
});

t.test('CommandReader never resumes behind a literal whose size no number can hold', async (t) => {
  const seen: number[] = [];
  const events = read('a X {99999999999999999999+}\r\nb NOOP\r\n', ({ size }) => {
    seen.push(size);
    return 'reject';
  });
  t.same(seen, [Number.POSITIVE_INFINITY]);
  t.equal(events.length, 1);
});

t.test('CommandReader takes MAX_LITERALS literals and refuses one more', async (t) => {
  const literals = ' {1+}\r\nz'.repeat(MAX_LITERALS);
  const good = read(`a X${literals}\r\n`);
  t.equal(good.length, MAX_LITERALS + 1);
  t.match(good.at(-1), /^a X" <z>/);
  const bad = read(`a X${literals} {1+}\r\nz tail\r\nb NOOP\r\n`);
  t.same(bad.slice(-2), [`a BAD More than ${MAX_LITERALS} literals`, 'b NOOP""']);
  t.equal(bad.length, MAX_LITERALS + 2);
});

t.test('CommandReader swallows the literal of a line that is no command', async (t) => {
  t.same(read('* {8+}\r\nx NOOP\r\n\r\nb NOOP\r\n'), ['* BAD Expected a tag', 'b NOOP""']);
  t.same(read('a {8}\r\nb NOOP\r\n'), ['a BAD Expected a command', 'b NOOP""']);
});

t.test('expectLine gives the next line as it is, once', async (t) => {
  const reader = new CommandReader();
  reader.push(Buffer.from('a IDLE\r\nDONE {5+}\r\nb NOOP\r\n'));
  t.equal(describe(reader.next()!), 'a IDLE""');
  reader.expectLine(20);
  t.same(drain(reader), ['line DONE {5+}', 'b NOOP""']);
});

t.test('expectLine takes maxBytes octets and refuses one more', async (t) => {
  for (const cuts of [[], Array.from({ length: 400 }, (_, index) => index)]) {
    for (const [length, event] of [
      [100, `line ${'='.repeat(100)}`],
      [101, '* BAD Line too long'],
      [300, '* BAD Line too long'],
    ] as const) {
      const reader = new CommandReader();
      reader.expectLine(100);
      const input = Buffer.from(`${'='.repeat(length)}\r\nb NOOP\r\n`);
      const events: string[] = [];
      for (const [index, cut] of [...cuts, input.length].entries()) {
        reader.push(input.subarray(cuts[index - 1] ?? 0, cut));
        events.push(...drain(reader));
      }
      t.same(events, [event, 'b NOOP""']);
    }
  }
});

t.test('clear forgets buffered bytes and the open command', async (t) => {
  for (const open of ['b NOOP\r\nc NO', 'b X {5}\r\n', 'b X {5+}\r\nab', `b ${'x'.repeat(MAX_LINE + 9)}`]) {
    const reader = new CommandReader();
    reader.push(Buffer.from(`a STARTTLS\r\n${open}`));
    t.equal(describe(reader.next()!), 'a STARTTLS""');
    if (open.includes('{')) {
      t.equal(reader.next()?.type, 'literal');
      if (open.includes('+')) reader.acceptLiteral();
      t.equal(reader.next(), null);
    }
    reader.clear();
    t.equal(reader.buffered, 0);
    t.notOk(reader.midCommand);
    reader.push(Buffer.from('d NOOP\r\n'));
    t.same(drain(reader), ['d NOOP""']);
  }
});

t.test('buffered counts what was pushed and not read', async (t) => {
  const reader = new CommandReader();
  reader.push(Buffer.from('a NOOP\r\nb NOOP\r\n'));
  t.equal(reader.buffered, 16);
  reader.next();
  t.equal(reader.buffered, 8);
  reader.next();
  t.equal(reader.buffered, 0);
});

const SCRIPT = Buffer.from(
  `a1 NOOP\r\na2 LOGIN {5}\r\nal\rce {3+}\r\np\nw\r\na3 IDLE\n* {4+}\r\nx\r\nybla\r\n` +
    `a4 APPEND box (\\Seen) ~{20+}\r\n${'\0\r\n{5+}\r\nabcd\r\n{1}'.padEnd(20, 'z')}\r\na5 X {9}\r\n` +
    `a6 FETCH 1 BODY[]\r\na7 REFUSE {7+}\r\n\r\na NO\n x {2+}\r\nzz\r\na8 UID SEARCH TEXT {0}\r\n\r\n` +
    `a9 X ${'w'.repeat(200)} {3+}\r\nabc"x"\r\n`,
  'latin1',
);
const refuseSome: Answer = ({ tag }) => (tag === 'a5' || tag === 'a7' ? 'reject' : 'accept');

t.test('CommandReader yields the same events at every single split', async (t) => {
  const whole = readChunks(SCRIPT, [], refuseSome);
  t.same(
    whole.filter((event) => !/ \{/.test(event)).map((event) => event.slice(0, 12)),
    [
      'a1 NOOP""',
      'a2 LOGIN" <a',
      'a3 IDLE""',
      '* BAD Expect',
      'a4 APPEND" b',
      'a6 FETCH" 1 ',
      'a8 UID SEARC',
      'a9 X" wwwwww',
    ],
  );
  for (let cut = 0; cut <= SCRIPT.length; cut += 1) {
    if (readChunks(SCRIPT, [cut], refuseSome).join('\n') !== whole.join('\n')) t.fail(`differs at ${cut}`);
  }
  t.same(
    readChunks(
      SCRIPT,
      Array.from(SCRIPT, (_, index) => index),
      refuseSome,
    ),
    whole,
    'one octet at a time',
  );
});

t.test('CommandReader yields the same events in any chunks', async (t) => {
  const whole = readChunks(SCRIPT, [], refuseSome);
  fc.assert(
    fc.property(fc.array(fc.nat(SCRIPT.length), { maxLength: 40 }), (cuts) => {
      return readChunks(SCRIPT, cuts, refuseSome).join('\n') === whole.join('\n');
    }),
    { numRuns: 500 },
  );
  t.pass();
});

t.test('InputBuffer is a queue of octets whatever the chunks', async (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(9_000), fc.nat(9_000), fc.constantFrom('take', 'drop', 'copy')), { maxLength: 60 }),
      (steps) => {
        const input = new InputBuffer();
        let model = Buffer.alloc(0);
        let pushedInAll = 0;
        for (const [pushed, wanted, how] of steps) {
          const chunk = Buffer.from(Array.from({ length: pushed }, (_, at) => ((pushedInAll + at) * 7_919) >>> 5));
          pushedInAll += pushed;
          input.push(chunk);
          model = Buffer.concat([model, chunk]);
          const count = Math.min(wanted, model.length);
          const expected = model.subarray(0, count);
          if (how === 'take' && !input.take(count).equals(expected)) return false;
          if (how === 'drop' && input.drop(wanted) !== count) return false;
          if (how === 'copy') {
            const target = Buffer.alloc(wanted);
            if (input.copyTo(target, 0) !== count || !target.subarray(0, count).equals(expected)) return false;
          }
          model = model.subarray(count);
          if (input.length !== model.length || !input.view().equals(model)) return false;
          if (input.indexOf(0x0a, 0) !== model.indexOf(0x0a)) return false;
        }
        return true;
      },
    ),
    { numRuns: 200 },
  );
  t.pass();
});

/** CPU time of `work(size)`, the least of five runs, in microseconds; at least 1 ms, for the kernel may count none. */
function cost(size: number, work: (size: number) => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 5; run += 1) {
    const before = process.cpuUsage();
    work(size);
    least = Math.min(least, process.cpuUsage(before).user);
  }
  return Math.max(least, 1_000);
}

t.test('CommandReader takes linear time for a literal and a line in single octets', async (t) => {
  const single = (input: Buffer): void => {
    const reader = new CommandReader();
    for (let at = 0; at < input.length; at += 1) {
      reader.push(input.subarray(at, at + 1));
      drain(reader);
    }
  };
  const literal = (size: number): void => single(Buffer.from(`a X {${size}}\r\n${'x'.repeat(size)}\r\n`));
  const queue = (size: number): void => {
    const reader = new CommandReader();
    for (let at = 0; at < size; at += 1) reader.push(Buffer.from('a'));
    for (let at = 0; at < size / 8; at += 1) reader.push(Buffer.from(' NOOP\r\na'));
    drain(reader);
  };
  for (const work of [literal, queue]) {
    // Eight times the size: eight times the time if linear, 64 times if quadratic.
    const ratio = cost(160_000, work) / cost(20_000, work);
    t.ok(ratio < 28, `${work.name}: ratio ${ratio.toFixed(1)}`);
  }
});
