import t from 'tap';
import { Arena } from '../../src/upstream/arena.js';
import { FlagTexts } from '../../src/upstream/flag-texts.js';
import { foldersWithRoles } from '../../src/upstream/folder-roles.js';
import { MAX_FLAG_TEXTS, MAX_FOLDERS } from '../../src/upstream/limits.js';
import { libraryError } from '../../src/upstream/mutate-errors.js';
import { PageCollector } from '../../src/upstream/page-collector.js';
import { MergeboxError } from '../../src/util/errors.js';
import { FetchItems, parseFetch } from '../../src/wire/response-fetch.js';

type Listed = Parameters<typeof foldersWithRoles>[0][number];

function listed(pathAsListed: string, flags: string[] = [], use?: [string, 'extension' | 'name']): Listed {
  return {
    pathAsListed,
    delimiter: '/',
    flags: new Set(flags),
    subscribed: true,
    ...(use === undefined ? {} : { specialUse: use[0], specialUseSource: use[1] }),
  };
}

const rolesOf = (folders: ReturnType<typeof foldersWithRoles>): Record<string, string | null> =>
  Object.fromEntries(folders.map(({ path, role }) => [path, role]));

t.test('foldersWithRoles gives each role once: configuration, then SPECIAL-USE, then names at the top', (t) => {
  const list = [
    listed('Inbox'),
    listed('Sent', [], ['\\Sent', 'extension']),
    listed('My Sent'),
    listed('Projects/Archive', [], ['\\Archive', 'name']),
    listed('INBOX/Trash', [], ['\\Trash', 'name']),
    listed('Junk', ['\\Noselect'], ['\\Junk', 'extension']),
    listed('Drafts', [], ['\\Drafts', 'name']),
  ];
  t.strictSame(rolesOf(foldersWithRoles(list, {}, '')), {
    INBOX: 'inbox',
    Sent: 'sent',
    'My Sent': null,
    'Projects/Archive': null,
    'INBOX/Trash': 'trash',
    Junk: null,
    Drafts: 'drafts',
  });
  const overrides = { sent: 'My Sent', archive: 'Archive', drafts: 'nowhere' };
  t.match(rolesOf(foldersWithRoles(list, overrides, 'Projects/')), {
    Sent: null,
    'My Sent': 'sent',
    'Projects/Archive': 'archive',
    Drafts: 'drafts',
  });
  t.end();
});

t.test('foldersWithRoles decodes names, marks virtual folders, and offers none that cannot be named', (t) => {
  const folders = foldersWithRoles(
    [listed('Entw&APw-rfe'), listed('a&b'), listed('All', ['\\All']), listed('Gone', ['\\NonExistent']), listed('ü')],
    {},
    '',
  );
  t.match(folders, [
    { path: 'Entwürfe', selectable: true, virtual: false },
    { path: 'a&b', selectable: false },
    { path: 'All', selectable: true, virtual: true, role: null },
    { path: 'Gone', selectable: false },
    { path: 'ü', selectable: false },
  ]);
  t.end();
});

t.test("libraryError puts imapflow's errors into the port's words", (t) => {
  const mapped = (fields: object, message = 'Command failed'): MergeboxError =>
    libraryError('do it', Object.assign(new Error(message), fields));
  const response = { attributes: [{ section: [{ value: 'NonExistent' }] }] };
  t.match(mapped({ responseStatus: 'NO', responseText: 'full', serverResponseCode: 'OVERQUOTA' }), {
    code: 'refused',
    responseCode: 'OVERQUOTA',
    serverText: 'full',
    message: 'do it: the server refused: [OVERQUOTA] full',
  });
  t.equal(mapped({ responseStatus: 'NO', response }).code, 'nonexistent');
  t.equal(mapped({ responseStatus: 'BAD', serverResponseCode: 'TRYCREATE' }).code, 'nonexistent');
  t.equal(mapped({ responseStatus: 'NO', mailboxMissing: true }).code, 'nonexistent');
  t.equal(mapped({ authenticationFailed: true, responseStatus: 'NO', responseText: 'no' }).code, 'authentication');
  t.equal(mapped({ authenticationFailed: true, serverResponseCode: 'LIMIT', responseStatus: 'NO' }).code, 'connection');
  t.equal(mapped({}, 'Unsupported authentication mechanism').code, 'authentication');
  for (const code of ['CONNECT_TIMEOUT', 'GREETING_TIMEOUT', 'ETIMEOUT']) t.equal(mapped({ code }).code, 'timeout');
  for (const code of ['LineTooLarge', 'ParserError11', 'STARTTLS_INJECTION'])
    t.equal(mapped({ code }).code, 'protocol');
  t.match(mapped({ code: 'NoConnection', reason: 'too many' }), { code: 'connection', message: /too many/ });
  const own = new MergeboxError('aborted', 'x');
  t.equal(libraryError('do it', own), own);
  t.equal(libraryError('do it', 'text').code, 'connection');
  t.end();
});

