import { createHash, randomBytes } from 'node:crypto';
import { readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { BodyCache, type BodyFetch, MemoryCache } from '../../src/cache/body-cache.js';
import { DiskCache } from '../../src/cache/disk-cache.js';
import { BLOCK } from '../../src/cache/gzip-blocks.js';
import { PinnedFiles } from '../../src/cache/pinned-files.js';
import { scratch } from './support/mail-world.js';

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

async function keep(cache: DiskCache, key: string, bytes: Buffer): Promise<void> {
  const writer = await cache.writer(key);
  await writer.write(bytes);
  await writer.commit();
}

function delivering(bytes: Buffer, announced = bytes.length): BodyFetch {
  return async (sink) => {
    sink.start(announced);
    for (let at = 0; at < bytes.length; at += 65_536) await sink.chunk(bytes.subarray(at, at + 65_536));
  };
}

t.test('DiskCache: what a crash tore is thrown away, never served', async (t) => {
  const dir = await scratch(t);
  const bytes = randomBytes(5_000);
  const tear: readonly (readonly [string, (file: string) => Promise<void>])[] = [
    ['cut', (file) => truncate(file, 1_000)],
    ['empty', (file) => truncate(file, 0)],
    ['shorter than the checksum', (file) => truncate(file, 10)],
    ['longer', async (file) => writeFile(file, Buffer.concat([await readFile(file), Buffer.from('x')]))],
    [
      'one bit',
      async (file) => {
        const all = await readFile(file);
        all[2_000]! ^= 1;
        await writeFile(file, all);
      },
    ],
  ];
  const before = await DiskCache.open(dir, 1 << 20);
  for (const [name] of tear) await keep(before, name.replaceAll(' ', '-'), bytes);
  await keep(before, 'whole', bytes);
  const unfinished = await before.writer('unfinished');
  await unfinished.write(bytes);
  for (const [name, damage] of tear) await damage(path.join(dir, `${name.replaceAll(' ', '-')}.body`));
  const after = await DiskCache.open(dir, 1 << 20);
  for (const [name] of tear) t.equal(await after.get(name.replaceAll(' ', '-')), null, name);
  t.equal(await after.get('unfinished'), null);
  t.same(await (await after.get('whole'))?.read(0, 5_000), bytes);
  t.same(await readdir(dir), ['whole.body']);
  await unfinished.abort();
});

t.test('DiskCache: the least recently used go beyond the budget, also after a restart', async (t) => {
  const dir = await scratch(t);
  const cache = await DiskCache.open(dir, 3_500);
  for (const key of ['a', 'b', 'c']) await keep(cache, key, Buffer.alloc(1_000, key));
  await cache.get('a');
  await keep(cache, 'd', Buffer.alloc(1_000));
  t.equal(await cache.get('b'), null);
  t.ok((await cache.get('a')) && (await cache.get('c')) && (await cache.get('d')));
  t.same((await readdir(dir)).sort(), ['a.body', 'c.body', 'd.body']);
});

t.test('DiskCache: a body larger than the budget is readable once it is written', async (t) => {
  const cache = await DiskCache.open(await scratch(t), 0);
  const bytes = randomBytes(100_000);
  const writer = await cache.writer('big');
  await writer.write(bytes);
  const body = await writer.commit();
  t.same(await body.read(0, bytes.length), bytes);
  await keep(cache, 'next', Buffer.alloc(10));
  t.equal(await cache.get('big'), null, 'the next one takes its place');
});

t.test('BodyCache: a large body goes to disk without being held in memory, and is read in ranges', async (t) => {
  const dir = await scratch(t);
  const cache = await BodyCache.open('alice', dir, new MemoryCache(64 << 20), 1 << 30);
  const chunk = randomBytes(1 << 16);
  const size = 50 << 20;
  let highest = 0;
  const floor = process.memoryUsage.rss();
  const body = await cache.getOrFetch('1', async (sink) => {
    sink.start(size);
    for (let at = 0; at < size; at += chunk.length) {
      await sink.chunk(chunk);
      highest = Math.max(highest, process.memoryUsage.rss() - floor);
    }
  });
  t.equal(body.size, size);
  t.same(await body.read(size - 100, size), chunk.subarray(chunk.length - 100));
  t.ok(highest < 40 << 20, `${highest >> 20} MB`);
  const again = await BodyCache.open('alice', dir, new MemoryCache(1), 1 << 30);
  t.equal((await again.get('1'))?.size, size, 'after a restart');
});

t.test('BodyCache: concurrent asks share one fetch; a failure is not remembered', async (t) => {
  const cache = await BodyCache.open('alice', await scratch(t), new MemoryCache(1 << 20), 1 << 20);
  let fetches = 0;
  const fetch: BodyFetch = async (sink) => {
    fetches += 1;
    if (fetches === 1) throw new Error('out of reach');
    await delivering(Buffer.from('hello'))(sink);
  };
  const failed = await Promise.allSettled([cache.getOrFetch('1', fetch), cache.getOrFetch('1', fetch)]);
  t.same(
    failed.map(({ status }) => status),
    ['rejected', 'rejected'],
  );
  t.equal(fetches, 1);
  const bodies = await Promise.all([1, 2, 3].map(() => cache.getOrFetch('1', fetch)));
  t.equal(fetches, 2);
  for (const body of bodies) t.equal(String(await body.read(0, 5)), 'hello');
  await cache.settle();
});

t.test('BodyCache: fewer or more octets than announced are an error and leave nothing', async (t) => {
  const dir = await scratch(t);
  const cache = await BodyCache.open('alice', dir, new MemoryCache(1 << 20), 1 << 24);
  for (const size of [1_000, 2 << 20]) {
    const bytes = Buffer.alloc(size);
    await t.rejects(cache.getOrFetch('1', delivering(bytes, size + 1)), /octets/);
    await t.rejects(cache.getOrFetch('1', delivering(bytes, size - 1)), /octets/);
    t.equal(await cache.get('1'), null);
  }
  await cache.settle();
  t.same(await readdir(dir), []);
});

t.test('BodyCache: one that is evicted while it is asked for is a miss or the body, never an error', async (t) => {
  const dir = await scratch(t);
  const cache = await BodyCache.open('alice', dir, new MemoryCache(0), 0);
  const disk = await DiskCache.open(dir, 1 << 20);
  await keep(disk, 'x', Buffer.from('hello'));
  const reopened = await BodyCache.open('alice', dir, new MemoryCache(0), 0);
  for (let n = 0; n < 50; n += 1) {
    await keep(disk, 'x', Buffer.from('hello'));
    const [body] = await Promise.all([reopened.get('x'), rm(path.join(dir, 'x.body'))]);
    if (body) t.equal(String(await body.read(0, 5)), 'hello');
  }
  t.equal(await cache.get('x'), null);
});

t.test('BodyCache: users that share the memory cannot reach each other', async (t) => {
  const memory = new MemoryCache(1 << 20);
  const alice = await BodyCache.open('alice', await scratch(t), memory, 1 << 20);
  const bob = await BodyCache.open('bob', await scratch(t), memory, 1 << 20);
  await alice.getOrFetch('1', delivering(Buffer.from('of alice')));
  t.equal(await bob.get('1'), null);
  await alice.settle();
});

t.test('PinnedFiles.put: the file is there and whole before it is referred to', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(path.join(dir, 'pinned'));
  const bytes = randomBytes(10_000);
  const name = await pinned.put(bytes, async (sha) => {
    t.same(gunzipSync(await readFile(path.join(dir, 'pinned', sha))), bytes);
    return sha;
  });
  t.equal(name, sha256(bytes));
  t.same(await (await pinned.get(name)).read(0, 10_000), bytes);
  await writeFile(path.join(dir, 'pinned', name), 'other');
  await t.rejects(pinned.get(name), { code: 'unavailable', message: /damaged/ });
  await t.rejects(pinned.get(sha256(Buffer.from('x'))), { code: 'unavailable' });
});

