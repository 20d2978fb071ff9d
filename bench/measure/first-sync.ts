import { eventually } from '../../test/harness/net.js';
import { BareClient } from './client.js';
import { cpuSeconds, residentMiB } from './process.js';
import { BOX_PASSWORD, type Scene, UPSTREAM_PASSWORD, USER } from './scene.js';
import type { Figures } from './table.js';

/** What a first sync has to learn of each mail. */
const ITEMS = 'UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])';

/** Fetches what a first sync needs from both upstreams at once with the bare client; milliseconds. */
async function bareFetch(scene: Scene): Promise<number> {
  const started = performance.now();
  await Promise.all(
    scene.upstreams.map(async (server) => {
      const client = await BareClient.login(server.port, USER, UPSTREAM_PASSWORD, 'INBOX');
      await client.run(ITEMS);
      client.close();
    }),
  );
  return performance.now() - started;
}

/** Starts the daemon and measures until the merged INBOX holds every mail and `sync --wait` has nothing to do. */
export async function measureFirstSync(scene: Scene): Promise<Figures[]> {
  const { copies } = scene;
  // The first pass builds Dovecot's caches; then what a warm upstream can do, before and after the sync.
  await bareFetch(scene);
  const bare = [await bareFetch(scene)];
  const started = performance.now();
  await scene.box.start();
  const client = await BareClient.login(scene.box.listener('imap', 'none').port, USER, BOX_PASSWORD);
  const shown = await eventually(
    'the merged INBOX to hold every mail',
    async () => {
      const status = await client.read('STATUS INBOX (MESSAGES)');
      return Number(/MESSAGES (\d+)/.exec(status)?.[1]) === scene.distinct && performance.now() - started;
    },
    { timeoutMs: 1_800_000, everyMs: 250 },
  );
  client.close();
  await scene.box.sync(1_800);
  const settled = performance.now() - started;
  const cpu = await cpuSeconds(scene.box.pid);
  bare.push(await bareFetch(scene));
  const rate = (ms: number): number => copies / (ms / 1000);
  return [
    { name: 'first sync until INBOX is whole', unit: 'mails/s', mergebox: [rate(shown)], dovecot: bare.map(rate) },
    { name: 'first sync until nothing is left to do', unit: 'mails/s', mergebox: [rate(settled)], dovecot: null },
    { name: 'CPU of the daemon for it', unit: 'µs/mail', mergebox: [(cpu / copies) * 1e6], dovecot: null },
    {
      name: 'memory after the first sync',
      unit: 'MiB RSS',
      mergebox: [await residentMiB(scene.box.pid)],
      dovecot: null,
    },
  ];
}

/** RSS with ten clients that have INBOX selected and idle: as the daemon is, and when it was started anew. */
export async function measureMemory(scene: Scene): Promise<Figures[]> {
  const used = await memoryWithClients(scene);
  await scene.box.restart();
  const fresh = await memoryWithClients(scene);
  return [
    { name: 'memory with 10 idling clients', unit: 'MiB RSS', mergebox: [used], dovecot: null },
    { name: 'the same after a restart', unit: 'MiB RSS', mergebox: [fresh], dovecot: null },
  ];
}

async function memoryWithClients(scene: Scene): Promise<number> {
  const port = scene.box.listener('imap', 'none').port;
  const clients = await Promise.all(
    Array.from({ length: 10 }, () => BareClient.login(port, USER, BOX_PASSWORD, 'INBOX')),
  );
  await Promise.all(clients.map((client) => client.idle()));
  const rss = await residentMiB(scene.box.pid);
  for (const client of clients) client.close();
  return rss;
}
