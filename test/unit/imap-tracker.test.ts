import { PassThrough, Writable } from 'node:stream';
import fc from 'fast-check';
import t from 'tap';
import { DEFAULT_LIMITS } from '../../src/imap/limits.js';
import { Output } from '../../src/imap/output.js';
import { Tracker } from '../../src/imap/tracker.js';
import { Listing } from '../../src/mail/listing.js';

/** What a client knows: it applies responses as RFC 9051 §7.5 tells it to. */
class ClientModel {
  /** Flags by sequence number less one; null until a FETCH told them. */
  messages: { uid: number; flags: string }[];
  readonly #listing: Listing;

  constructor(listing: Listing) {
    this.#listing = listing;
    this.messages = [];
    this.#arrive(listing.length);
  }

  apply(text: string): void {
    for (const line of text.split('\r\n')) {
      const [, number, name, rest = ''] = /^\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT)(.*)$/.exec(line) ?? [];
      const n = Number(number);
      if (name === 'EXISTS') {
        if (n < this.messages.length) throw new Error('EXISTS shrank');
        this.#arrive(n);
      } else if (name === 'EXPUNGE') {
        if (n < 1 || n > this.messages.length) throw new Error(`EXPUNGE ${n} of ${this.messages.length}`);
        this.messages.splice(n - 1, 1);
      } else if (name === 'FETCH') {
        const [, uid, flags] = /^ \(UID (\d+) FLAGS \(([^)]*)\)/.exec(rest)!;
        if (this.messages[n - 1]?.uid !== Number(uid))
          throw new Error(`FETCH ${n} is UID ${this.messages[n - 1]?.uid}, told ${uid}`);
        this.messages[n - 1]!.flags = flags!;
      }
    }
  }

  /** A client fetches what is new right away. */
  #arrive(exists: number): void {
    const last = this.messages.at(-1)?.uid ?? 0;
    const fresh = Array.from(this.#listing.uids.subarray(0, this.#listing.length)).filter((uid) => uid > last);
    while (this.messages.length < exists) {
      const uid = fresh.shift()!;
      this.messages.push({ uid, flags: this.#listing.flags(this.#listing.indexOf(uid)) });
    }
  }
}

function recorder(): { out: Output; take: () => string } {
  const stream = new PassThrough({ highWaterMark: 1 << 20 });
  const out = new Output(stream, DEFAULT_LIMITS, () => undefined);
  return {
    out,
    take: () => {
      out.flush();
      return stream.read()?.toString('latin1') ?? '';
    },
  };
}

type Step =
  | { type: 'append'; count: number }
  | { type: 'flags'; at: number; flags: string }
  | { type: 'expunge'; at: readonly number[] }
  | { type: 'poll'; expunge: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ type: fc.constant('append' as const), count: fc.integer({ min: 1, max: 3 }) }),
  fc.record({
    type: fc.constant('flags' as const),
    at: fc.nat(50),
    flags: fc.constantFrom('', '\\Seen', '\\Flagged', '\\Seen kw'),
  }),
  fc.record({ type: fc.constant('expunge' as const), at: fc.array(fc.nat(50), { minLength: 1, maxLength: 4 }) }),
  fc.record({ type: fc.constant('poll' as const), expunge: fc.boolean() }),
);

function appendRow(listing: Listing): void {
  const uid = listing.uidNext;
  listing.append({
    uid,
    row: uid,
    message: uid,
    flags: '',
    modSeq: listing.highestModSeq + 1,
    size: 1,
    internalDate: 0,
  });
}

function change(listing: Listing, { ...each }: Step): void {
  if (each.type === 'append') for (let i = 0; i < each.count; i += 1) appendRow(listing);
  if (listing.length === 0) return;
  if (each.type === 'flags') listing.setFlags(each.at % listing.length, each.flags, listing.highestModSeq + 1);
  if (each.type === 'expunge') {
    const uids = each.at.map((at) => listing.uids[at % listing.length]!);
    listing.expunge(uids, listing.highestModSeq + 1);
  }
}

