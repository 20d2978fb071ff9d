import t from 'tap';
import { parseAppend } from '../../src/wire/append.js';
import { bodyFromStructure } from '../../src/wire/body.js';
import { CommandReader } from '../../src/wire/command-reader.js';
import { parseCreate } from '../../src/wire/create.js';
import { parseEnable } from '../../src/wire/enable.js';
import { parseFetch } from '../../src/wire/fetch.js';
import { parseId } from '../../src/wire/id.js';
import { parseList, parseLsub } from '../../src/wire/list.js';
import { ParseError } from '../../src/wire/parse-error.js';
import { CommandParser } from '../../src/wire/parser.js';
import { parseSearch } from '../../src/wire/search.js';
import { parseSelect } from '../../src/wire/select.js';
import { parseStatus } from '../../src/wire/status-item.js';
import { parseStore } from '../../src/wire/store.js';

const PARSERS: Readonly<Record<string, (parser: CommandParser) => unknown>> = {
  APPEND: parseAppend,
  CREATE: parseCreate,
  ENABLE: parseEnable,
  FETCH: parseFetch,
  ID: parseId,
  LIST: parseList,
  LSUB: parseLsub,
  SEARCH: parseSearch,
  SELECT: parseSelect,
  STATUS: parseStatus,
  STORE: parseStore,
};

const SEEDS = [
  'a FETCH 1:*,3 (UID FLAGS BODY.PEEK[HEADER.FIELDS (From "To")]<0.20> BINARY[1.2]) (CHANGEDSINCE 5 VANISHED)',
  'a UID FETCH 1 FULL',
  'a SEARCH RETURN (MIN ALL) CHARSET UTF-8 OR (SEEN NOT FROM "x\\"y") UID 1:* SINCE 1-Feb-1994 HEADER a b MODSEQ 5',
  'a SEARCH TEXT {4}\r\nab c KEYWORD $x LARGER 9999999999 $',
  'a STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen a)',
  'a APPEND "In&AOk-box" (\\Seen) " 1-Feb-1994 00:00:00 +0000" ~{5+}\r\na\0\r\nb (x) {0}\r\n',
  'a SELECT inbox (CONDSTORE QRESYNC (1 2 1:5 (1 5)))',
  'a LIST (SUBSCRIBED) "" (a% "b*") RETURN (STATUS (MESSAGES) CHILDREN)',
  'a LSUB "" *',
  'a STATUS x (MESSAGES UIDNEXT)',
  'a CREATE "x" (USE (\\Sent))',
  'a ENABLE CONDSTORE UTF8=ACCEPT',
  'a ID ("name" "x" "y" NIL)',
];
const BITS = [
  '(',
  ')',
  '"',
  '\\',
  '{3}\r\n',
  '{9+}\r\n',
  '~{1+}\r\n',
  '\r\n',
  '\n',
  '\r',
  '\0',
  ' ',
  '*',
  '$',
  '0',
  '4294967296',
  '[',
  ']',
  '<',
  '>',
  '.',
  ':',
  ',',
  '&',
  '&-',
  '\xff',
  'NOT ',
  'OR ',
  'NIL',
  '%',
  'é',
  '99999999999999999999',
];

/** A small generator of pseudo-random numbers below `limit` (mulberry32). */
function random(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

function mutate(text: string, next: (limit: number) => number): string {
  let mutated = text;
  for (let rounds = next(4); rounds >= 0; rounds -= 1) {
    const at = next(mutated.length + 1);
    const to = at + next(4) * next(6);
    const bit = next(3) === 0 ? mutated.slice(next(mutated.length + 1)).slice(0, 30) : BITS[next(BITS.length)]!;
    mutated = mutated.slice(0, at) + bit + mutated.slice(to);
  }
  return mutated;
}

t.test('any 50,000 mutated command streams end in commands, ParseErrors or BAD, and nothing else', async (t) => {
  const next = random(20_240_229);
  const outcomes = { parsed: 0, refused: 0, bad: 0, unknown: 0 };
  for (let round = 0; round < 50_000; round += 1) {
    const input = Buffer.from(`${mutate(SEEDS[next(SEEDS.length)]!, next)}\r\nz NOOP\r\n`, 'latin1');
    const reader = new CommandReader();
    const cut = next(input.length);
    let pushed = 0;
    for (const chunk of [input.subarray(0, cut), input.subarray(cut)]) {
      reader.push(chunk);
      pushed += chunk.length;
      for (let event = reader.next(); event !== null; event = reader.next()) {
        if (event.type === 'literal') {
          if (event.size <= 1_000 && next(4) > 0) reader.acceptLiteral();
          else reader.rejectLiteral();
        } else if (event.type === 'command') {
          run(event.name, event.parser);
        } else {
          outcomes.bad += 1;
        }
      }
      if (reader.buffered > pushed) t.fail('more is buffered than was pushed');
    }
  }
  function run(name: string, parser: CommandParser): void {
    const parse = PARSERS[name];
    if (parse === undefined) {
      outcomes.unknown += 1;
      return;
    }
    try {
      parse(parser);
      outcomes.parsed += 1;
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      if (!/^[\x20-\x7e]{3,120}$/.test(error.message)) t.fail(`the BAD text ${JSON.stringify(error.message)}`);
      outcomes.refused += 1;
    }
  }
  t.ok(outcomes.parsed > 1_000 && outcomes.refused > 10_000 && outcomes.bad > 200, JSON.stringify(outcomes));
});

t.test('mutated body structures are converted or refused', async (t) => {
  const next = random(7);
  const seed =
    '(("text" "plain" NIL NIL NIL "7bit" 1 2 NIL)("message" "rfc822" NIL NIL NIL "7bit" 9 ("d" {2}\r\nab) ("text" "x" NIL NIL NIL "7bit" 1 2) 3 NIL) "mixed" ("b" "c"))';
  let converted = 0;
  for (let round = 0; round < 10_000; round += 1) {
    const body = bodyFromStructure(Buffer.from(mutate(seed, next), 'latin1'));
    if (body !== null && bodyFromStructure(body)?.equals(body)) converted += 1;
    else if (body !== null) t.fail(`BODY is not its own BODY: ${body}`);
  }
  t.ok(converted > 100, `${converted} converted`);
});

/** CPU microseconds, the least of several runs. */
function cost(work: () => void): number {
  let least = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 7; run += 1) {
    const before = process.cpuUsage();
    work();
    least = Math.min(least, process.cpuUsage(before).user);
  }
  return least;
}

