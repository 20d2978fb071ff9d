import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import t, { type Test } from 'tap';
import { AccountBook } from '../../src/store/account-book.js';
import { openMergedMailboxes } from '../../src/store/mailboxes.js';
import { Store, type WriteTx } from '../../src/store/store.js';
import { isMergeboxError } from '../../src/util/errors.js';
import { checkInvariants } from '../harness/invariants.js';
import { scratch } from './support/mail-world.js';

async function open(t: Test, dir?: string): Promise<{ store: Store; dir: string }> {
  const at = dir ?? (await scratch(t));
  const store = await Store.open(at);
  t.teardown(() => store.close());
  return { store, dir: at };
}

async function end(store: Store): Promise<void> {
  await checkInvariants(store, { book: new AccountBook([]) });
  await store.close();
}

const put = (tx: WriteTx, key: string): Promise<number> =>
  tx.run('INSERT INTO meta (key, value) VALUES (?, ?)', [key, '1']);

async function keys(store: Store): Promise<string[]> {
  const rows = await store.read((tx) =>
    tx.all<{ key: string }>("SELECT key FROM meta WHERE key LIKE 't%' ORDER BY rowid"),
  );
  return rows.map((row) => row.key);
}

const modSeqOf = async (store: Store): Promise<number> =>
  Number((await store.read((tx) => tx.get<{ value: string }>("SELECT value FROM meta WHERE key = 'modSeq'")))!.value);

t.test('write: what is issued together shares a commit, in order, each with a MODSEQ of its own', async (t) => {
  const { store } = await open(t);
  let commits = 0;
  store.onCommit(() => {
    commits += 1;
  });
  const modSeqs = await Promise.all(
    Array.from({ length: 50 }, (_, n) =>
      store.write(async (tx) => {
        tx.owe(1);
        await put(tx, `t${n}`);
        return tx.modSeq;
      }),
    ),
  );
  t.equal(commits, 1);
  t.same(
    await keys(store),
    modSeqs.map((_, n) => `t${n}`),
  );
  t.same(
    modSeqs,
    [...modSeqs].sort((a, b) => a - b),
  );
  t.equal(new Set(modSeqs).size, modSeqs.length);
  t.equal(await modSeqOf(store), modSeqs.at(-1));
  await end(store);
});

t.test(
  'write: a unit that fails takes nothing of the others along, and its MODSEQ is not shown to anybody',
  async (t) => {
    const { store, dir } = await open(t);
    const results = await Promise.allSettled([
      store.write((tx) => put(tx, 't1')),
      store.write(async (tx) => {
        await put(tx, 't2');
        throw new Error('changed my mind');
      }),
      store.write((tx) => tx.run('INSERT INTO nowhere VALUES (1)')),
      store.write((tx) => put(tx, 't3')),
    ]);
    t.same(
      results.map(({ status }) => status),
      ['fulfilled', 'rejected', 'rejected', 'fulfilled'],
    );
    t.same(await keys(store), ['t1', 't3']);
    const seen = await store.write(async (tx) => tx.modSeq);
    await end(store);
    const again = await open(t, dir);
    t.same(await keys(again.store), ['t1', 't3'], 'durable');
    t.ok((await again.store.write(async (tx) => tx.modSeq)) > seen, 'MODSEQ goes on above all that were used');
    await end(again.store);
  },
);

t.test('write: one that is issued in the continuation of another is run', async (t) => {
  const { store } = await open(t);
  for (let n = 0; n < 30; n += 1) {
    await store.write((tx) => put(tx, `t${n}`));
    await Promise.resolve().then(() => store.write((tx) => put(tx, `tt${n}`)));
    if (n % 3 === 0) await Promise.all([store.write((tx) => put(tx, `ttt${n}`)), store.read(async () => undefined)]);
  }
  t.equal((await keys(store)).length, 70);
  await end(store);
});

t.test('write: a failing listener fails no write and silences no other listener', async (t) => {
  const { store } = await open(t);
  let heard = 0;
  store.onCommit(() => {
    throw new Error('listener');
  });
  store.onCommit(() => {
    heard += 1;
  });
  await store.write(async (tx) => tx.owe(1));
  await store.write(async (tx) => tx.owe(1));
  t.equal(heard, 2);
  await end(store);
});

t.test('write: a full disk fails as overquota, loses only what failed, and later writes work', async (t) => {
  const { store } = await open(t);
  await store.write((tx) => put(tx, 't0'));
  const pages = await store.write(
    async (tx) => (await tx.get<{ page_count: number }>('PRAGMA page_count'))!.page_count,
  );
  await store.write((tx) => tx.all(`PRAGMA max_page_count = ${pages + 2}`));
  const big = 'x'.repeat(200_000);
  const results = await Promise.allSettled([
    store.write((tx) => put(tx, 't1')),
    store.write((tx) => tx.run('INSERT INTO meta (key, value) VALUES (?, ?)', ['tbig', big])),
    store.write((tx) => put(tx, 't2')),
  ]);
  const rejected = results.filter((each) => each.status === 'rejected');
  t.ok(rejected.length >= 1);
  for (const { reason } of rejected) t.ok(isMergeboxError(reason, 'overquota', 'unavailable'), String(reason));
  await store.write((tx) => tx.all('PRAGMA max_page_count = 1000000'));
  await store.write((tx) => put(tx, 't9'));
  const present = new Set(await keys(store));
  t.equal(present.has('t1'), results[0]!.status === 'fulfilled', 'what was told is what is there');
  t.equal(present.has('t2'), results[2]!.status === 'fulfilled');
  t.notOk(present.has('tbig'));
  t.ok(present.has('t0') && present.has('t9'));
  await end(store);
});