t.test(
  'a client that applies what Tracker says knows the mailbox, whatever happens and whenever it is told',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.nat(5), fc.array(step, { maxLength: 40 }), async (initial, steps) => {
        const listing = new Listing(2);
        for (let i = 0; i < initial; i += 1) appendRow(listing);
        const tracker = new Tracker(listing, 1_000_000);
        const model = new ClientModel(listing);
        const { out, take } = recorder();
        for (const each of [...steps, { type: 'poll' as const, expunge: true }]) {
          if (each.type !== 'poll') {
            change(listing, each);
            continue;
          }
          await tracker.poll(out, { expunge: each.expunge, flags: true, modSeq: false, vanished: false });
          const text = take();
          if (!each.expunge && text.includes('EXPUNGE')) throw new Error('EXPUNGE came too early');
          model.apply(text);
          if (model.messages.length !== tracker.exists) throw new Error('the numbers differ');
        }
        const truth = Array.from({ length: listing.length }, (_, at) => ({
          uid: listing.uids[at]!,
          flags: listing.flags(at),
        }));
        if (JSON.stringify(model.messages) !== JSON.stringify(truth)) {
          throw new Error(`${JSON.stringify(model.messages)} is not ${JSON.stringify(truth)}`);
        }
        await tracker.poll(out, { expunge: true, flags: true, modSeq: true, vanished: false });
        if (take() !== '') throw new Error('something was told twice');
      }),
      { numRuns: 1_000 },
    );
    t.pass();
  },
);

t.test('Tracker adds \\Recent from its UID on, and MODSEQ when asked', async (t) => {
  const listing = new Listing();
  appendRow(listing);
  appendRow(listing);
  const tracker = new Tracker(listing, 2);
  const { out, take } = recorder();
  t.equal(tracker.recent, 1);
  listing.setFlags(0, '\\Seen', 10);
  listing.setFlags(1, '', 11);
  await tracker.poll(out, { expunge: true, flags: true, modSeq: true, vanished: false });
  t.equal(take(), '* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (10))\r\n* 2 FETCH (UID 2 FLAGS (\\Recent) MODSEQ (11))\r\n');
});

t.test('Tracker does not repeat what the session knows, until it changes again', async (t) => {
  const listing = new Listing();
  appendRow(listing);
  const tracker = new Tracker(listing, 9);
  const { out, take } = recorder();
  listing.setFlags(0, '\\Seen', 10);
  t.notOk(tracker.knows(0));
  tracker.know([1]);
  t.ok(tracker.knows(0));
  await tracker.poll(out, { expunge: true, flags: true, modSeq: false, vanished: false });
  t.equal(take(), '');
  listing.setFlags(0, '', 11);
  tracker.know([1]);
  listing.setFlags(0, '\\Flagged', 12);
  await tracker.poll(out, { expunge: true, flags: true, modSeq: false, vanished: false });
  t.equal(take(), '* 1 FETCH (UID 1 FLAGS (\\Flagged))\r\n');
});

t.test('Output drops a client that lets answers pile up, and throws the rest away', async (t) => {
  const held: (() => void)[] = [];
  const stream = new Writable({ highWaterMark: 10, write: (_chunk, _encoding, done) => held.push(done) });
  const reasons: string[] = [];
  const out = new Output(stream, { ...DEFAULT_LIMITS, writeBufferBytes: 1_000 }, (reason) => reasons.push(reason));
  out.text('x'.repeat(1_000));
  out.flush();
  out.text('y');
  out.flush();
  t.same(reasons, [], 'at the cap');
  out.text('z');
  out.flush();
  t.same(reasons, ['answers pile up unread'], 'one over');
  t.equal(out.gathered, 0);
  t.equal(stream.writableLength, 1_001);
  await t.rejects(out.breathe(), { name: 'ConnectionEnded' });
});

t.test('Output knows whether a response has begun and not ended', (t) => {
  const stream = new Writable({ write: (_chunk, _encoding, done) => done() });
  const out = new Output(stream, DEFAULT_LIMITS, () => undefined);
  t.notOk(out.midLine, 'nothing said');
  const says = (say: () => void, midLine: boolean, name: string): void => {
    say();
    t.equal(out.midLine, midLine, name);
    out.flush();
    t.equal(out.midLine, midLine, `${name}, sent`);
  };
  says(() => out.text('* 1 FETCH ('), true, 'begun');
  says(() => out.bytes(Buffer.from('("a")')), true, 'octets');
  says(() => out.text(')\r\n'), false, 'ended');
  says(() => out.bytes(Buffer.from('* OK\r\n')), false, 'ended by octets');
  t.end();
});
