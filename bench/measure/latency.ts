import type { Dovecot } from '../../test/harness/dovecot.js';
import { eventually } from '../../test/harness/net.js';
import { BareClient } from './client.js';
import { BOX_PASSWORD, type Scene, UPSTREAM_PASSWORD, USER } from './scene.js';
import type { Figures } from './table.js';

const MESSAGE_ID = (number: number): string => `<latency${number}@bench.example>`;

/**
 * How long things take to be seen: of new mail and of a flag set upstream, by an idling client of Mergebox and by one
 * of the upstream itself in the same event; and of a flag set through Mergebox, at the upstream.
 */
export async function measureLatency(scene: Scene, rounds: number): Promise<Figures[]> {
  const upstream = scene.upstreams[0]!;
  const port = scene.box.listener('imap', 'none').port;
  const merged = await BareClient.login(port, USER, BOX_PASSWORD, 'INBOX');
  const direct = await BareClient.login(upstream.port, USER, UPSTREAM_PASSWORD, 'INBOX');
  const actor = await BareClient.login(upstream.port, USER, UPSTREAM_PASSWORD, 'INBOX');
  const mail = {
    name: 'new mail seen by an idling client',
    unit: 'ms',
    mergebox: [] as number[],
    dovecot: [] as number[],
  };
  const flag = {
    name: 'flag set upstream seen by an idling client',
    unit: 'ms',
    mergebox: [] as number[],
    dovecot: [] as number[],
  };
  const push = {
    name: 'flag set by a client seen upstream',
    unit: 'ms',
    mergebox: [] as number[],
    dovecot: [] as number[],
  };
  try {
    for (let round = 0; round < rounds; round += 1) {
      const delivered = await bothSee([merged, direct], / EXISTS\r\n/, () => deliver(upstream, round));
      mail.mergebox.push(delivered[0]);
      mail.dovecot.push(delivered[1]);
      const uid = await uidOf(actor, MESSAGE_ID(round));
      const flagged = await bothSee([merged, direct], /FETCH [^\r\n]*\\Flagged/, async () => {
        const now = performance.now();
        await actor.run(`UID STORE ${uid} +FLAGS (\\Flagged)`);
        return now;
      });
      flag.mergebox.push(flagged[0]);
      flag.dovecot.push(flagged[1]);
      const mergedUid = await uidOf(merged, MESSAGE_ID(round));
      push.mergebox.push(await untilSeen(merged, mergedUid, actor, uid, '$Pushed'));
      push.dovecot.push(await untilSeen(direct, uid, actor, uid, '$Direct'));
    }
  } finally {
    for (const client of [merged, direct, actor]) client.close();
  }
  return [mail, flag, push];
}

/** Milliseconds from the moment that `act` resolves to until each idling client was told. */
async function bothSee(
  clients: readonly [BareClient, BareClient],
  matches: RegExp,
  act: () => Promise<number>,
): Promise<[number, number]> {
  const idles = await Promise.all(clients.map((client) => client.idle()));
  const seen = Promise.all(idles.map((idle) => idle.next(matches)));
  const [started, [merged = Number.NaN, direct = Number.NaN]] = await Promise.all([act(), seen]);
  for (const idle of idles) await idle.done();
  return [merged - started, direct - started];
}

/** Delivers, and resolves to the time at which the upstream had it. */
async function deliver(server: Dovecot, round: number): Promise<number> {
  const message = `From: a@bench.example\nSubject: latency ${round}\nMessage-ID: ${MESSAGE_ID(round)}\n\nx\n`;
  await server.deliver(USER, 'INBOX', message);
  return performance.now();
}

/** Sets a keyword as `setter` and polls as `reader` until it is there. */
async function untilSeen(
  setter: BareClient,
  setterUid: number,
  reader: BareClient,
  readerUid: number,
  keyword: string,
): Promise<number> {
  const started = performance.now();
  await setter.run(`UID STORE ${setterUid} +FLAGS (${keyword})`);
  return eventually(
    `${keyword} upstream`,
    async () => {
      const text = await reader.read(`UID FETCH ${readerUid} (FLAGS)`);
      return text.includes(keyword) && performance.now() - started;
    },
    { everyMs: 1 },
  );
}

async function uidOf(client: BareClient, messageId: string): Promise<number> {
  return eventually(`a mail ${messageId}`, async () => {
    await client.run('NOOP');
    const found = /\* SEARCH (\d+)/.exec(await client.read(`UID SEARCH HEADER Message-ID "${messageId}"`));
    return found !== null && Number(found[1]);
  });
}
