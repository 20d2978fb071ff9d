import t from 'tap';
import { parseAppend } from '../../src/wire/append.js';
import { parseCreate } from '../../src/wire/create.js';
import { parseEnable } from '../../src/wire/enable.js';
import { parseFetch } from '../../src/wire/fetch.js';
import { formatId, parseId } from '../../src/wire/id.js';
import {
  MAX_APPEND_MESSAGES,
  MAX_FETCH_ITEMS,
  MAX_HEADER_FIELDS,
  MAX_ID_FIELD,
  MAX_ID_PAIRS,
  MAX_ID_VALUE,
  MAX_LIST_PATTERNS,
  MAX_OPTIONS,
  MAX_SEARCH_DEPTH,
  MAX_SEARCH_KEYS,
  MAX_SECTION_DEPTH,
} from '../../src/wire/limits.js';
import { parseList, parseLsub } from '../../src/wire/list.js';
import { ParseError } from '../../src/wire/parse-error.js';
import { CommandParser } from '../../src/wire/parser.js';
import { parseSearch } from '../../src/wire/search.js';
import type { SearchKey } from '../../src/wire/search-key.js';
import { parseSelect } from '../../src/wire/select.js';
import { parseStatus } from '../../src/wire/status-item.js';
import { parseStore } from '../../src/wire/store.js';

/** The arguments, or the message of the ParseError in angle brackets. */
function attempt<T>(text: string, parse: (parser: CommandParser) => T): T | string {
  try {
    return parse(CommandParser.of(text));
  } catch (error) {
    if (!(error instanceof ParseError)) throw error;
    return `<${error.message}>`;
  }
}

/** Items in one word each: the label, `!` when \Seen is set, the partial's length. */
function items(text: string): string[] | string {
  const parsed = attempt(` 1 ${text}`, parseFetch);
  if (typeof parsed === 'string') return parsed;
  return parsed.items.map((item) => {
    if (item.type === 'attribute') return item.name;
    const seen = 'peek' in item && !item.peek ? '!' : '';
    return `${item.label}${seen}${'partial' in item && item.partial ? `+${item.partial.count}` : ''}`;
  });
}

t.test('FETCH reads attributes and macros, also inside parentheses, without repetitions', async (t) => {
  t.same(items('FLAGS'), ['FLAGS']);
  t.same(items('(uid Flags UID internaldate RFC822.SIZE envelope BODY bodystructure modseq)'), [
    'UID',
    'FLAGS',
    'INTERNALDATE',
    'RFC822.SIZE',
    'ENVELOPE',
    'BODY',
    'BODYSTRUCTURE',
    'MODSEQ',
  ]);
  const all = ['FLAGS', 'INTERNALDATE', 'RFC822.SIZE', 'ENVELOPE'];
  t.same(items('ALL'), all);
  t.same(items('(all)'), all);
  t.same(items('FAST'), all.slice(0, 3));
  t.same(items('(UID FULL)'), ['UID', ...all, 'BODY']);
  t.equal(items('()'), '<Nothing in the parentheses of the FETCH items>');
  t.equal(items('FLAGS UID'), '<Expected the FETCH modifiers in parentheses>');
  t.equal(items('(FLAGS'), '<Expected a space or ) in the FETCH items>');
  t.equal(items('BODYS'), '<Unknown FETCH item>');
  t.equal(items('FLAGS[1]'), '<Only BODY and BINARY take a section>');
  t.equal(items('BODY.PEEK'), '<Unknown FETCH item>');
  t.equal(items(''), '<Expected a FETCH item>');
});

