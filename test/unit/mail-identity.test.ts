import t from 'tap';
import { bodyStructureWire } from '../../src/mail/body-structure.js';
import { headerEnd } from '../../src/mail/header.js';
import { bodyHashOf, contentKeyOf, mergeKey, type MessageKeys, messageKeys } from '../../src/mail/identity.js';
import { parseMime } from '../../src/mail/mime.js';
import { structureLeaves } from '../../src/mail/mime-structure-reader.js';
import { CORPUS, mail } from './mail-corpus.js';

const FIELDS: Readonly<Record<string, string>> = {
  'Message-ID': '<one@example.org>',
  Date: 'Tue, 02 Jan 2024 10:11:12 +0100',
  From: 'Ann <ann@example.org>',
  To: 'bob@example.net',
  Subject: 'A subject of some length',
};

/** A mail with FIELDS, changed by `fields` (null leaves one out), and a body. */
function made(fields: Readonly<Record<string, string | null>> = {}, body = 'text\r\n'): Buffer {
  const all: Record<string, string | null> = { ...FIELDS, ...fields };
  const lines = Object.entries(all).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]));
  return mail(...lines, '', body);
}

const keysOf = (bytes: Buffer): MessageKeys =>
  messageKeys(bytes.subarray(0, headerEnd(bytes)), bodyStructureWire(bytes, parseMime(bytes)));
const keyOf = (bytes: Buffer): string | null => mergeKey(keysOf(bytes), 'content');

t.test('mergeKey is equal for copies that differ only in what servers and routes do', async (t) => {
  const key = keyOf(made());
  t.match(key, /^[\w-]{22}$/);
  const same: Readonly<Record<string, Buffer>> = {
    'other Received fields': Buffer.concat([
      Buffer.from('Received: from x by y;\r\n\tyesterday\r\nX-Spam: no\r\n'),
      made(),
    ]),
    'folded otherwise': made({ Subject: 'A subject\r\n of some\r\n\tlength', 'Message-ID': '\r\n <one@example.org>' }),
    'the name rewritten': made({ From: '=?utf-8?q?Ann?=\r\n <ann@EXAMPLE.org> (Ann)' }),
    'the same instant': made({ Date: '2 Jan 2024 09:11:12 GMT' }),
    'other case of names': made({ 'Message-ID': null, 'MESSAGE-ID': '<one@example.org>' }),
    'another recipient': made({ To: 'carol@example.com' }),
  };
  for (const [what, bytes] of Object.entries(same)) t.equal(keyOf(bytes), key, what);
});

t.test('mergeKey differs as soon as one of them does', async (t) => {
  const key = keyOf(made());
  const other: Readonly<Record<string, Buffer>> = {
    'a forged Message-ID on another mail': made({ From: 'mallory@example.org', Subject: 'Buy' }, 'buy\r\n'),
    'a forged header on other content': made({}, 'other text\r\n'),
    'the footer of a mailing list': made({}, 'text\r\n-- \r\nlist\r\n'),
    'a list tag in the subject': made({ Subject: '[list] A subject of some length' }),
    'another Message-ID': made({ 'Message-ID': '<two@example.org>' }),
    'another local part': made({ From: 'ANN@example.org' }),
    'another second': made({ Date: 'Tue, 02 Jan 2024 10:11:13 +0100' }),
    'another type': made({ 'Content-Type': 'text/html' }),
    'another encoding': made({ 'Content-Transfer-Encoding': 'base64' }),
  };
  const seen = new Set([key]);
  for (const [what, bytes] of Object.entries(other)) {
    const otherKey = keyOf(bytes);
    t.notOk(seen.has(otherKey), what);
    seen.add(otherKey);
  }
});

t.test('mergeKey is null where proof is missing, and a body hash can make up for one field', async (t) => {
  for (const name of ['Message-ID', 'From', 'Date']) {
    for (const value of [null, '']) {
      const bytes = made({ [name]: value });
      const keys = keysOf(bytes);
      t.equal(mergeKey(keys, 'content'), null, `without ${name}`);
      t.ok(keys.matchKey, 'it can be recognised all the same');
      const hash = bodyHashOf(bytes);
      t.match(mergeKey(keys, 'content', hash), /^[\w-]{22}$/);
      t.not(mergeKey(keys, 'content', hash), mergeKey(keys, 'content', bodyHashOf(made({}, 'other'))));
    }
  }
  const bare = made({ 'Message-ID': null, From: null });
  t.equal(mergeKey(keysOf(bare), 'content', bodyHashOf(bare)), null, 'one field is too little');
  const empty = mail('', '');
  t.equal(mergeKey(keysOf(empty), 'content', bodyHashOf(empty)), null, 'a mail from nobody at no time');
  t.equal(mergeKey(messageKeys(made(), null), 'content'), null, 'the structure is unknown');
  t.ok(mergeKey(messageKeys(made(), null), 'content', bodyHashOf(made())));
});

t.test('mergeKey with a body hash still meets a copy whose bytes are not at hand', async (t) => {
  t.equal(mergeKey(keysOf(made()), 'content', bodyHashOf(made())), keyOf(made()));
});

