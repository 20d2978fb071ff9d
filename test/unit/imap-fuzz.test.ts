import fc from 'fast-check';
import t from 'tap';
import { fuzzCommands, STATES } from '../fuzz/commands.js';
import { fuzzMime } from '../fuzz/mime.js';
import { mail, setup } from './imap-support.js';

/** Whole commands of every kind; what follows cuts, joins and repeats them. */
const SEEDS = [
  'NOOP',
  'CAPABILITY',
  'ID ("a" "b" NIL)',
  'LOGIN alice {6+}\r\nsecret',
  'AUTHENTICATE PLAIN AGFsaWNlAHdyb25n',
  'SELECT INBOX (CONDSTORE)',
  'EXAMINE "INBOX"',
  'CREATE a/b (USE (\\Sent))',
  'DELETE a/b',
  'RENAME a/b c',
  'SUBSCRIBE &AOQ-',
  'LIST (SUBSCRIBED RECURSIVEMATCH) "" ("%" *) RETURN (STATUS (MESSAGES SIZE) CHILDREN)',
  'LSUB "" *',
  'STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ)',
  'APPEND INBOX (\\Seen kw) "17-Jul-1996 02:44:25 -0700" {10+}\r\nSubject: x',
  'IDLE\r\nDONE',
  'CHECK',
  'CLOSE',
  'UNSELECT',
  'EXPUNGE',
  'UID EXPUNGE 1:*',
  'SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 OR SUBJECT {1+}\r\nx NOT (BODY y SINCE 1-Jan-2024 MODSEQ 1)',
  'UID SEARCH UID 1:*,3 KEYWORD $account_x LARGER 5 HEADER x "" OLDER 5',
  'FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY INTERNALDATE MODSEQ BODY.PEEK[HEADER.FIELDS (FROM TO)]<0.9>)',
  'UID FETCH 1:3,* (BODY[1.MIME] BODY[TEXT]<1.2> RFC822) (CHANGEDSINCE 1)',
  'STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $kw)',
  'UID STORE * -FLAGS \\Deleted',
  'COPY 1 Sent',
  'UID MOVE 1:2 Trash',
  'ENABLE CONDSTORE X',
  'NAMESPACE',
];

const octets = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code)),
  maxLength: 6,
});
const token = fc.constantFrom(
  ' ',
  '(',
  ')',
  '"',
  '\\',
  '{',
  '{5}\r\n',
  '{3+}\r\nabc',
  '\r\n',
  '\0',
  '*',
  '%',
  '$',
  ':',
  ',',
  '[',
  ']',
  '<',
  '>',
  '4294967295',
  '0',
  'NIL',
  '&',
  '~{1+}\r\nx',
);
const mutation = fc.record({ at: fc.nat(200), drop: fc.nat(4), insert: fc.oneof(token, octets) });
const command = fc.record({ seed: fc.constantFrom(...SEEDS), mutations: fc.array(mutation, { maxLength: 3 }) });

function mutate({
  seed,
  mutations,
}: {
  seed: string;
  mutations: readonly { at: number; drop: number; insert: string }[];
}): string {
  let text = seed;
  for (const { at, drop, insert } of mutations) {
    const place = at % (text.length + 1);
    text = text.slice(0, place) + insert + text.slice(place + drop);
  }
  return text;
}

for (const state of ['not logged in', 'logged in', 'with a mailbox selected']) {
  t.test(`mutated commands ${state} never get past an answer`, async (t) => {
    const { connect, alice, logged } = await setup(t, {
      limits: { badCommands: 1e9, loginAttempts: 1e9, stallMs: 300 },
    });
    for (let i = 0; i < 5; i += 1) alice.deliver(mail(`seed ${i}`));
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 1, maxLength: 30 }), async (commands) => {
        const client = await connect();
        if (state !== 'not logged in') await client.ok('LOGIN alice secret');
        if (state === 'with a mailbox selected') await client.ok('SELECT INBOX');
        for (const [index, each] of commands.entries()) client.send(`f${index} ${mutate(each)}\r\n`);
        // Whatever is left open by a mutation ends here: the server answers all, closes, and lives on.
        client.socket.end();
        await client.closed();
      }),
      { numRuns: 150 },
    );
    const faults = logged()
      .split('\n')
      .filter((line) => /"level":"error"|connection failed|a command failed/.test(line));
    t.same(faults, [], 'no fault of ours');
    const client = await connect();
    await client.ok('LOGIN alice secret');
    const { listing } = alice.mailbox('INBOX');
    t.match((await client.lines('STATUS INBOX (MESSAGES)'))[0], `(MESSAGES ${listing.length})`, 'and it still serves');
  });
}

t.test('a short run of the fuzzer finds nothing in commands, in three states, nor in mails', async (t) => {
  for (const [index, state] of STATES.entries()) {
    const { faults, outcomes } = await fuzzCommands(state, 2_000, 20_240 + index);
    t.same(faults, [], state);
    t.ok((outcomes['answered'] ?? 0) > 50 && (outcomes['BAD'] ?? 0) > 100, JSON.stringify(outcomes));
  }
  t.same((await fuzzMime(1_000, 7)).faults, []);
});
