import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ADMIN_SOCKET } from '../../src/admin/admin.js';
import { adminRequest } from '../../src/admin/client.js';
import { BareClient } from './client.js';
import { type Scene, UPSTREAM_PASSWORD, USER } from './scene.js';
import type { Figures } from './table.js';

/** What a server without RFC 7162 offers, and all that the lanes need. */
const PLAIN = 'IMAP4rev1 LITERAL+ SASL-IR ID IDLE UIDPLUS MOVE UNSELECT NAMESPACE SPECIAL-USE LIST-EXTENDED ESEARCH';

/** `sync --wait` of all accounts when nothing changed: with QRESYNC, and where each folder must be listed. */
export async function measureResync(scene: Scene, rounds: number): Promise<Figures[]> {
  const quick: number[] = [];
  await resync(scene);
  for (let round = 0; round < rounds; round += 1) quick.push(await resync(scene));
  for (const server of scene.upstreams) {
    const file = join(server.dir, 'dovecot.conf');
    await writeFile(file, `${await readFile(file, 'utf8')}\nimap_capability = ${PLAIN}\n`);
    await server.restart();
  }
  // The engines notice that their connections are gone, and what the new ones lack.
  await scene.box.restart();
  await resync(scene);
  const listed: number[] = [];
  const bare: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    bare.push(await listing(scene));
    listed.push(await resync(scene));
  }
  return [
    { name: 'resync without a change, QRESYNC', unit: 'ms', mergebox: quick, dovecot: null },
    { name: 'resync without a change, no CONDSTORE', unit: 'ms', mergebox: listed, dovecot: bare },
  ];
}

/** Milliseconds until the daemon says that a further look at the servers would change nothing. */
async function resync({ box }: Scene): Promise<number> {
  const started = performance.now();
  const request = { wait: true, timeoutMs: 300_000 };
  const { body } = await adminRequest(join(box.dir, 'data', ADMIN_SOCKET), 'POST', '/api/sync', request, 310_000);
  const ms = performance.now() - started;
  if ((body as { ok?: unknown }).ok !== true) throw new Error(`sync: ${JSON.stringify(body)}`);
  return ms;
}

/** The same of a bare client: UID and FLAGS of everything, all upstreams at once. */
async function listing(scene: Scene): Promise<number> {
  const started = performance.now();
  await Promise.all(
    scene.upstreams.map(async (server) => {
      const client = await BareClient.login(server.port, USER, UPSTREAM_PASSWORD, 'INBOX');
      await client.run('UID FETCH 1:* (UID FLAGS)');
      client.close();
    }),
  );
  return performance.now() - started;
}