t.test('mergeKey follows the policy', async (t) => {
  const [one, forged] = [keysOf(made()), keysOf(made({ From: 'mallory@example.org' }, 'buy'))];
  t.equal(mergeKey(one, 'messageId'), mergeKey(forged, 'messageId'), 'whoever asks for Message-ID gets it');
  t.not(mergeKey(one, 'messageId'), mergeKey(one, 'content'));
  t.equal(mergeKey(keysOf(made({ 'Message-ID': null })), 'messageId'), null);
  t.equal(mergeKey(one, 'off'), null);
});

t.test('matchKey recognises a mail in its account, with or without Message-ID', async (t) => {
  const match = (bytes: Buffer): string => keysOf(bytes).matchKey;
  t.equal(match(made()), match(Buffer.concat([Buffer.from('X-Moved: yes\r\n'), made()])));
  t.not(match(made()), match(made({}, 'with a footer')), 'the direct copy and the one of the list');
  t.not(match(made({ To: 'x@y' })), match(made()), 'the same to another recipient');
  const cron = (received: string): Buffer =>
    Buffer.concat([
      Buffer.from(`Received: from cron by host; ${received}\r\n`),
      made({ 'Message-ID': null, Date: null }),
    ]);
  t.equal(match(cron('1 Jan 2024 00:00')), match(cron('1 Jan 2024\r\n 00:00')));
  t.not(match(cron('1 Jan 2024 00:00')), match(cron('2 Jan 2024 00:00')), 'two that only their way tells apart');
});

t.test('messageKeys reads the Message-ID and no more of the header than there is', async (t) => {
  const id = (value: string): string | null => messageKeys(mail(`Message-ID: ${value}`, '', ''), null).messageId;
  t.equal(id('<a@b>'), 'a@b');
  t.equal(id('(c) <a@\r\n b> x'), 'a@b');
  t.equal(id('a@b'), 'a@b');
  t.equal(id('<>'), null);
  t.equal(id(''), null);
  t.equal(messageKeys(mail('Message-ID: <a>', 'Message-ID: <b>', '', ''), null).messageId, 'a', 'the first counts');
  t.equal(messageKeys(mail('Subject: x', '', 'Message-ID: <body>'), null).messageId, null);
  t.equal(messageKeys(mail('Message-IDs: <x>', 'XMessage-ID: <y>', ''), null).messageId, null);
  t.equal(messageKeys(Buffer.alloc(0), null).messageId, null);
});

t.test('contentKeyOf is the same whichever server wrote the structure', async (t) => {
  const key = (wire: string): string | null => contentKeyOf(Buffer.from(wire, 'latin1'));
  const ours = bodyStructureWire(CORPUS.get('forwarded')!, parseMime(CORPUS.get('forwarded')!)).toString('latin1');
  const envelope = '("d" {3}\r\na)b ((NIL NIL "a" "b")) NIL NIL NIL NIL NIL NIL NIL)';
  const theirs =
    '(("TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 23 2 NIL NIL NIL NIL) ' +
    `("MESSAGE" "RFC822" ("NAME" {8}\r\nmail\\".)) NIL NIL "8BIT" 999 ${envelope} ` +
    '(("text" "plain" NIL NIL NIL NIL 23 2)("text" {4}\r\nhtml NIL NIL NIL "Quoted-Printable" 40 1)"ALTERNATIVE") ' +
    '99 NIL ("ATTACHMENT" ("FILENAME" "a\\\\\\"(")) NIL NIL)' +
    '"MIXED" ("BOUNDARY" "x" ) NIL NIL)';
  t.equal(key(theirs), key(ours));
  t.not(key(theirs.replace('23 2)', '24 2)')), key(ours), 'an octet more');
  t.equal(key('("TEXT" "PLAIN" NIL NIL NIL NIL 3)'), key('("" "" NIL NIL NIL "7bit" 3 NIL NIL NIL NIL)'));
  t.not(key('("text" "plain" NIL NIL NIL "base64" 3 1)'), key('("text" "plain" NIL NIL NIL "7bit" 3 1)'));
});

t.test('structureLeaves refuses what is no structure', async (t) => {
  const wrong = [
    '',
    '(',
    'NIL',
    '()',
    '(("text" "plain" NIL NIL NIL NIL 3 1) "mixed"',
    '("text" "plain" NIL NIL NIL NIL x 1)',
    '("text" "plain" NIL NIL NIL NIL -3 1)',
    '("text" "plain" (NIL NIL NIL NIL 3 1)',
    '("text" {99}\r\nplain NIL NIL NIL NIL 3 1)',
    '("text" {x}\r\nplain NIL NIL NIL NIL 3 1)',
    '("text" "plain NIL NIL NIL NIL 3 1)',
    '("text" "plain" NIL NIL NIL NIL 3 1) more',
    '('.repeat(100_000),
    '('.repeat(260) + ')'.repeat(260),
  ];
  for (const wire of wrong) t.equal(structureLeaves(Buffer.from(wire)), null, wire.slice(0, 60));
  t.equal(messageKeys(made(), Buffer.from('(')).contentKey, null);
});
