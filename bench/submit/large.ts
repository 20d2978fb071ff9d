import { readFile, writeFile } from 'node:fs/promises';
import { eventually } from '../../test/harness/net.js';
import { residentMiB } from '../measure/process.js';
import type { Figures } from '../measure/table.js';
import { LOGIN, makeDaemon, SENDER } from './daemon.js';
import { startLoginProxy } from './login-proxy.js';
import { runSource, startSink } from './sink.js';

const LARGE = 25 * 1_048_576;

/** How much more memory the daemon takes at most while a mail of 25 MiB passes. */
export async function measureLarge(say: (text: string) => void): Promise<Figures[]> {
  const sink = await startSink();
  const daemon = await makeDaemon(sink.port);
  await daemon.start();
  const proxy = await startLoginProxy(daemon.listener('submission').port, LOGIN);
  try {
    const send = async (octets: number, mails: number, connections = 1): Promise<void> => {
      const goal = sink.messages + mails;
      await runSource(proxy.port, { mails, octets, connections, from: SENDER });
      await eventually('the mail is at the sink', () => sink.messages >= goal, { timeoutMs: 120_000 });
    };
    await send(10_240, 200, 5);
    const extra: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const before = await residentMiB(daemon.pid);
      // 5 makes the kernel forget the peak (proc_pid_clear_refs(5)).
      await writeFile(`/proc/${daemon.pid}/clear_refs`, '5');
      await send(LARGE, 1);
      const status = await readFile(`/proc/${daemon.pid}/status`, 'utf8');
      extra.push(Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024 - before);
      say(`25 MiB: ${extra.at(-1)?.toFixed(1)} MiB above ${before.toFixed(0)} MiB`);
    }
    return [{ name: 'memory for a mail of 25 MiB', unit: 'MiB', mergebox: extra, dovecot: null }];
  } finally {
    proxy.stop();
    await daemon.stop();
    await sink.stop();
  }
}
