import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { listNames } from '../chaos/mailbox-view.js';
import { openAccounts } from '../../src/store/accounts.js';
import { Store } from '../../src/store/store.js';
import { type ImapClient, quoted } from '../harness/imap-client.js';
import { flagsOf, literalOf } from '../harness/imap-helpers.js';
import { invariantFaults } from '../harness/invariants.js';
import type { Mergebox } from '../harness/mergebox.js';
import { type Scene, userDir } from './stage.js';

/** All that can be seen of a scene, as lines that are equal when it is. */
export interface View {
  /** What a client of Mergebox sees: per mailbox UIDVALIDITY and UIDNEXT, per mail UID, flags, INTERNALDATE, hash. */
  readonly client: readonly string[];
  /** The same of both servers, without UIDVALIDITY. */
  readonly servers: readonly string[];
  /** HIGHESTMODSEQ by mailbox, which a sync without news must not move. */
  readonly modSeqs: readonly string[];
}

/** Without a `box`, the servers alone. */
export async function look({
  box,
  work,
  home,
  login,
}: Omit<Scene, 'box'> & { readonly box: Mergebox | null }): Promise<View> {
  const seen =
    box === null
      ? { lines: [], modSeqs: [] }
      : await readAll(await box.imap(), (name, { uidValidity, uidNext }) => `${name} ${uidValidity} ${uidNext}`);
  const servers: string[] = [];
  for (const [id, server] of [
    ['work', work],
    ['home', home],
  ] as const) {
    servers.push(...(await readAll(await server.imap(login), (name) => name)).lines.map((line) => `${id} ${line}`));
  }
  return { client: seen.lines, servers, modSeqs: seen.modSeqs };
}

interface Opened {
  readonly uidValidity: string;
  readonly uidNext: string;
}

async function readAll(
  client: ImapClient,
  head: (name: string, opened: Opened) => string,
): Promise<{ lines: string[]; modSeqs: string[] }> {
  const lines: string[] = [];
  const modSeqs: string[] = [];
  try {
    for (const name of (await listNames(client)).sort()) {
      const opened = (await client.ok(`EXAMINE ${quoted(name)}`)).untagged.join('\n');
      const word = (pattern: RegExp): string => pattern.exec(opened)?.[1] ?? '';
      lines.push(head(name, { uidValidity: word(/UIDVALIDITY (\d+)/), uidNext: word(/UIDNEXT (\d+)/) }));
      modSeqs.push(`${name} ${word(/HIGHESTMODSEQ (\d+)/)}`);
      if (/^0 EXISTS/m.test(opened)) continue;
      const fetched = (await client.ok('UID FETCH 1:* (UID FLAGS INTERNALDATE BODY.PEEK[])')).untagged;
      lines.push(
        ...fetched.filter((line) => /^\d+ FETCH .*\{\d+\}/s.test(line)).map((line) => `${name} ${mail(line)}`),
      );
    }
  } finally {
    client.close();
  }
  return { lines, modSeqs };
}

function mail(response: string): string {
  const octets = literalOf(response);
  const outside = response.replace(/\{\d+\}\r\n/, '').replace(octets.toString('latin1'), '');
  const hash = createHash('sha256').update(octets).digest('hex').slice(0, 12);
  const subject = /^Subject: (.*)$/m.exec(octets.toString('latin1'))?.[1]?.trim() ?? '';
  const uid = /\bUID (\d+)/.exec(outside)?.[1];
  const date = /INTERNALDATE "([^"]*)"/.exec(outside)?.[1];
  return `UID ${uid} (${flagsOf(outside).sort().join(' ')}) ${date} ${hash} "${subject}"`;
}

/** What is wrong on disk when the daemon does not run, and what the ledger says was destroyed. */
export async function lookAtDisk(scene: Scene): Promise<{ faults: string[]; ledger: string[] }> {
  const dir = userDir(scene.box);
  const store = await Store.open(dir);
  try {
    const policy = { authority: 'both', onUpstreamDelete: 'trash', addresses: [], folders: {} } as const;
    const book = await openAccounts(store, [
      { ...policy, name: 'work', isDefault: true },
      { ...policy, name: 'home', isDefault: false },
    ]);
    const files = await readdir(join(dir, 'pinned'));
    const faults = await invariantFaults(store, { book, pinned: new Set(files) });
    const needed = await store.read((tx) =>
      tx.all<{ pinned: string }>('SELECT pinned FROM message WHERE pinned NOT NULL'),
    );
    const orphans = files.filter((name) => !needed.some(({ pinned }) => name.startsWith(pinned)));
    const actions = await store.read((tx) => tx.all('SELECT * FROM action'));
    // A mark is written down before it is sent, and again when it is sent again; whether it is, is a matter of timing.
    const ledger = await store.read((tx) =>
      tx.all<{ line: string }>(
        `SELECT DISTINCT account || ' ' || folder || ' ' || uid || ' ' || kind AS line FROM ledger
         WHERE kind <> 'mark' ORDER BY line`,
      ),
    );
    return {
      faults: [
        ...faults,
        ...orphans.map((name) => `pinned/${name}: nobody needs it`),
        ...(await readdir(dir)).filter((name) => !EXPECTED.test(name)).map((name) => `${name}: left behind`),
        ...actions.map((row) => `still owed: ${JSON.stringify(row)}`),
      ],
      ledger: ledger.map(({ line }) => line),
    };
  } finally {
    await store.close();
  }
}

const EXPECTED = /^((mergebox|queue)\.(db|db-wal|db-shm|state)|pinned|cache|spool|offline)$/;