t.test(
  'PinnedFiles.put: bodies of every kind of size, put at once, come back whole and leave nothing else',
  async (t) => {
    const dir = await scratch(t);
    const pinned = await PinnedFiles.open(dir);
    const bodies = [0, 1, 4_096, (1 << 15) - 1, 1 << 15, (1 << 15) + 1, BLOCK - 1, BLOCK, BLOCK + 1].map((size) =>
      randomBytes(size),
    );
    // One of them twice: the same file is written by two at the same moment.
    await Promise.all([...bodies, bodies[2]!].map((bytes) => pinned.put(bytes, async () => undefined)));
    t.same((await readdir(dir)).sort(), bodies.map((bytes) => sha256(bytes)).sort());
    for (const bytes of bodies) {
      const body = await pinned.get(sha256(bytes));
      t.ok(bytes.equals(await body.read(0, bytes.length)), `${bytes.length} octets`);
    }
  },
);

t.test('PinnedFiles.put: a directory that cannot be written is unavailable', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(path.join(dir, 'pinned'));
  await rm(path.join(dir, 'pinned'), { recursive: true });
  await t.rejects(
    pinned.put(Buffer.from('x'), async () => undefined),
    { code: 'unavailable', message: /store message/ },
  );
});

t.test('PinnedFiles.sweep: takes what nobody needs, and nothing that was put while it looked', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(dir);
  const [kept, orphan, late, later] = ['kept', 'orphan', 'late', 'later'].map((text) => Buffer.from(text));
  for (const bytes of [kept!, orphan!, late!, later!]) await pinned.put(bytes, async () => undefined);
  await pinned.sweep(async () => {
    // What the database says is read here; both are committed after that, one before the sweep goes on.
    await pinned.put(late!, async () => undefined);
    return new Set([sha256(kept!)]);
  });
  t.same(new Set(await readdir(dir)), new Set([sha256(kept!), sha256(late!)]));
  let commit: () => void = () => undefined;
  const committed = new Promise<void>((resolve) => {
    commit = resolve;
  });
  let committing: Promise<void> = Promise.resolve();
  await new Promise<void>((resolve) => {
    committing = pinned.put(later!, () => {
      resolve();
      return committed;
    });
  });
  await pinned.sweep(async () => {
    commit();
    await committing;
    return new Set([sha256(kept!)]);
  });
  t.same(new Set(await readdir(dir)), new Set([sha256(kept!), sha256(later!)]));
});

