import t from 'tap';
import type { Backend, Mailbox, UserSession } from '../../src/imap/backend.js';
import { mail, setup } from './imap-support.js';

t.test('QUOTA: roots of a mailbox, one root, none', async (t) => {
  const { login, alice } = await setup(t);
  const client = await login();
  t.same(
    await client.ok('GETQUOTAROOT INBOX'),
    ['* QUOTAROOT "INBOX"', '. OK GETQUOTAROOT completed'],
    'none is no error',
  );
  alice.quota = [
    {
      name: 'work',
      resources: [
        { name: 'STORAGE', used: 10, limit: 512 },
        { name: 'MESSAGE', used: 1, limit: 9 },
      ],
    },
    { name: 'isp/User quota', resources: [] },
  ];
  t.same(await client.ok('GETQUOTAROOT INBOX'), [
    '* QUOTAROOT "INBOX" work "isp/User quota"',
    '* QUOTA work (STORAGE 10 512 MESSAGE 1 9)',
    '* QUOTA "isp/User quota" ()',
    '. OK GETQUOTAROOT completed',
  ]);
  t.same((await client.ok('GETQUOTA work'))[0], '* QUOTA work (STORAGE 10 512 MESSAGE 1 9)');
  t.match((await client.lines('GETQUOTA nothing'))[0], /^\. NO \[NONEXISTENT\]/);
  t.match((await client.lines('GETQUOTAROOT Nowhere'))[0], /^\. NO \[NONEXISTENT\]/);
  t.match((await client.lines('SETQUOTA work (STORAGE 999)'))[0], /^\. NO \[NOPERM\]/);
  t.match((await client.lines('SETQUOTA work STORAGE'))[0], /^\. BAD /);
  alice.deliver(mail('gone'), 'INBOX', ['\\Deleted']);
  alice.deliver(mail('stays'));
  const size = mail('gone').length;
  t.same(
    (await client.ok('STATUS INBOX (DELETED DELETED-STORAGE)'))[0],
    `* STATUS "INBOX" (DELETED 1 DELETED-STORAGE ${size})`,
  );
});

t.test('ACL: rights can be read of every mailbox and granted of none', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  t.same((await client.ok('MYRIGHTS INBOX'))[0], '* MYRIGHTS "INBOX" lrswikxtea');
  t.same((await client.ok('GETACL Sent'))[0], '* ACL "Sent" alice lrswikxtea');
  t.same((await client.ok('LISTRIGHTS INBOX alice'))[0], '* LISTRIGHTS "INBOX" alice lrswikxtea');
  t.same((await client.ok('LISTRIGHTS INBOX bob'))[0], '* LISTRIGHTS "INBOX" bob ""');
  t.match((await client.lines('SETACL INBOX bob lr'))[0], /^\. NO \[NOPERM\]/);
  t.match((await client.lines('DELETEACL INBOX bob'))[0], /^\. NO \[NOPERM\]/);
  for (const command of ['MYRIGHTS X', 'GETACL X', 'LISTRIGHTS X a', 'SETACL X a l', 'DELETEACL X a']) {
    t.match((await client.lines(command))[0], /^\. NO \[NONEXISTENT\]/, command);
  }
  const listed = await client.ok('LIST "" (INBOX Sent) RETURN (MYRIGHTS STATUS (MESSAGES))');
  t.same(listed.slice(0, 3), [
    '* LIST (\\HasNoChildren) "/" "INBOX"',
    '* MYRIGHTS "INBOX" lrswikxtea',
    '* STATUS "INBOX" (MESSAGES 0)',
  ]);
});

t.test('METADATA: values of server and mailboxes, by depth and size', async (t) => {
  const { login } = await setup(t);
  const client = await login();
  const other = await login();
  t.same(await client.ok('GETMETADATA "" /shared/comment'), [
    '* METADATA "" (/shared/comment NIL)',
    '. OK GETMETADATA completed',
  ]);
  await client.ok(
    'SETMETADATA INBOX (/private/comment "mine" /Shared/Vendor/x/color {3+}\r\nred /shared/vendor/x/order "1")',
  );
  t.same(
    (await other.ok('GETMETADATA INBOX (/private/comment /shared/vendor/X/color)'))[0],
    '* METADATA "INBOX" (/private/comment "mine" /shared/vendor/X/color "red")',
  );
  t.same(
    (await client.ok('GETMETADATA (DEPTH 1) INBOX /shared/vendor/x'))[0],
    '* METADATA "INBOX" (/shared/vendor/x/color "red" /shared/vendor/x/order "1" /shared/vendor/x NIL)',
  );
  t.match((await client.ok('GETMETADATA INBOX (DEPTH infinity) (/shared)'))[0], /color "red" .*order "1"/);
  t.notMatch((await client.ok('GETMETADATA INBOX (DEPTH 1) (/shared)'))[0], 'color');
  t.same(await client.ok('GETMETADATA (MAXSIZE 3) INBOX (/private/comment /shared/vendor/x/order)'), [
    '* METADATA "INBOX" (/shared/vendor/x/order "1")',
    '. OK [METADATA LONGENTRIES 4] GETMETADATA completed',
  ]);
  await client.ok('SETMETADATA INBOX (/private/comment NIL)');
  t.match((await other.ok('GETMETADATA INBOX /private/comment'))[0], '(/private/comment NIL)');
  await client.ok('SETMETADATA "" (/private/x ~{3+}\r\na\0b)');
  t.match(await client.raw('GETMETADATA "" /private/x'), '(/private/x ~{3}\r\na\0b)');
  t.match((await client.lines('GETMETADATA Nowhere /private/x'))[0], /^\. NO \[NONEXISTENT\]/);
  for (const bad of ['/x', '/private//x', '/private/', '/private/*', '/private/%', `/private/${'x'.repeat(247)}`]) {
    t.match((await client.lines(`GETMETADATA "" "${bad}"`))[0], /^\. BAD /, bad);
  }
  await client.ok(`GETMETADATA "" "/private/${'x'.repeat(246)}"`);
});

