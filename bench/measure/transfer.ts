import { eventually } from '../../test/harness/net.js';
import { BareClient } from './client.js';
import { BOX_PASSWORD, type Scene, UPSTREAM_PASSWORD, USER } from './scene.js';
import type { Figures } from './table.js';

const MAILS = 20_000;

/** COPY and MOVE of many mails in one command, and how long other clients wait meanwhile. */
export async function measureTransfer(scene: Scene): Promise<Figures[]> {
  const box = scene.box.listener('imap', 'none').port;
  const ours = { name: `COPY of ${MAILS} mails`, unit: 'ms', mergebox: [] as number[], dovecot: [] as number[] };
  const move = { name: `MOVE of ${MAILS} mails`, unit: 'ms', mergebox: [] as number[], dovecot: [] as number[] };
  const waits = {
    name: 'longest wait of another client meanwhile',
    unit: 'ms',
    mergebox: [] as number[],
    dovecot: null,
  };
  for (const [port, password, side] of [
    [box, BOX_PASSWORD, 'mergebox'],
    [scene.reference.port, UPSTREAM_PASSWORD, 'dovecot'],
  ] as const) {
    const client = await BareClient.login(port, USER, password, 'INBOX');
    const uids = await firstUids(client);
    for (const [figures, command] of [
      [ours, `UID COPY ${uids} Archive`],
      [move, `UID MOVE ${uids} Archive`],
    ] as const) {
      const [ms, longest] = await watched(port, password, async () => (await client.run(command)).ms);
      figures[side].push(ms);
      if (side === 'mergebox') waits.mergebox.push(longest);
    }
    client.close();
  }
  waits.mergebox.splice(0, waits.mergebox.length, Math.max(...waits.mergebox));
  return [ours, move, waits];
}

async function firstUids(client: BareClient): Promise<string> {
  const found = /\* SEARCH([ \d]*)/.exec(await client.read('UID SEARCH ALL'))?.[1] ?? '';
  const uids = found.trim().split(' ');
  return `${uids[0]}:${uids[Math.min(MAILS, uids.length) - 1]}`;
}

/** Runs `work` while another client asks all the time; also the longest that this one waited. */
async function watched(port: number, password: string, work: () => Promise<number>): Promise<[number, number]> {
  const other = await BareClient.login(port, USER, password);
  let done = false;
  let longest = 0;
  const working = work().finally(() => {
    done = true;
  });
  await eventually(
    'the work to end',
    async () => {
      longest = Math.max(longest, (await other.run('CAPABILITY')).ms);
      return done;
    },
    { everyMs: 1, timeoutMs: 300_000 },
  );
  other.close();
  return [await working, longest];
}