t.test('PageCollector puts together what a server tells of a message in several responses', (t) => {
  const collector = new PageCollector([3, 1, 2], new FlagTexts());
  const items = new FetchItems();
  const feed = (text: string): boolean => {
    const bytes = Buffer.from(text, 'latin1');
    parseFetch(bytes, 0, bytes.length, null, items);
    const taken = collector.fetch(bytes, items);
    // Whatever is kept must be a copy.
    bytes.fill(0);
    return taken;
  };
  t.ok(feed('* 1 FETCH (UID 1 FLAGS (\\Seen \\Recent) RFC822.SIZE 5)'));
  t.ok(feed('* 1 FETCH (UID 1 BODY[HEADER] {6}\r\nA: b\r\n ENVELOPE (NIL) BODYSTRUCTURE ("x"))'));
  t.ok(feed('* 3 FETCH (UID 3 RFC822.SIZE 7 RFC822.HEADER "a\\"" INTERNALDATE " 1-Jan-1970 00:00:09 +0000")'));
  t.ok(feed('* 2 FETCH (UID 2 FLAGS (late))'));
  t.notOk(feed('* 4 FETCH (UID 4 RFC822.SIZE 1 BODY[HEADER] NIL)'), 'not of this page');
  t.notOk(feed('* 4 FETCH (FLAGS ())'), 'without UID');
  t.ok(feed('* 1 FETCH (UID 1 FLAGS (\\Flagged))'));
  t.match(collector.page(), [
    { uid: 3, flags: '', internalDate: 9, size: 7, envelope: null, structure: null },
    { uid: 1, flags: '\\Flagged', internalDate: null, size: 5 },
  ]);
  const [third, first] = collector.page();
  t.equal(third?.header.toString(), 'a"');
  t.equal(first?.header.toString(), 'A: b\r\n');
  t.equal(first?.envelope?.toString(), '(NIL)');
  t.equal(first?.structure?.toString(), '("x")');
  t.end();
});

t.test('FlagTexts are canonical, and bounded however many a server invents', (t) => {
  const texts = new FlagTexts();
  const at = (text: string): string => texts.at(Buffer.from(text), 0, Buffer.byteLength(text));
  t.equal(at(''), '');
  t.equal(at('b \\seen \\Recent A'), '\\Seen A b');
  for (let n = 0; n < MAX_FLAG_TEXTS * 2; n += 1) at(`k${n}`);
  t.equal(at('\\SEEN'), '\\Seen');
  t.equal(
    at('\\Seen a"b {3} caf\u00e9 \u0001x ] \\Own a\\b $Account_home ok'),
    '\\Seen \\Own ok',
    'what no client can read',
  );
  const long = 'x'.repeat(200);
  t.equal(
    at(`\\Seen ${[1, 2, 3, 4, 5, 6].map((n) => `${n}${long}`).join(' ')}`).length,
    '\\Seen'.length + 5 * 202,
    'cut at a whole flag',
  );
  t.equal(at('y'.repeat(5_000)), '', 'one that is too long itself');
  t.end();
});

t.test('Arena copies next to each other and never overlaps', (t) => {
  const arena = new Arena();
  const source = Buffer.alloc(100_000, 'x');
  const pieces = Array.from({ length: 200 }, (_, index) => {
    source.fill(index);
    return arena.copy(source, 0, index * 100);
  });
  for (const [index, piece] of pieces.entries()) {
    if (piece.length !== index * 100 || piece.some((byte) => byte !== index)) t.fail(`piece ${index}`);
  }
  t.ok(pieces[2]!.buffer === pieces[3]!.buffer, 'small ones share memory');
  t.equal(arena.size, 1_990_000);
  t.end();
});

t.test('foldersWithRoles takes a name that is listed twice once, and INBOX in any spelling for one', (t) => {
  const folders = foldersWithRoles([listed('INBOX'), listed('Inbox'), listed('a'), listed('a')], {}, '');
  t.strictSame(
    folders.map(({ path }) => path),
    ['INBOX', 'a'],
  );
  t.equal(folders[0]!.role, 'inbox');
  t.end();
});

t.test('foldersWithRoles refuses a list of folders without end', (t) => {
  const many = (count: number) => Array.from({ length: count }, (_, number) => listed(`f${number}`));
  t.equal(foldersWithRoles(many(MAX_FOLDERS), {}, '').length, MAX_FOLDERS);
  t.throws(() => foldersWithRoles(many(MAX_FOLDERS + 1), {}, ''), { code: 'protocol' });
  t.end();
});
