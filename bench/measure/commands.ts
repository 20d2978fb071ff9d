import { Random } from '../mail/random.js';
import { BareClient } from './client.js';
import { BOX_PASSWORD, type Scene, UPSTREAM_PASSWORD, USER } from './scene.js';
import type { Figures } from './table.js';

/** One server under test: who is asked, and how to wait until it has nothing left to do. */
interface Side {
  readonly port: number;
  readonly password: string;
  readonly client: BareClient;
  /** All UIDs of INBOX. */
  readonly uids: readonly number[];
  settle(): Promise<void>;
}

interface Measure {
  readonly name: string;
  readonly unit: string;
  /** One figure for one round; `round` counts from 0. */
  run(side: Side, round: number): Promise<number>;
}

/** What Thunderbird asks of every mail in a folder it has not seen. */
const THUNDERBIRD =
  'UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date Message-ID Priority ' +
  'X-Priority References Newsgroups In-Reply-To Content-Type Reply-To Received)])';

const BODIES = 100;

/** A command over all of INBOX, as microseconds per mail. */
function perMail(name: string, command: string): Measure {
  return {
    name,
    unit: 'µs/mail',
    run: async ({ client, uids }) => ((await client.run(command)).ms / uids.length) * 1000,
  };
}

function single(name: string, command: string): Measure {
  return { name, unit: 'ms', run: async ({ client }) => (await client.run(command)).ms };
}

const MEASURES: readonly Measure[] = [
  {
    name: 'connect and LOGIN',
    unit: 'ms',
    run: ({ port, password }) =>
      average(10, async () => {
        const started = performance.now();
        const client = await BareClient.login(port, USER, password);
        const ms = performance.now() - started;
        client.close();
        return ms;
      }),
  },
  single('SELECT INBOX', 'SELECT INBOX'),
  perMail('UID FETCH 1:* (FLAGS)', 'UID FETCH 1:* (FLAGS)'),
  perMail('Thunderbird’s header fetch', THUNDERBIRD),
  perMail('ENVELOPE and BODYSTRUCTURE', 'UID FETCH 1:* (ENVELOPE BODYSTRUCTURE)'),
  single('SEARCH SUBJECT', 'UID SEARCH SUBJECT "invoice"'),
  single('SEARCH UNSEEN SINCE', 'UID SEARCH UNSEEN SINCE 1-Jan-2021'),
  single('SORT DATE', 'UID SORT (DATE) UTF-8 ALL'),
  single('SORT SUBJECT', 'UID SORT (SUBJECT) UTF-8 ALL'),
  single('THREAD REFERENCES', 'UID THREAD REFERENCES UTF-8 ALL'),
  {
    name: 'STORE of one mail',
    unit: 'ms',
    run: async ({ client, uids, settle }, round) => {
      const uid = uids[Math.floor(uids.length / 2)]!;
      const set = round % 2 === 0 ? '+FLAGS' : '-FLAGS';
      const ms = await average(20, async (each) => (await client.run(`UID STORE ${uid + each} ${set} ($Bench)`)).ms);
      await settle();
      return ms;
    },
  },
  {
    name: 'STORE of 1,000 mails',
    unit: 'ms',
    run: async ({ client, uids, settle }, round) => {
      const set = round % 2 === 0 ? '+FLAGS' : '-FLAGS';
      const range = `${uids[0]}:${uids[Math.min(999, uids.length - 1)]}`;
      const { ms } = await client.run(`UID STORE ${range} ${set} ($Thousand)`);
      await settle();
      return ms;
    },
  },
  {
    name: 'longest wait of another client during a STORE of 20,000',
    unit: 'ms',
    run: async ({ port, password, client, uids, settle }, round) => {
      const other = await BareClient.login(port, USER, password, 'INBOX');
      const set = round % 2 === 0 ? '+FLAGS.SILENT' : '-FLAGS.SILENT';
      const range = `${uids[0]}:${uids[Math.min(19_999, uids.length - 1)]}`;
      let done = false;
      const stored = client.run(`UID STORE ${range} ${set} ($Many)`).finally(() => {
        done = true;
      });
      let longest = 0;
      while (!done) longest = Math.max(longest, (await other.run('CAPABILITY')).ms);
      await stored;
      other.close();
      await settle();
      return longest;
    },
  },
  {
    name: 'body, first time',
    unit: 'ms',
    run: ({ client, uids }, round) => bodies(client, pickUids(uids, round)),
  },
  {
    name: 'body, again',
    unit: 'ms',
    run: ({ client, uids }, round) => bodies(client, pickUids(uids, round)),
  },
];

/** Every measure, `rounds` times, both sides in turn in the same run after one round that does not count. */
export async function measureCommands(scene: Scene, rounds: number): Promise<Figures[]> {
  const box = await side(scene.box.listener('imap', 'none').port, BOX_PASSWORD, () => scene.box.sync(300));
  const dovecot = await side(scene.reference.port, UPSTREAM_PASSWORD, async () => undefined);
  if (box.uids.length !== dovecot.uids.length) {
    throw new Error(`Mergebox shows ${box.uids.length} mails, Dovecot ${dovecot.uids.length}`);
  }
  const figures = MEASURES.map(({ name, unit }) => ({ name, unit, mergebox: [] as number[], dovecot: [] as number[] }));
  for (let round = -1; round < rounds; round += 1) {
    for (const [at, measure] of MEASURES.entries()) {
      const order = round % 2 === 0 ? ([box, dovecot] as const) : ([dovecot, box] as const);
      for (const each of order) {
        const figure = await measure.run(each, round + 1);
        if (round >= 0) (each === box ? figures[at]!.mergebox : figures[at]!.dovecot).push(figure);
      }
    }
  }
  box.client.close();
  dovecot.client.close();
  return figures;
}

async function side(port: number, password: string, settle: () => Promise<void>): Promise<Side> {
  const client = await BareClient.login(port, USER, password, 'INBOX');
  const found = /\* SEARCH([ \d]*)/.exec(await client.read('UID SEARCH ALL'))?.[1] ?? '';
  return { port, password, client, settle, uids: found.trim().split(' ').map(Number) };
}

async function average(times: number, run: (each: number) => Promise<number>): Promise<number> {
  let sum = 0;
  for (let each = 0; each < times; each += 1) sum += await run(each);
  return sum / times;
}

/** Other mails in every round, the same for both sides. */
function pickUids(uids: readonly number[], round: number): number[] {
  const random = new Random(1_000 + round);
  return Array.from({ length: BODIES }, () => random.pick(uids));
}

async function bodies(client: BareClient, uids: readonly number[]): Promise<number> {
  return average(uids.length, async (each) => (await client.run(`UID FETCH ${uids[each]} (BODY.PEEK[])`)).ms);
}