t.test('FETCH names sections in the response as RFC 9051 §7.5.2 does', async (t) => {
  t.same(items('BODY[]'), ['BODY[]!']);
  t.same(items('body.peek[]<0.2048>'), ['BODY[]<0>+2048']);
  t.same(items('BODY[]<0.0>'), ['BODY[]<0>!+0']);
  t.same(items('BODY.PEEK[1]<0.256>'), ['BODY[1]<0>+256']);
  t.same(items('BODY.PEEK[1.2.3.mime]'), ['BODY[1.2.3.MIME]']);
  t.same(items('BODY.PEEK[header]'), ['BODY[HEADER]']);
  t.same(items('BODY.PEEK[4.2.Text]'), ['BODY[4.2.TEXT]']);
  t.same(items('BODY.PEEK[header.fields (from "To" x-y from)]'), ['BODY[HEADER.FIELDS (FROM TO X-Y)]']);
  t.same(items('BODY.PEEK[2.HEADER.FIELDS.NOT (a)]<5.6>'), ['BODY[2.HEADER.FIELDS.NOT (A)]<5>+6']);
  t.same(items('BODY.PEEK[HEADER.FIELDS ("(x" nil)]'), ['BODY[HEADER.FIELDS ("(X" "NIL")]']);
  t.same(items('(BODY.PEEK[1] BODY[1] BODY[1]<0.1> BODY[1]<0.2>)'), ['BODY[1]!', 'BODY[1]<0>!+1', 'BODY[1]<0>!+2']);
  t.same(items('(BODY[1] BODY.PEEK[1])'), ['BODY[1]!']);
  t.same(attempt(' 1 BODY[1.2.HEADER.FIELDS (From)]', parseFetch), {
    set: { ranges: [[1, 1]], saved: false },
    items: [
      {
        type: 'section',
        label: 'BODY[1.2.HEADER.FIELDS (FROM)]',
        section: { part: [1, 2], text: 'HEADER.FIELDS', fields: ['FROM'] },
        partial: null,
        peek: false,
      },
    ],
    modifiers: { changedSince: null, vanished: false, partial: null },
  });
});

t.test('FETCH refuses malformed sections', async (t) => {
  for (const [text, message] of [
    ['BODY[0]', 'Malformed part number'],
    ['BODY[1.]', 'Unknown section'],
    ['BODY[.1]', 'Unknown section'],
    ['BODY[MIME]', 'MIME needs a part number'],
    ['BODY[1.FOO]', 'Unknown section'],
    ['BODY[1HEADER]', 'Unknown section'],
    ['BODY[4294967296]', 'Malformed part number'],
    ['BODY[HEADER.FIELDS]', 'Expected a space'],
    ['BODY[HEADER.FIELDS ()]', 'Nothing in the parentheses of the header names'],
    ['BODY[HEADER.FIELDS ("a b")]', 'Malformed header name'],
    ['BODY[HEADER.FIELDS (a:)]', 'Malformed header name'],
    ['BODY[TEXT', 'Expected ]'],
    ['BODY[]<0>', 'Expected .'],
    ['BODY[]<0.1', 'Expected >'],
    ['BODY[]<-1.1>', 'Expected the start of a partial as a number'],
    ['BINARY[HEADER]', 'Expected a part number'],
    ['BINARY[1.TEXT]', 'Expected a part number'],
    ['BINARY[1.]', 'Expected a part number'],
    ['BINARY[.]', 'Expected a part number'],
  ]) {
    t.equal(items(text!), `<${message}>`, text!);
  }
});

t.test('FETCH keeps the old names of RFC 3501 and BINARY apart', async (t) => {
  t.same(items('(RFC822.HEADER RFC822.TEXT RFC822)'), ['RFC822.HEADER', 'RFC822.TEXT!', 'RFC822!']);
  t.same(items('RFC822.PEEK'), ['RFC822']);
  t.same(items('(BINARY[] BINARY.PEEK[1.2]<3.4> BINARY.SIZE[1])'), ['BINARY[]!', 'BINARY[1.2]<3>+4', 'BINARY.SIZE[1]']);
});

