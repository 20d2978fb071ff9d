import { eventually } from '../../test/harness/net.js';
import { startPostfix } from '../../test/harness/postfix.js';
import { cpuSeconds } from '../measure/process.js';
import type { Figures } from '../measure/table.js';
import { LOGIN, makeDaemon, SENDER } from './daemon.js';
import { startLoginProxy } from './login-proxy.js';
import { type Load, runSource, type Sink, startSink } from './sink.js';

/** Mails a second through Mergebox and through Postfix, in turn, until the last one is at the sink. */
export async function measureRelaying(
  load: Omit<Load, 'from'>,
  rounds: number,
  say: (text: string) => void,
): Promise<Figures[]> {
  const sink = await startSink();
  const daemon = await makeDaemon(sink.port);
  const postfix = await startPostfix({ relayPort: sink.port });
  await daemon.start();
  const ours = await startLoginProxy(daemon.listener('submission').port, LOGIN);
  const theirs = await startLoginProxy(postfix.port, null);
  try {
    const rates: Record<'mergebox' | 'postfix', number[]> = { mergebox: [], postfix: [] };
    const cpu: number[] = [];
    const warm = { ...load, mails: 200, from: SENDER };
    await relay(sink, ours.port, warm);
    await relay(sink, theirs.port, warm);
    for (let round = 1; round <= rounds; round += 1) {
      const before = await cpuSeconds(daemon.pid);
      rates.mergebox.push(await relay(sink, ours.port, { ...load, from: SENDER }));
      cpu.push((((await cpuSeconds(daemon.pid)) - before) / load.mails) * 1e6);
      rates.postfix.push(await relay(sink, theirs.port, { ...load, from: SENDER }));
      say(
        `round ${round}: Mergebox ${rates.mergebox.at(-1)?.toFixed(0)}/s, Postfix ${rates.postfix.at(-1)?.toFixed(0)}/s`,
      );
    }
    return [
      { name: 'accepted and relayed', unit: 'mails/s', mergebox: rates.mergebox, dovecot: rates.postfix },
      { name: 'CPU of the daemon for it', unit: 'µs/mail', mergebox: cpu, dovecot: null },
    ];
  } finally {
    ours.stop();
    theirs.stop();
    await daemon.stop();
    await postfix.stop();
    await sink.stop();
  }
}

/** Mails a second from the first octet to the last mail at the sink. */
async function relay(sink: Sink, port: number, load: Load): Promise<number> {
  const goal = sink.messages + load.mails;
  const start = performance.now();
  await runSource(port, load);
  await eventually(`${goal} mails at the sink`, () => sink.messages >= goal, { everyMs: 5, timeoutMs: 60_000 });
  return load.mails / ((performance.now() - start) / 1_000);
}
