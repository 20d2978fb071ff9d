import { Writable } from 'node:stream';
import { MemoryBackend } from '../../src/demo/memory-backend.js';
import { COMMANDS } from '../../src/imap/commands/table.js';
import { ConnectionEnded } from '../../src/imap/connection-ended.js';
import { DEFAULT_LIMITS } from '../../src/imap/limits.js';
import { Output } from '../../src/imap/output.js';
import { Session, type SessionIo } from '../../src/imap/session.js';
import { createLog } from '../../src/util/log.js';
import { CommandReader, type ReaderEvent } from '../../src/wire/command-reader.js';
import { ParseError } from '../../src/wire/parse-error.js';
import { type FuzzReport, fuzz, mutate, type Random, random } from './random.js';

export const STATES = ['not logged in', 'logged in', 'with a mailbox selected'] as const;
export type FuzzState = (typeof STATES)[number];

/** At least one of every command, so that mutations reach every parser and every answer. */
export const SEEDS = [
  'NOOP',
  'CAPABILITY',
  'CHECK',
  'CLOSE',
  'UNSELECT',
  'EXPUNGE',
  'NAMESPACE',
  'LOGOUT',
  'STARTTLS',
  'UNAUTHENTICATE',
  'COMPRESS DEFLATE',
  'IDLE\r\nDONE',
  'ID ("name" "x" "y" NIL)',
  'LOGIN alice {6+}\r\nsecret',
  'LOGIN "alice" "wr\\"ong"',
  'AUTHENTICATE PLAIN AGFsaWNlAHdyb25n',
  'AUTHENTICATE LOGIN\r\nYWxpY2U=\r\nc2VjcmV0',
  'ENABLE CONDSTORE QRESYNC UTF8=ACCEPT IMAP4rev2 X',
  'SELECT INBOX (CONDSTORE QRESYNC (1 2 1:5 (1 5)))',
  'EXAMINE "INBOX"',
  'CREATE a/b (USE (\\Sent))',
  'DELETE a/b',
  'RENAME a/b "c&AOQ-"',
  'SUBSCRIBE &AOQ-',
  'UNSUBSCRIBE x',
  'LIST (SUBSCRIBED RECURSIVEMATCH) "" ("%" *) RETURN (STATUS (MESSAGES SIZE MAILBOXID) CHILDREN MYRIGHTS)',
  'LSUB "" *',
  'STATUS INBOX (MESSAGES UIDNEXT HIGHESTMODSEQ DELETED-STORAGE)',
  'APPEND INBOX (\\Seen kw) "17-Jul-1996 02:44:25 -0700" {10+}\r\nSubject: x',
  'APPEND INBOX UTF8 (~{12+}\r\nSubject: \xc3\xa4x)',
  'REPLACE 1 INBOX (\\Draft) {10+}\r\nSubject: y',
  'APPEND INBOX CATENATE (URL "/INBOX/;UID=1/;SECTION=TEXT" TEXT {1+}\r\nx URL ";UID=2;PARTIAL=1.2")',
  'CANCELUPDATE "t1"',
  'UID SEARCH RETURN (UPDATE (FLAGS) COUNT) UNSEEN',
  'UID EXPUNGE 1:*',
  'SEARCH RETURN (MIN MAX ALL COUNT SAVE) CHARSET UTF-8 OR SUBJECT {1+}\r\nx NOT (BODY y SINCE 1-Jan-2024 MODSEQ 1)',
  'UID SEARCH RETURN (PARTIAL -1:-10) UID 1:*,3 KEYWORD $account_x LARGER 5 HEADER x "" OLDER 5 SAVEDON 1-Feb-2024',
  'SEARCH EMAILID M1 THREADID T1 $ SMALLER 99999999999 TEXT "\\"seed"',
  'SORT RETURN (COUNT) (REVERSE DATE SUBJECT DISPLAYFROM) UTF-8 ALL',
  'UID THREAD REFERENCES UTF-8 SUBJECT seed',
  'ESEARCH IN (subtree INBOX mailboxes (a b) personal) RETURN (ALL) UNSEEN',
  'FETCH 1:* (FLAGS UID ENVELOPE BODYSTRUCTURE BODY INTERNALDATE MODSEQ BODY.PEEK[HEADER.FIELDS (FROM "TO")]<0.9>)',
  'UID FETCH 1:3,* (BODY[1.MIME] BODY[TEXT]<1.2> RFC822 BINARY.PEEK[1] BINARY.SIZE[1]) (CHANGEDSINCE 1 VANISHED)',
  'FETCH 2 (PREVIEW (LAZY) EMAILID THREADID SAVEDATE) (PARTIAL 1:2)',
  'FETCH $ ALL',
  'STORE 1 (UNCHANGEDSINCE 5) +FLAGS.SILENT (\\Seen $kw)',
  'UID STORE * -FLAGS \\Deleted',
  'COPY 1 Sent',
  'UID MOVE 1:2 Trash',
  'UIDBATCHES 500 1:2',
  'NOTIFY SET STATUS (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange)) (subtree (a "b") (MailboxName))',
  'NOTIFY NONE',
  'GETQUOTA ""',
  'GETQUOTAROOT INBOX',
  'SETQUOTA "" (STORAGE 5)',
  'MYRIGHTS INBOX',
  'GETACL INBOX',
  'LISTRIGHTS INBOX bob',
  'SETACL INBOX bob lr',
  'DELETEACL INBOX bob',
  'GETMETADATA (DEPTH infinity MAXSIZE 10) "" (/private/a "/shared/b")',
  'SETMETADATA INBOX (/private/a "x" /shared/b NIL /private/c ~{3+}\r\na\0b)',
] as const;