t.test('FETCH takes items, header names and part numbers up to their limits', async (t) => {
  const parts = Array.from({ length: MAX_FETCH_ITEMS }, (_, index) => `BODY[${index + 1}]`);
  t.equal(items(`(${parts.join(' ')})`).length, MAX_FETCH_ITEMS);
  t.match(items(`(${parts.join(' ')} UID)`), /^<More than/);
  t.match(items(`(${parts.slice(1).join(' ')} ALL)`), /^<More than/, 'macros are counted spread out');
  const names = Array.from({ length: MAX_HEADER_FIELDS }, (_, index) => `x${index}`);
  t.equal(items(`BODY[HEADER.FIELDS (${names.join(' ')})]`).length, 1);
  t.match(items(`BODY[HEADER.FIELDS (${names.join(' ')} y)]`), /^<More than/);
  const deep = Array(MAX_SECTION_DEPTH).fill('1').join('.');
  t.equal(items(`BODY[${deep}]`).length, 1);
  t.equal(items(`BODY[${deep}.1]`), '<A part number is too deep>');
});

t.test('FETCH reads CHANGEDSINCE and VANISHED', async (t) => {
  const modifiers = (text: string): unknown => {
    const parsed = attempt(` 1:* FLAGS${text}`, parseFetch);
    return typeof parsed === 'string' ? parsed : parsed.modifiers;
  };
  t.same(modifiers(''), { changedSince: null, vanished: false, partial: null });
  t.same(modifiers(' (changedsince 12345)'), { changedSince: 12345, vanished: false, partial: null });
  t.same(modifiers(' (CHANGEDSINCE 5 VANISHED)'), { changedSince: 5, vanished: true, partial: null });
  t.same(modifiers(' (VANISHED CHANGEDSINCE 5)'), { changedSince: 5, vanished: true, partial: null });
  t.equal(modifiers(' (VANISHED)'), '<VANISHED needs CHANGEDSINCE>');
  t.equal(modifiers(' (CHANGEDSINCE 1 CHANGEDSINCE 2)'), '<Unknown or repeated FETCH modifier>');
  t.equal(modifiers(' (X)'), '<Unknown or repeated FETCH modifier>');
  t.equal(modifiers(' (CHANGEDSINCE 1) x'), '<Unexpected text at the end of the command>');
});

/** A search key as a short Lisp-like text. */
function show(key: SearchKey): string {
  switch (key.type) {
    case 'and':
    case 'or':
      return `(${key.type} ${key.keys.map(show).join(' ')})`;
    case 'not':
      return `(not ${show(key.key)})`;
    case 'sequence':
    case 'uid':
      return `${key.type}:${key.set}`;
    case 'flag':
      return `${key.present ? '+' : '-'}${key.flag}`;
    case 'recent':
      return `${key.present ? '+' : '-'}recent`;
    case 'envelope':
      return `${key.field}=${key.value}`;
    case 'header':
      return `header.${key.name}=${key.value}`;
    case 'body':
    case 'text':
      return `${key.type}=${key.value}`;
    case 'larger':
    case 'smaller':
      return `${key.type}:${key.size}`;
    case 'younger':
    case 'older':
      return `${key.type}:${key.seconds}`;
    case 'date':
      return `${key.field}.${key.relation}:${key.day}`;
    case 'modseq':
      return `modseq:${key.modSeq}${key.entry ? `:${key.entry.name}:${key.entry.type}` : ''}`;
    case 'emailid':
    case 'threadid':
      return `${key.type}:${key.id}`;
    case 'all':
    case 'savedatesupported':
      return key.type;
  }
}

function search(text: string): string {
  const parsed = attempt(` ${text}`, parseSearch);
  return typeof parsed === 'string' ? parsed : show(parsed.key);
}