t.test('no argument costs more than linear time', async (t) => {
  const nasty: Record<string, readonly [(parser: CommandParser) => unknown, (size: number) => string]> = {
    'open parentheses': [parseSearch, (n) => ` ${'('.repeat(n)}`],
    'pairs of parentheses': [parseSearch, (n) => ` ${'(ALL) '.repeat(n)}`],
    'a chain of NOT': [parseSearch, (n) => ` ${'NOT '.repeat(n)}ALL`],
    'a chain of OR': [parseSearch, (n) => ` ${'OR ALL '.repeat(n)}ALL`],
    'a long keyword': [parseSearch, (n) => ` KEYWORD ${'x'.repeat(n)}`],
    'a quoted string of escapes': [parseSearch, (n) => ` TEXT "${'\\\\'.repeat(n)}"`],
    'a quoted string without an end': [parseSearch, (n) => ` TEXT "${'\\\\'.repeat(n)}`],
    'a descending set': [parseFetch, (n) => ` ${Array.from({ length: n / 14 }, (_, i) => n - 2 * i).join()} ALL`],
    commas: [parseFetch, (n) => ` ${','.repeat(n)} ALL`],
    colons: [parseFetch, (n) => ` ${'1:'.repeat(n)} ALL`],
    digits: [parseFetch, (n) => ` ${'1'.repeat(n)} ALL`],
    'a deep part': [parseFetch, (n) => ` 1 BODY[${'1.'.repeat(n)}1]`],
    dots: [parseFetch, (n) => ` 1 BODY[${'.'.repeat(n)}]`],
    'header names': [parseFetch, (n) => ` 1 BODY[HEADER.FIELDS (${'x '.repeat(n)}x)]`],
    'a long partial': [parseFetch, (n) => ` 1 BODY[]<${'9'.repeat(n)}.1>`],
    'a mailbox of shifts': [parseSelect, (n) => ` "${'&-'.repeat(n)}"`],
    'a mailbox of open shifts': [parseSelect, (n) => ` "${'&'.repeat(n)}"`],
    'a mailbox of one shift': [parseSelect, (n) => ` "&${'AOkA6QDp'.repeat(n / 8)}-"`],
    wildcards: [parseList, (n) => ` "" "${'*%'.repeat(n)}"`],
    flags: [parseStore, (n) => ` 1 FLAGS (${'x '.repeat(n)}x)`],
    spaces: [parseStore, (n) => ` 1 FLAGS ${' '.repeat(n)}`],
    'a date': [parseSearch, (n) => ` SINCE ${'1'.repeat(n)}-Feb-1994`],
    base64: [(parser) => parser.expectBase64(), (n) => 'A='.repeat(n)],
  };
  for (const [name, [parse, make]] of Object.entries(nasty)) {
    const attempt = (size: number): number => {
      const input = Buffer.from(make(size));
      return cost(() => {
        try {
          parse(CommandParser.of(input));
        } catch (error) {
          if (!(error instanceof ParseError)) throw error;
        }
      });
    };
    attempt(2_000);
    // Ten times the size: ten times the time if linear, a hundred times if quadratic. Below a millisecond is noise.
    const small = Math.max(attempt(20_000), 500);
    const large = attempt(200_000);
    t.ok(large / small < 40, `${name}: ${small} µs, then ${large} µs`);
  }
});