t.test('write: a transaction that SQLite itself has ended rejects all that it held', async (t) => {
  const { store } = await open(t);
  const results = await Promise.allSettled([
    store.write((tx) => put(tx, 't1')),
    store.write(async (tx) => {
      await put(tx, 't2');
      // What SQLite does by itself after some failures.
      await tx.run('ROLLBACK');
      throw new Error('disk I/O error');
    }),
  ]);
  t.same(
    results.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  await store.write((tx) => put(tx, 't3'));
  t.same(await keys(store), ['t3']);
  await end(store);
});

t.test('write: a missing value is an error, not NULL', async (t) => {
  const { store } = await open(t);
  await t.rejects(
    store.write((tx) => tx.run('UPDATE meta SET value = ? WHERE key = ?', ['x'])),
    /1 values for 2 places/,
  );
  await end(store);
});

t.test('nextUidValidity: rises across units that failed and across restarts', async (t) => {
  const { store, dir } = await open(t);
  const first = await store.write(async (tx) => [tx.nextUidValidity(), tx.nextUidValidity()]);
  await store
    .write(async (tx) => {
      tx.nextUidValidity();
      throw new Error('no');
    })
    .catch(() => undefined);
  const third = await store.write(async (tx) => tx.nextUidValidity());
  await end(store);
  const again = await open(t, dir);
  const last = await again.store.write(async (tx) => tx.nextUidValidity());
  t.ok(first[0]! < first[1]! && first[1]! < third && third < last);
  await end(again.store);
});

t.test('read: more readers than handles take turns; snapshot sees one commit', async (t) => {
  const { store } = await open(t);
  await store.write((tx) => put(tx, 't1'));
  const counts = await store.snapshot(async (tx) => {
    const before = await tx.all('SELECT 1 FROM meta');
    await store.write((other) => put(other, 't2'));
    return [before.length, (await tx.all('SELECT 1 FROM meta')).length];
  });
  t.equal(counts[0], counts[1]);
  const all = await Promise.all(Array.from({ length: 20 }, () => store.read((tx) => tx.all('SELECT 1 FROM meta'))));
  t.ok(all.every((rows) => rows.length === counts[0]! + 1));
  await end(store);
});

t.test(
  'close: what was issued before is durable, what runs comes to its end, what comes later is refused',
  async (t) => {
    const { store, dir } = await open(t);
    const written = Promise.all(Array.from({ length: 100 }, (_, n) => store.write((tx) => put(tx, `t${n}`))));
    const reads = Promise.allSettled(
      Array.from({ length: 10 }, () => store.read((tx) => tx.all('SELECT * FROM meta'))),
    );
    const closed = store.close();
    await t.rejects(
      store.write(async () => undefined),
      { code: 'unavailable' },
    );
    await t.rejects(
      store.read(async () => undefined),
      { code: 'unavailable' },
    );
    await written;
    await reads;
    await closed;
    const again = await open(t, dir);
    t.equal((await keys(again.store)).length, 100);
    await end(again.store);
  },
);

t.test('open: a second open finds schema, id and mailboxes as they were', async (t) => {
  const { store, dir } = await open(t);
  await openMergedMailboxes(store);
  const names = await store.read((tx) => tx.all('SELECT * FROM mailbox'));
  const { id } = store;
  await end(store);
  const again = await open(t, dir);
  await openMergedMailboxes(again.store);
  t.equal(again.store.id, id);
  t.same(await again.store.read((tx) => tx.all('SELECT * FROM mailbox')), names);
  await end(again.store);
});

t.test('open: a database of a newer Mergebox is refused and left alone', async (t) => {
  const { store, dir } = await open(t);
  await store.write((tx) => tx.run("UPDATE meta SET value = '999' WHERE key = 'schema'"));
  await store.close();
  await t.rejects(Store.open(dir), { code: 'corrupt', message: /schema is number 999.*newer Mergebox/ });
});

t.test('open: what is no database, or a damaged one, is refused with what to do', async (t) => {
  const dir = await scratch(t);
  await writeFile(path.join(dir, 'mergebox.db'), Buffer.alloc(8_192, 'not a database '));
  await t.rejects(Store.open(dir), { code: 'corrupt', message: /mergebox\.db.*mergebox rebuild/ });
});

t.test('open: a place that cannot be written is unavailable', async (t) => {
  const dir = await scratch(t);
  await writeFile(path.join(dir, 'file'), '');
  await t.rejects(Store.open(path.join(dir, 'file')), { code: 'unavailable', message: /file/ });
});