t.test('SEARCH reads every key of RFC 3501, 9051, 5032, 7162, 8474 and 8514', async (t) => {
  for (const [text, shown] of [
    ['ALL', 'all'],
    ['answered', '+\\Answered'],
    ['DELETED', '+\\Deleted'],
    ['DRAFT', '+\\Draft'],
    ['FLAGGED', '+\\Flagged'],
    ['SEEN', '+\\Seen'],
    ['UNANSWERED', '-\\Answered'],
    ['UNDELETED', '-\\Deleted'],
    ['UNDRAFT', '-\\Draft'],
    ['UNFLAGGED', '-\\Flagged'],
    ['UNSEEN', '-\\Seen'],
    ['RECENT', '+recent'],
    ['OLD', '-recent'],
    ['NEW', '(and +recent -\\Seen)'],
    ['KEYWORD $Forwarded', '+$Forwarded'],
    ['UNKEYWORD Junk', '-Junk'],
    ['BCC a', 'bcc=a'],
    ['CC "a b"', 'cc=a b'],
    ['FROM ""', 'from='],
    ['SUBJECT x]', 'subject=x]'],
    ['TO a@b', 'to=a@b'],
    ['BODY b', 'body=b'],
    ['TEXT t', 'text=t'],
    ['HEADER Message-ID <x@y>', 'header.message-id=<x@y>'],
    ['HEADER X ""', 'header.x='],
    ['LARGER 5', 'larger:5'],
    ['SMALLER 5000000000', 'smaller:5000000000'],
    ['BEFORE 2-Jan-1970', 'internal.before:86400'],
    ['ON "2-Jan-1970"', 'internal.on:86400'],
    ['SINCE 02-Jan-1970', 'internal.since:86400'],
    ['SENTBEFORE 2-Jan-1970', 'sent.before:86400'],
    ['SENTON 2-Jan-1970', 'sent.on:86400'],
    ['SENTSINCE 2-Jan-1970', 'sent.since:86400'],
    ['SAVEDBEFORE 2-Jan-1970', 'saved.before:86400'],
    ['SAVEDON 2-Jan-1970', 'saved.on:86400'],
    ['SAVEDSINCE 2-Jan-1970', 'saved.since:86400'],
    ['SAVEDATESUPPORTED', 'savedatesupported'],
    ['YOUNGER 60', 'younger:60'],
    ['OLDER 60', 'older:60'],
    ['MODSEQ 620162338', 'modseq:620162338'],
    ['MODSEQ "/flags/\\\\draft" all 5', 'modseq:5:/flags/\\draft:all'],
    ['EMAILID M6d99ac3275bb4e', 'emailid:M6d99ac3275bb4e'],
    ['THREADID T64b478a75b7ea9', 'threadid:T64b478a75b7ea9'],
    ['1:3,*', 'sequence:1:3,*'],
    ['$', 'sequence:$'],
    ['UID *:*', 'uid:*'],
    ['UID 1:*', 'uid:1:*'],
    ['NOT SEEN', '(not +\\Seen)'],
    ['NOT NOT ALL', '(not (not all))'],
    ['OR SEEN DRAFT', '(or +\\Seen +\\Draft)'],
    ['OR SEEN OR DRAFT OR (ALL) NOT ALL', '(or +\\Seen +\\Draft all (not all))'],
    ['OR OR SEEN DRAFT ALL', '(or (or +\\Seen +\\Draft) all)'],
    ['OR (SEEN 1) DRAFT UNSEEN', '(and (or (and +\\Seen sequence:1) +\\Draft) -\\Seen)'],
    ['1:5 (SEEN) ((DRAFT OLD))', '(and sequence:1:5 +\\Seen (and +\\Draft -recent))'],
  ]) {
    t.equal(search(text!), shown, text!);
  }
});

