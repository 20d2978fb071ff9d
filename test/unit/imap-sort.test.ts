import fc from 'fast-check';
import t from 'tap';
import { fieldName, headerFields, unfoldedValue } from '../../src/mail/header.js';
import { HeaderPicker, pickedValue } from '../../src/mail/header-pick.js';
import { sortYielding } from '../../src/mail/sort-merge.js';
import { baseSubject } from '../../src/mail/sort-subject.js';
import { formatThreads, threadByReferences, threadBySubject, type ThreadMail } from '../../src/mail/thread.js';
import { setup } from './imap-support.js';

const rest = async (): Promise<void> => undefined;

t.test('baseSubject takes off what RFC 5256 §2.1 names', async (t) => {
  const table: [string, string, boolean][] = [
    ['Hello', 'Hello', false],
    ['  a \t b  ', 'a b', false],
    ['Re: Hello', 'Hello', true],
    ['RE : [list] fw: Fwd[2]: Hello (fwd) (FWD)', 'Hello', true],
    ['[list] Hello', 'Hello', false],
    ['[list]', '[list]', false],
    ['Re: [list]', '[list]', true],
    ['[a] [b] Re: c', 'c', true],
    ['[Fwd: Re: Hello (fwd)]', 'Hello', true],
    ['Reply to this', 'Reply to this', false],
    ['Re:', '', true],
    ['', '', false],
  ];
  for (const [subject, base, isReply] of table) t.same(baseSubject(subject), { base, isReply }, subject);
  const long = `${'Re: '.repeat(100_000)}x`;
  t.equal(baseSubject(long).isReply, true);
  baseSubject('['.repeat(100_000));
  baseSubject('[a] '.repeat(100_000));
});

t.test('HeaderPicker finds what reading all fields finds', async (t) => {
  const names = ['subject', 's', 'date', 'x-a'];
  const picker = new HeaderPicker(names);
  const line = fc.constantFrom(
    'Subject: a',
    'SUBJECT : b',
    'S:',
    'Subjects: no',
    'date:x',
    ' folded',
    '\tmore',
    'X-A',
    'x-a:1',
    ':',
    '',
  );
  const header = fc
    .array(fc.tuple(line, fc.constantFrom('\r\n', '\n')), { maxLength: 12 })
    .map((lines) => lines.map(([text, end]) => text + end).join(''));
  const check = (): void =>
    fc.assert(
      fc.property(header, fc.boolean(), (text, cut) => {
        const bytes = Buffer.from(cut ? text.slice(0, -1) : text);
        const expected = [...headerFields(bytes)]
          .map((field) => [names.indexOf(fieldName(bytes, field)), unfoldedValue(bytes, field)] as const)
          .filter(([index]) => index >= 0);
        const found = picker.pick(bytes).map((field) => [field.index, pickedValue(bytes, field)] as const);
        return JSON.stringify(found) === JSON.stringify(expected);
      }),
      { numRuns: 2_000 },
    );
  t.doesNotThrow(check);
});

t.test('sortYielding is a stable sort', async (t) => {
  const items = Array.from({ length: 10_001 }, (_, at) => ({ key: (at * 7_919) % 97, at }));
  const sorted = await sortYielding(items, (a, b) => a.key - b.key, rest);
  t.same(
    sorted,
    [...items].sort((a, b) => a.key - b.key || a.at - b.at),
  );
  t.same(await sortYielding([], () => 0, rest), []);
});

/** `id<refs subject`, dated by position. */
function mails(...specs: [id: string, refs: string, subject?: string][]): ThreadMail[] {
  return specs.map(([id, refs, text], at) => {
    const { base, isReply } = baseSubject(text ?? id);
    const references = refs === '' ? [] : refs.split(' ');
    return { number: at + 1, messageId: id, references, date: at, arrival: at, subject: base, isReply };
  });
}

