import { join } from 'node:path';
import { QueueDatabase } from '../../src/submit/queue/database.js';
import type { QueuedMail } from '../../src/submit/queue/mail.js';
import { freePorts } from '../../test/harness/net.js';
import type { Figures } from '../measure/table.js';
import { LOGIN, makeDaemon, SENDER } from './daemon.js';

/** How long a start and a listing take with that many mails in the queue, whose server is out of reach. */
export async function measureBacklog(waiting: number, say: (text: string) => void): Promise<Figures[]> {
  const [closed = 0] = await freePorts(1);
  const daemon = await makeDaemon(closed);
  try {
    say(`Writing ${waiting} mails into a queue`);
    const db = await QueueDatabase.open(join(daemon.dir, 'data', 'users', LOGIN.user));
    const bytes = Buffer.from(`From: ${SENDER}\r\nSubject: waiting\r\n\r\n${'x'.repeat(78)}\r\n`.padEnd(2_000, 'y'));
    for (let done = 0; done < waiting; done += 640) {
      const batch = Array.from({ length: Math.min(640, waiting - done) }, () =>
        db.insert(waitingMail(db, bytes), bytes),
      );
      await Promise.all(batch);
    }
    await db.close();
    const start = performance.now();
    await daemon.start();
    const started = (performance.now() - start) / 1_000;
    say(`started in ${started.toFixed(2)} s`);
    const listings: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const begin = performance.now();
      const { code, stdout } = await daemon.command(['queue', 'list']);
      listings.push((performance.now() - begin) / 1_000);
      if (code !== 0 || !stdout.endsWith(`\n${waiting} mails\n`)) throw new Error(`queue list: ${stdout.slice(-200)}`);
    }
    say(`listed in ${listings.map((each) => each.toFixed(2)).join(', ')} s`);
    return [
      { name: `start with ${waiting} waiting mails`, unit: 's', mergebox: [started], dovecot: null },
      { name: 'queue list of all of them, the command included', unit: 's', mergebox: listings, dovecot: null },
    ];
  } finally {
    await daemon.stop();
  }
}

function waitingMail(db: QueueDatabase, bytes: Buffer): QueuedMail {
  const id = db.takeId();
  const now = Date.now();
  return {
    ...{ id, created: now, since: now, nextTry: 0, dutyAt: 0, priority: 0, attempts: 1, error: 'not yet' },
    ...{ account: 'out', viaRelay: false, sender: SENDER, state: 'waiting', size: bytes.length },
    ...{ warned: false, filed: false, looks: 0, marked: false, reports: 0, repeated: false },
    envelope: {
      ...{ from: SENDER, messageId: `<${id}@bench.example>`, subject: 'waiting', utf8: false, eightBit: false },
      ...{ headerUtf8: false, requireTls: false, ret: null, envid: null, mtPriority: null, trace: '', added: '' },
      ...{ hidden: [], headerEnd: 60, spool: null, answers: [], forwards: [] },
    },
    recipients: [{ address: `r${id}@far.example`, state: 'waiting' }],
  };
}