t.test('SEARCH refuses what the grammar does not have', async (t) => {
  for (const text of [
    '',
    'FOO',
    'FOO bar',
    'SEEN ',
    ' SEEN',
    '()',
    '(SEEN',
    'SEEN)',
    '(SEEN )',
    'NOT',
    'OR SEEN',
    'OR SEEN OR DRAFT',
    'FROM',
    'HEADER x',
    'KEYWORD \\Seen',
    'KEYWORD "x"',
    'UID x',
    'UID 0',
    '1:0',
    'SINCE yesterday',
    'LARGER x',
    'YOUNGER 0',
    'MODSEQ "x" mine 1',
    'EMAILID a.b',
    'CHARSET UTF-8',
    'RETURN ALL SEEN',
    'RETURN (FOO) SEEN',
    'RETURN (ALL)',
    '"SEEN"',
  ]) {
    t.match(search(text), /^<.+>$/, text);
  }
});

t.test('SEARCH reads RETURN and CHARSET, and says whether MODSEQ is asked for', async (t) => {
  const none = { min: false, max: false, all: false, count: false, save: false, partial: null, update: null };
  const parse = (text: string): unknown => attempt(` ${text}`, parseSearch);
  const key = { type: 'all' };
  t.same(parse('ALL'), { returns: null, charset: null, key, usesModSeq: false });
  t.same(parse('RETURN () ALL'), { returns: { ...none, all: true }, charset: null, key, usesModSeq: false });
  t.same(parse('return (min Max COUNT) charset utf-8 ALL'), {
    returns: { ...none, min: true, max: true, count: true },
    charset: 'UTF-8',
    key,
    usesModSeq: false,
  });
  t.same(parse('RETURN (SAVE ALL) CHARSET "us-ascii" ALL'), {
    returns: { ...none, all: true, save: true },
    charset: 'US-ASCII',
    key,
    usesModSeq: false,
  });
  t.match(parse('NOT (OR SEEN MODSEQ 5)'), { usesModSeq: true });
  t.match(parse('CHARSET "a b" ALL'), '<Malformed charset>');
});

t.test('SEARCH takes its strings as the octets of quoted strings or literals', async (t) => {
  const bytes = Buffer.from([0xe4, 0xf6, 0x0d, 0x0a]);
  const parser = new CommandParser(
    [Buffer.from(' CHARSET ISO-8859-1 SUBJECT '), Buffer.from(' SEEN')],
    [{ bytes, binary: false }],
  );
  t.match(parseSearch(parser).key, {
    keys: [
      { type: 'envelope', field: 'subject', value: bytes },
      { type: 'flag', flag: '\\Seen' },
    ],
  });
});