t.test('threads by reference', async (t) => {
  const threads = async (refs: boolean, ...specs: [string, string, string?][]): Promise<string> =>
    formatThreads(await threadByReferences(mails(...specs), refs, rest));
  t.equal(await threads(false, ['a', ''], ['b', 'a'], ['c', 'a b'], ['d', 'a']), '(1 (2 3)(4))');
  t.equal(await threads(false, ['b', 'x'], ['c', 'x'], ['d', 'y']), '((1)(2))(3)', 'a missing parent holds two');
  t.equal(await threads(false, ['d', 'a b c'], ['a', '']), '(2 1)', 'missing ones between give way');
  t.equal(await threads(false, ['a', 'b'], ['b', 'a']), '(2 1)', 'a loop is broken');
  t.equal(await threads(false, ['a', 'a']), '(1)');
  t.equal(await threads(false, ['a', ''], ['a', ''], ['b', 'a']), '((1 3)(2))', 'one Message-ID twice');
  t.equal(await threads(false, ['a', '', 's'], ['b', '', 'Re: s']), '(1 2)', 'a reply joins by its subject');
  t.equal(await threads(false, ['a', '', 's'], ['b', '', 's']), '((1)(2))', 'two of one subject are siblings');
  t.equal(await threads(false, ['a', '', 'Re: s'], ['b', '', 's']), '(2 1)');
  t.equal(await threads(false, ['a', '', 's'], ['b', '', 's'], ['c', '', 'Re: s']), '((1)(2)(3))');
  t.equal(await threads(true, ['a', '', 's'], ['b', '', 'Re: s']), '(1)(2)', 'REFS leaves subjects alone');
  t.equal(await threads(true, ['a', ''], ['b', ''], ['c', 'a']), '(2)(1 3)', 'REFS orders by the last arrival');
});

t.test('threads by subject', async (t) => {
  const list = mails(['a', '', 'x'], ['b', '', 'y'], ['c', '', 'Re: x'], ['d', '', '[l] x'], ['e', '', 'Re: y']);
  t.equal(formatThreads(await threadBySubject(list, rest)), '(1 (3)(4))(2 5)');
});

t.test('a thread as deep as the mailbox costs neither stack nor square time', async (t) => {
  const count = 50_000;
  const deep = Array.from({ length: count }, (_, at): ThreadMail => {
    const references = at === 0 ? [] : [`m${at - 1}`];
    return { number: at + 1, messageId: `m${at}`, references, date: at, arrival: at, subject: '', isReply: false };
  }).reverse();
  const started = performance.now();
  const text = formatThreads(await threadByReferences(deep, true, rest));
  t.equal(text, `(${Array.from({ length: count }, (_, at) => at + 1).join(' ')})`);
  t.ok(performance.now() - started < 5_000);
});

function mail(fields: readonly string[]): Buffer {
  return Buffer.from(`${fields.join('\r\n')}\r\n\r\nbody\r\n`);
}