t.test('UNAUTHENTICATE goes back to the state before login and keeps nothing of it', async (t) => {
  const { login, server } = await setup(t, { limits: { sessionsPerUser: 1 } });
  const client = await login('INBOX');
  await client.ok('ENABLE QRESYNC UTF8=ACCEPT');
  const [line] = await client.ok('UNAUTHENTICATE');
  t.match(line, /\[CAPABILITY IMAP4rev1 .*AUTH=PLAIN/);
  t.match((await client.lines('SELECT INBOX'))[0], /^\. BAD /);
  t.match((await client.lines('UNAUTHENTICATE'))[0], /^\. BAD /);
  await client.ok('LOGIN bob hidden');
  await client.ok('LOGOUT');
  const again = await login();
  t.match((await again.lines('SELECT INBOX (QRESYNC (1 1))'))[0], /^\. BAD /);
  t.notMatch((await again.ok('CAPABILITY'))[0], / AUTH=/);
  await again.ok('LOGOUT');
  t.equal(server.connections <= 1, true);
  const first = await login();
  await first.ok('UNAUTHENTICATE');
  await login();
  t.match((await first.lines('LOGIN alice secret'))[0], /^\. NO \[LIMIT\]/, 'the session was counted as gone');
});

/** A backend whose bodies come when they are let through. */
function slow(backend: Backend, gate: Promise<void>): Backend {
  const wrapMailbox = (mailbox: Mailbox): Mailbox =>
    new Proxy(mailbox, {
      get: (target, name) => {
        if (name === 'body') {
          return async (uid: number) => {
            await gate;
            return target.body(uid);
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  const wrapSession = (session: UserSession): UserSession =>
    new Proxy(session, {
      get: (target, name) => {
        if (name === 'open') return async (mailbox: string) => wrapMailbox(await target.open(mailbox));
        const value: unknown = Reflect.get(target, name);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  return {
    login: async (user, password, peer) => {
      const session = await backend.login(user, password, peer);
      return session === null ? null : wrapSession(session);
    },
  };
}

t.test('INPROGRESS of a search tells how many bodies were looked into', async (t) => {
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const { login, alice } = await setup(t, { limits: { progressMs: 20 }, wrap: (backend) => slow(backend, gate) });
  for (let n = 0; n < 3; n += 1) alice.deliver(mail(`mail ${n}`));
  const client = await login('INBOX');
  client.send('deep SEARCH BODY Hello\r\n');
  await client.expect(/\* OK \[INPROGRESS \("deep" 0 3\)\] [^\r]*\r\n/);
  open();
  t.match(await client.tagged('deep'), /\* SEARCH 1 2 3\r\n/);
});

t.test('INPROGRESS is told while a command takes long, and not in IDLE', async (t) => {
  let open = (): void => undefined;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const { login, alice } = await setup(t, { limits: { progressMs: 20 }, wrap: (backend) => slow(backend, gate) });
  alice.deliver(mail('one'));
  const client = await login('INBOX');
  client.send('a" OOPS\r\n');
  await client.expect(/BAD[^\r]*\r\n/);
  client.send('slow FETCH 1 BODY.PEEK[]\r\n');
  await client.expect(/\* OK \[INPROGRESS \("slow" 0 1\)\] [^\r]*\r\n\* OK \[INPROGRESS/);
  open();
  await client.expect(/\* 1 FETCH [\s\S]*slow OK [^\r]*\r\n/);
  client.send('idle IDLE\r\n');
  await client.expect(/^\+ [^\r]*\r\n/);
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(client.pending, '');
  client.send('DONE\r\n');
  t.match(await client.tagged('idle'), /^\. OK/);
});