t.test('SEARCH nests MAX_SEARCH_DEPTH deep and not one more, by any means', async (t) => {
  const nest = (depth: number, open: string, close: string): string =>
    search(`${open.repeat(depth)}ALL${close.repeat(depth)}`);
  for (const [open, close] of [
    ['(', ')'],
    ['NOT ', ''],
    ['OR ', ' SEEN'],
    ['OR SEEN (', ')'],
  ] as const) {
    const each = open === 'OR SEEN (' ? 2 : 1;
    t.notMatch(nest(MAX_SEARCH_DEPTH / each, open, close), /^</, open);
    t.equal(nest(MAX_SEARCH_DEPTH / each + 1, open, close), '<The search keys are nested too deeply>', open);
    t.equal(nest(1_000_000, open, close), '<The search keys are nested too deeply>', `a million times ${open}`);
  }
  t.match(search(`${'OR SEEN '.repeat(MAX_SEARCH_DEPTH * 3)}ALL`), /^\(or /, 'a chain of OR is no nesting');
});

t.test('SEARCH takes MAX_SEARCH_KEYS keys and refuses one more', async (t) => {
  const keys = Array(MAX_SEARCH_KEYS).fill('ALL').join(' ');
  t.match(search(keys), /^\(and /);
  t.equal(search(`${keys} ALL`), `<More than ${MAX_SEARCH_KEYS} search keys>`);
  t.match(search(`OR ALL ${'OR ALL '.repeat(MAX_SEARCH_KEYS)}ALL`), /^<More than/);
});

t.test('STORE reads mode, silence, flags and UNCHANGEDSINCE', async (t) => {
  const parse = (text: string): unknown => attempt(` ${text}`, parseStore);
  t.match(parse('1:2 FLAGS (\\Seen x)'), {
    mode: 'replace',
    silent: false,
    flags: ['\\Seen', 'x'],
    unchangedSince: null,
  });
  t.match(parse('1 +flags.silent \\Deleted'), { mode: 'add', silent: true, flags: ['\\Deleted'] });
  t.match(parse('1 -FLAGS ()'), { mode: 'remove', silent: false, flags: [] });
  t.match(parse('* (UNCHANGEDSINCE 0) FLAGS x y'), { unchangedSince: 0, flags: ['x', 'y'] });
  for (const text of [
    '1',
    '1 FLAG x',
    '1 *FLAGS x',
    '1 FLAGS',
    '1 FLAGSx',
    '1 (FOO 1) FLAGS x',
    '1 () FLAGS x',
    '1 FLAGS (x) y',
    '1 FLAGS x ',
  ]) {
    t.match(parse(text), /^<.+>$/, text);
  }
});

t.test('APPEND reads one message or many', async (t) => {
  const bytes = (text: string): { bytes: Buffer; binary: boolean } => ({ bytes: Buffer.from(text), binary: false });
  const parse = (texts: string[], literals: { bytes: Buffer; binary: boolean }[]): unknown => {
    try {
      return parseAppend(
        new CommandParser(
          texts.map((text) => Buffer.from(text)),
          literals,
        ),
      );
    } catch (error) {
      if (!(error instanceof ParseError)) throw error;
      return `<${error.message}>`;
    }
  };
  const plain = { flags: [], internalDate: null, parts: null, binary: false, utf8: false };
  t.same(parse([' Sent ', ''], [bytes('hi')]), {
    mailbox: 'Sent',
    messages: [{ ...plain, bytes: Buffer.from('hi') }],
  });
  t.same(
    parse([' "x" (\\Seen a) ', ' "01-Jan-1970 00:00:09 +0000" ', ' () ', ''], [bytes('1'), bytes('2'), bytes('')]),
    {
      mailbox: 'x',
      messages: [
        { ...plain, flags: ['\\Seen', 'a'], bytes: Buffer.from('1') },
        { ...plain, internalDate: 9, bytes: Buffer.from('2') },
        { ...plain, bytes: Buffer.from('') },
      ],
    },
  );
  t.same(parse([' x UTF8 (', ')'], [{ bytes: Buffer.from('\0'), binary: true }]), {
    mailbox: 'x',
    messages: [{ ...plain, bytes: Buffer.from('\0'), parts: null, binary: true, utf8: true }],
  });
  t.same(parse([' ', ' ', ''], [bytes('box'), bytes('mail')]), {
    mailbox: 'box',
    messages: [{ ...plain, bytes: Buffer.from('mail') }],
  });
  t.equal(parse([' x UTF8 (', ')'], [bytes('a')]), '<UTF8 needs a literal8>');
  t.equal(parse([' x "mail"'], []), '<Expected a date and time such as "17-Jul-1996 02:44:25 -0700">');
  t.equal(parse([' x mail'], []), '<Expected the message as a literal>');
  t.equal(parse([' x (\\Seen)'], []), '<Missing argument>');
  t.equal(parse([' x'], []), '<Missing argument>');
  t.equal(parse([' x ', ' '], [bytes('a')]), '<Expected the message as a literal>');
  t.equal(parse([' x ', '\t'], [bytes('a')]), '<Expected a space>');
  const many = Array(MAX_APPEND_MESSAGES).fill(bytes('m'));
  const texts = [' x ', ...Array(MAX_APPEND_MESSAGES - 1).fill(' '), ''];
  t.equal((parse(texts, many) as { messages: unknown[] }).messages.length, MAX_APPEND_MESSAGES);
  t.match(parse([...texts.slice(0, -1), ' ', ''], [...many, bytes('m')]), /^<More than/);
});

t.test('SELECT reads CONDSTORE and QRESYNC', async (t) => {
  const parse = (text: string): unknown => attempt(` ${text}`, parseSelect);
  t.same(parse('inbox'), { mailbox: 'INBOX', condstore: false, qresync: null });
  t.same(parse('"a b" (CONDSTORE)'), { mailbox: 'a b', condstore: true, qresync: null });
  t.match(parse('x (QRESYNC (67890007 20050715194045000 41,43:211,214:541))'), {
    qresync: {
      uidValidity: 67890007,
      modSeq: Number.MAX_SAFE_INTEGER,
      knownUids: {
        ranges: [
          [41, 41],
          [43, 211],
          [214, 541],
        ],
      },
      match: null,
    },
  });
  t.match(parse('x (QRESYNC (1 2 3:9 (1,3 5,7)) CONDSTORE)'), {
    condstore: true,
    qresync: {
      uidValidity: 1,
      modSeq: 2,
      match: {
        sequence: {
          ranges: [
            [1, 1],
            [3, 3],
          ],
        },
        uids: {
          ranges: [
            [5, 5],
            [7, 7],
          ],
        },
      },
    },
  });
  t.match(parse('x (QRESYNC (1 2 (1 5)))'), { qresync: { knownUids: null, match: { uids: { ranges: [[5, 5]] } } } });
  for (const text of [
    '',
    'x ()',
    'x (FOO)',
    'x (QRESYNC)',
    'x (QRESYNC (0 1))',
    'x (QRESYNC (1))',
    'x (QRESYNC (1 2 3:*))',
    'x (QRESYNC (1 2 $))',
    'x (QRESYNC (1 2 (1 5) 3))',
    'x (QRESYNC (1 2 3 4))',
    'x (QRESYNC (1 2) QRESYNC (1 2))',
    'x y',
  ]) {
    t.match(parse(text), /^<.+>$/, text);
  }
});

t.test('LIST reads patterns, selection and return options', async (t) => {
  const parse = (text: string): unknown => attempt(` ${text}`, parseList);
  const select = { subscribed: false, remote: false, recursiveMatch: false, specialUse: false };
  const returns = { subscribed: false, children: false, specialUse: false, myRights: false, status: null };
  t.same(parse('"" *'), { reference: '', patterns: ['*'], select, returns, extended: false });
  t.same(parse('"" ""'), { reference: '', patterns: [''], select, returns, extended: false });
  t.same(parse('a/ "b %"'), { reference: 'a/', patterns: ['b %'], select, returns, extended: false });
  t.same(parse('(SUBSCRIBED RECURSIVEMATCH Remote special-use) "" (INBOX "a/*" %)'), {
    reference: '',
    patterns: ['INBOX', 'a/*', '%'],
    select: { subscribed: true, remote: true, recursiveMatch: true, specialUse: true },
    returns,
    extended: true,
  });
  t.same(parse('"" % RETURN (CHILDREN SUBSCRIBED SPECIAL-USE MYRIGHTS STATUS (MESSAGES UNSEEN))'), {
    reference: '',
    patterns: ['%'],
    select,
    returns: { subscribed: true, children: true, specialUse: true, myRights: true, status: ['MESSAGES', 'UNSEEN'] },
    extended: true,
  });
  t.match(parse('() "" % RETURN ()'), { extended: true, select, returns });
  for (const text of [
    '',
    '""',
    '"" ()',
    '"" (a',
    '(FOO) "" *',
    '(RECURSIVEMATCH) "" *',
    '(RECURSIVEMATCH REMOTE) "" *',
    '"" * (CHILDREN)',
    '"" * RETURN',
    '"" * RETURN (FOO)',
    '"" * RETURN (STATUS)',
    '"" * RETURN (STATUS (FOO))',
    '"" * x',
  ]) {
    t.match(parse(text), /^<.+>$/, text);
  }
  const many = Array(MAX_LIST_PATTERNS).fill('a').join(' ');
  t.match(parse(`"" (${many})`), { extended: true });
  t.match(parse(`"" (${many} a)`), /^<More than/);
  t.same(attempt(' "" "*"', parseLsub), { reference: '', pattern: '*' });
  t.match(attempt(' "" (a)', parseLsub), /^<.+>$/);
});

t.test('STATUS reads its items once each', async (t) => {
  const parse = (text: string): unknown => attempt(` ${text}`, parseStatus);
  t.same(parse('inbox (messages UIDNEXT MESSAGES highestmodseq)'), {
    mailbox: 'INBOX',
    items: ['MESSAGES', 'UIDNEXT', 'HIGHESTMODSEQ'],
  });
  for (const text of ['x', 'x ()', 'x MESSAGES', 'x (FOO)', 'x (SIZE) y']) t.match(parse(text), /^<.+>$/, text);
});

t.test('CREATE reads USE', async (t) => {
  const parse = (text: string): unknown => attempt(` ${text}`, parseCreate);
  t.same(parse('a/b'), { mailbox: 'a/b', specialUse: [] });
  t.same(parse('x (USE (\\Sent \\Drafts))'), { mailbox: 'x', specialUse: ['\\Sent', '\\Drafts'] });
  for (const text of ['', 'x ()', 'x (FOO (a))', 'x (USE)', 'x y']) t.match(parse(text), /^<.+>$/, text);
});

t.test('ENABLE reads capabilities up to its limit', async (t) => {
  t.same(attempt(' condstore UTF8=ACCEPT', parseEnable), ['CONDSTORE', 'UTF8=ACCEPT']);
  for (const text of ['', ' ', ' (x)', ' x ']) t.match(attempt(text, parseEnable), /^<.+>$/, text);
  t.equal(attempt(' x'.repeat(MAX_OPTIONS), parseEnable).length, MAX_OPTIONS);
  t.match(attempt(' x'.repeat(MAX_OPTIONS + 1), parseEnable), /^<More than/);
});

t.test('ID reads and writes pairs within the limits of RFC 2971', async (t) => {
  const parse = (text: string): unknown => {
    const parsed = attempt(` ${text}`, parseId);
    return typeof parsed === 'string' ? parsed : [...parsed];
  };
  t.same(parse('NIL'), []);
  t.same(parse('()'), []);
  t.same(parse('("Name" "x \\"y\\"" "os" NIL)'), [
    ['name', 'x "y"'],
    ['os', null],
  ]);
  for (const text of ['', '(name "x")', '("a")', '("a" b)', '("a" "b" "A" "c")', '("a" "b") x']) {
    t.match(parse(text), /^<.+>$/, text);
  }
  const pairs = Array.from({ length: MAX_ID_PAIRS }, (_, index) => `"${index}" NIL`).join(' ');
  t.equal((parse(`(${pairs})`) as unknown[]).length, MAX_ID_PAIRS);
  t.match(parse(`(${pairs} "x" NIL)`), /^<More than/);
  t.match(parse(`("${'f'.repeat(MAX_ID_FIELD)}" "${'v'.repeat(MAX_ID_VALUE)}")`), [[/^f+$/, /^v+$/]]);
  t.match(parse(`("${'f'.repeat(MAX_ID_FIELD + 1)}" "v")`), /^<.+>$/);
  t.match(parse(`("f" "${'v'.repeat(MAX_ID_VALUE + 1)}")`), /^<.+>$/);
  t.equal(
    formatId(
      new Map([
        ['name', 'Mergebox'],
        ['x', null],
      ]),
    ).toString(),
    '("name" "Mergebox" "x" NIL)',
  );
  t.equal(formatId(new Map()).toString(), 'NIL');
});