t.test('SORT by every key, forwards and backwards', async (t) => {
  const { login, alice } = await setup(t);
  const add = (date: number, ...fields: string[]): unknown => alice.deliver(mail(fields), 'INBOX', [], date);
  add(300, 'From: Zoe <a@x>', 'To: c@x', 'Cc: q@x', 'Subject: Re: beta', 'Date: Wed, 3 Jan 2024 00:00:00 +0000');
  add(100, 'From: b@x', 'To: "Anna" <z@x>', 'Subject: =?utf-8?q?=C3=84pfel?=', 'Date: Mon, 1 Jan 2024 23:30:00 -0200');
  add(
    200,
    'From: =?utf-8?q?adam?= <c@x>',
    'To: b@x',
    'Cc: p@x',
    'Subject: Beta',
    'Date: Tue, 2 Jan 2024 01:00:00 +0000',
    'X: longer',
  );
  add(1_600_000_000, 'Subject: alpha');
  const client = await login('INBOX');
  const sort = async (criteria: string, keys = 'ALL'): Promise<string> =>
    (await client.ok(`SORT (${criteria}) UTF-8 ${keys}`))[0]!.replace(/^\* SORT ?/, '');
  t.equal(await sort('ARRIVAL'), '2 3 1 4');
  t.equal(await sort('REVERSE ARRIVAL'), '4 1 3 2');
  t.equal(await sort('DATE'), '4 3 2 1', 'in UTC; without Date by INTERNALDATE');
  t.equal(await sort('FROM'), '4 1 2 3');
  t.equal(await sort('TO'), '4 3 1 2');
  t.equal(await sort('CC'), '2 4 3 1', 'none first, in order of numbers');
  t.equal(await sort('SUBJECT'), '4 1 3 2');
  t.equal(await sort('REVERSE SUBJECT ARRIVAL'), '2 3 1 4', 'the second key decides among equals');
  t.equal(await sort('REVERSE SUBJECT'), '2 1 3 4', 'REVERSE leaves equals in order');
  t.equal(await sort('SIZE'), '4 1 2 3');
  t.equal(await sort('DISPLAYFROM'), '4 3 2 1');
  t.equal(await sort('DISPLAYTO'), '4 2 3 1');
  t.equal(await sort('ARRIVAL', 'SUBJECT beta'), '3 1');
  t.equal(await sort('ARRIVAL', 'SUBJECT nothing'), '');
  t.equal((await client.ok('UID SORT (ARRIVAL) US-ASCII 1:2'))[0], '* SORT 2 1');
  t.match((await client.lines('SORT (ARRIVAL) X-NONE ALL')).at(-1), /^\. NO \[BADCHARSET/);
  for (const wrong of ['(FOO) UTF-8 ALL', '() UTF-8 ALL', '(REVERSE) UTF-8 ALL', '(DATE) UTF-8', '(DATE) ALL']) {
    t.match((await client.lines(`SORT ${wrong}`)).at(-1), /^\. BAD /, wrong);
  }
});

t.test('ESORT answers in the order of the sort', async (t) => {
  const { login, alice } = await setup(t);
  for (const date of [3, 2, 1, 4]) alice.deliver(mail(['Subject: x']), 'INBOX', [], date);
  const client = await login('INBOX');
  const sort = async (args: string): Promise<string> =>
    (await client.ok(`UID SORT ${args} UTF-8 ALL`))[0]!.replace(/TAG "[^"]*"/, 'TAG');
  t.equal(await sort('RETURN () (ARRIVAL)'), '* ESEARCH (TAG) UID ALL 3,2,1,4');
  t.equal(await sort('RETURN (MIN MAX COUNT) (ARRIVAL)'), '* ESEARCH (TAG) UID MIN 3 MAX 4 COUNT 4');
  t.match(await sort('RETURN (SAVE) (ARRIVAL)'), /^\. OK /);
  t.equal((await client.ok('FETCH $ (UID)')).length, 5);
});

t.test('THREAD answers over the wire, by UID and by number', async (t) => {
  const { login, alice } = await setup(t);
  const add = (id: string, refs: string, subject: string): unknown =>
    alice.deliver(mail([`Message-ID: <${id}>`, ...(refs === '' ? [] : [refs]), `Subject: ${subject}`]));
  add('gone@x', '', 'gone');
  add('a@x', '', 'one');
  add('b@x', 'In-Reply-To: <a@x>', 'Re: one');
  add('c@x', 'References: <a@x>\r\n <b@x>', 'Re: one');
  add('d@x', '', 'two');
  alice.mailbox('INBOX').remove([1]);
  const client = await login('INBOX');
  t.equal((await client.ok('THREAD REFERENCES UTF-8 ALL'))[0], '* THREAD (1 2 3)(4)');
  t.equal((await client.ok('UID THREAD REFS UTF-8 ALL'))[0], '* THREAD (2 3 4)(5)');
  t.equal((await client.ok('UID THREAD ORDEREDSUBJECT UTF-8 ALL'))[0], '* THREAD (2 (3)(4))(5)');
  t.equal((await client.ok('THREAD REFERENCES UTF-8 SUBJECT nothing'))[0], '* THREAD');
  t.match((await client.lines('THREAD FOO UTF-8 ALL')).at(-1), /^\. BAD /);
  t.match((await client.lines('THREAD REFS X-NONE ALL')).at(-1), /^\. NO \[BADCHARSET/);
  const utf8 = await login();
  await utf8.ok('ENABLE UTF8=ACCEPT');
  await utf8.ok('SELECT INBOX');
  await utf8.ok('SORT (DATE) UTF-8 ALL');
  t.match((await utf8.lines('SORT (DATE) ISO-8859-1 ALL')).at(-1), /^\. BAD /);
});