t.test('PinnedFiles.sweep: one that is removed is written again by a put at the same moment', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(dir);
  const bodies = Array.from({ length: 40 }, (_, n) => Buffer.from(`body ${n}`));
  for (let round = 0; round < 5; round += 1) {
    for (const bytes of bodies) await pinned.put(bytes, async () => undefined);
    const sweep = pinned.sweep(async () => new Set());
    const puts = Promise.all(bodies.map((bytes) => pinned.put(bytes, async () => undefined)));
    await Promise.all([sweep, puts]);
    t.equal((await readdir(dir)).length, bodies.length);
  }
});

t.test('PinnedFiles.lease: a mail larger than a block is read in parts, each of them checked', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(dir);
  const bytes = Buffer.concat([randomBytes(BLOCK * 4 + 17), Buffer.alloc(BLOCK, 'x')]);
  const name = await pinned.lease(async (lease) => {
    const writer = await lease.writer();
    for (let at = 0; at < bytes.length; at += 70_001) await writer.write(bytes.subarray(at, at + 70_001));
    const given = await writer.commit();
    await lease.settle();
    // A sweep that knows of no reference leaves what the lease still keeps.
    await pinned.sweep(async () => new Set());
    return given;
  });
  t.equal(name, sha256(bytes));
  const body = await pinned.get(name);
  t.equal(body.size, bytes.length);
  for (const [from, to] of [
    [0, 10],
    [BLOCK - 3, BLOCK + 3],
    [100, BLOCK * 3],
    [bytes.length - 5, bytes.length + 5],
  ] as const) {
    t.same(await body.read(from, to), bytes.subarray(from, to), `${from}..${to}`);
  }
  t.same(gunzipSync(await readFile(path.join(dir, name))), bytes, 'gunzip reads it too');
  const torn = await readFile(path.join(dir, name));
  torn[torn.length - 2_000]! ^= 1;
  await writeFile(path.join(dir, name), torn);
  await t.rejects((await PinnedFiles.open(dir)).get(name), { code: 'unavailable', message: /damaged/ });
  await writeFile(path.join(dir, name), torn.subarray(0, torn.length - 1));
  await t.rejects((await PinnedFiles.open(dir)).get(name), { code: 'unavailable', message: /damaged/ });
});

t.test('PinnedFiles.get: a file from before there was compression is read as it is', async (t) => {
  const dir = await scratch(t);
  const pinned = await PinnedFiles.open(dir);
  const bytes = randomBytes(5_000);
  await writeFile(path.join(dir, sha256(bytes)), bytes);
  t.same(await (await pinned.get(sha256(bytes))).read(0, 5_000), bytes);
});