const BITS = [
  '(',
  ')',
  '((',
  '"',
  '\\',
  '{3}\r\n',
  '{9+}\r\nabcdefghi',
  '~{1+}\r\n\0',
  '{4294967296}\r\n',
  '\r\n',
  '\n',
  '\0',
  ' ',
  '*',
  '%',
  '$',
  '0',
  '-1',
  '1:*',
  '4294967295',
  '4294967296',
  '99999999999999999999',
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
  'INBOX',
  'UID ',
  '=?utf-8?q?x?=',
];

/** Inputs before sessions and mailboxes are made anew. */
const WORLD_INPUTS = 2_000;

/** Mutated commands, as octets from a client, through reader, parsers and sessions over a memory backend. */
export async function fuzzCommands(state: FuzzState, inputs: number, seed: number): Promise<FuzzReport> {
  const next = random(seed);
  let world = new World(state, next);
  let used = 0;
  return fuzz({
    inputs,
    make: () => {
      used += 1;
      if (used % WORLD_INPUTS === 0) world = new World(state, next);
      return `${mutate(SEEDS[next(SEEDS.length)]!, BITS, next)}\r\n`;
    },
    show: (input) => `${state}: ${JSON.stringify(input)}`,
    feed: (input) => world.feed(Buffer.from(`t${used % 100} ${input}`, 'latin1')),
  });
}

/** One server with one client, which is let in again whenever its connection ends. */
class World {
  readonly #state: FuzzState;
  readonly #next: Random;
  readonly #backend = new MemoryBackend([{ name: 'alice', password: 'secret' }], () => 1_700_000_000_000);
  #errors = '';
  readonly #log = createLog('error', {
    write: (line) => {
      this.#errors += line;
    },
  });
  #client: Client | null = null;

  constructor(state: FuzzState, next: Random) {
    this.#state = state;
    this.#next = next;
    const user = this.#backend.user('alice');
    for (let n = 0; n < 5; n += 1) {
      user.deliver(
        Buffer.from(`Subject: seed ${n}\r\nMessage-ID: <${n}@x>\r\nDate: x\r\nFrom: a <b@c>\r\n\r\nbody ${n}\r\n`),
      );
    }
  }

  async feed(octets: Buffer): Promise<string> {
    const client = this.#client ?? (await this.#connect());
    this.#client = client;
    const outcome = await client.feed(octets, this.#next);
    // A connection lives for some commands, so that they meet states that others left.
    if (outcome === 'ended' || this.#next(50) === 0) {
      client.session.close();
      this.#client = null;
    }
    if (this.#errors !== '') {
      const errors = this.#errors;
      this.#errors = '';
      throw new Error(errors);
    }
    return outcome;
  }

  async #connect(): Promise<Client> {
    const client = new Client(this.#backend, this.#log);
    const setUp = this.#state === 'not logged in' ? [] : ['LOGIN alice secret'];
    if (this.#state === 'with a mailbox selected') setUp.push('SELECT INBOX');
    for (const command of setUp) await client.feed(Buffer.from(`s ${command}\r\n`), () => 1);
    return client;
  }
}

/** What a connection is to a session, without a socket. */
class Client implements SessionIo {
  readonly peer = '127.0.0.1';
  readonly startTlsOffered = false;
  readonly loginAllowed = true;
  readonly compressed = false;
  readonly session: Session;
  readonly out: Output;
  readonly #reader = new CommandReader();

  constructor(backend: MemoryBackend, log: ReturnType<typeof createLog>) {
    const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
    this.out = new Output(sink, DEFAULT_LIMITS, () => undefined);
    const services = { backend, limits: DEFAULT_LIMITS, log, version: '1', now: () => 1_700_000_000_000 };
    this.session = new Session(this, services, COMMANDS);
  }

  async feed(octets: Buffer, next: Random): Promise<string> {
    const cut = next(octets.length);
    let outcome = 'open';
    try {
      for (const chunk of [octets.subarray(0, cut), octets.subarray(cut)]) {
        this.#reader.push(chunk);
        for (let event = this.#reader.next(); event !== null; event = this.#reader.next()) {
          outcome = await this.#handle(event);
        }
      }
      if (this.session.hasNews) await this.session.tellNews();
      // A line that was left open would swallow the next input.
      if (this.#reader.midCommand) this.#reader.clear();
      this.out.flush();
      return outcome;
    } catch (error) {
      if (error instanceof ConnectionEnded) return 'ended';
      throw error;
    }
  }

  async #handle(event: ReaderEvent): Promise<string> {
    if (event.type === 'literal') {
      if (event.size + event.total <= 4_096) this.#reader.acceptLiteral();
      else {
        this.#reader.rejectLiteral();
        await this.session.reply(event.tag, { status: 'NO', text: 'too large' });
      }
      return 'literal';
    }
    if (event.type === 'command') {
      const before = this.session.badCommands;
      await this.session.execute(event);
      return this.session.badCommands > before ? 'BAD' : 'answered';
    }
    if (event.type === 'bad') await this.session.reply(event.tag, { status: 'BAD', text: event.reason });
    return event.type;
  }

  async readLine(maxBytes: number): Promise<Buffer> {
    this.#reader.expectLine(maxBytes);
    const event = this.#reader.next();
    if (event?.type === 'line') return event.line;
    if (event?.type === 'bad') throw new ParseError(event.reason);
    throw new ConnectionEnded();
  }

  wake(): void {}

  async startTls(): Promise<void> {
    throw new ConnectionEnded();
  }

  async compress(): Promise<void> {
    throw new ConnectionEnded();
  }

  admitUser(): boolean {
    return true;
  }

  takeRoom(): boolean {
    return true;
  }

  releaseUser(): void {}

  async end(): Promise<void> {
    throw new ConnectionEnded();
  }

  abort(): void {
    throw new Error('a response broke off');
  }
}
