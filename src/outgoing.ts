import { setTimeout as delay } from 'node:timers/promises';
import type { Config, UserConfig } from './config/config.js';
import { RELAY_TIMEOUTS } from './submit/limits.js';
import type { Submitter } from './submit/parts.js';
import type { QueueHost } from './submit/queue/host.js';
import type { QueueMetrics } from './submit/queue/options.js';
import { OutgoingQueue } from './submit/queue/queue.js';
import { SenderBook } from './submit/sender.js';
import type { AccountEngine } from './sync/engine.js';
import type { UserService } from './user-service.js';
import { systemClock } from './util/clock.js';
import type { Log } from './util/log.js';
import type { Metrics } from './util/metrics.js';

/** How long a look at a server may take before what it would show counts as unknown. */
const LOOK_MS = 30_000;
/** How often it is seen whether an account was synced since, while mail waits for that. */
const SYNCED_MS = 500;
/** How often it is seen whether a queue has come to rest, while somebody waits for it. */
const REST_MS = 25;
const HOUR_MS = 3_600_000;
/** How long a server may take to show in Sent what it took, before a lost answer is looked into. */
const LATEST_COPY_MS = 15_000;

/** The outgoing mail of one user: its queue, joined with the mailboxes and the accounts. */
export class Outgoing implements Submitter {
  readonly senders: SenderBook;
  readonly queue: OutgoingQueue;
  readonly #engines: readonly AccountEngine[];
  readonly #watch: NodeJS.Timeout;
  readonly #lastSync = new Map<string, string | null>();

  private constructor(senders: SenderBook, queue: OutgoingQueue, engines: readonly AccountEngine[]) {
    this.senders = senders;
    this.queue = queue;
    this.#engines = engines;
    this.#watch = setInterval(() => this.#noticeSyncs(), SYNCED_MS);
    this.#watch.unref();
  }

  static async open(
    { submission }: Config,
    user: UserConfig,
    service: UserService,
    parts: { readonly log: Log; readonly metrics: QueueMetrics },
  ): Promise<Outgoing> {
    const senders = new SenderBook(user);
    const retryMs = submission.retrySeconds * 1_000;
    const queue = await OutgoingQueue.open({
      dir: service.dir,
      book: () => senders,
      host: hostOf(service),
      hostname: submission.hostname,
      times: {
        retryMs,
        warnMs: submission.warnHours * HOUR_MS,
        giveUpMs: submission.giveUpHours * HOUR_MS,
        lookMs: Math.min(retryMs, LATEST_COPY_MS),
      },
      timeouts: { ...RELAY_TIMEOUTS, finalMs: submission.replySeconds * 1_000 },
      clock: systemClock,
      log: parts.log.child({ user: user.name }),
      metrics: parts.metrics,
    });
    // Before anybody can hand in mail: what comes in meanwhile would be scheduled twice, or its file taken for an orphan.
    await queue.start();
    return new Outgoing(senders, queue, service.sync.engines);
  }

  /**
   * Sends what waited for a sync of the account, and files what was sent. Resolves to whether anything was done, when
   * nothing is under way; rejects with the signal's reason.
   */
  async settle(account: string, signal: AbortSignal): Promise<boolean> {
    this.queue.synced(account);
    let busy = false;
    while (this.queue.isBusy(account) || (await this.queue.settleAccount(account))) {
      busy = true;
      await delay(REST_MS, undefined, { signal });
    }
    return busy;
  }

  async close(): Promise<void> {
    clearInterval(this.#watch);
    await this.queue.close();
  }

  #noticeSyncs(): void {
    for (const engine of this.#engines) {
      const { lastSync } = engine.status();
      if (lastSync === (this.#lastSync.get(engine.name) ?? null)) continue;
      this.#lastSync.set(engine.name, lastSync);
      this.queue.synced(engine.name);
    }
  }
}

/** Counters of all queues together. */
export function queueMetrics(metrics: Metrics): QueueMetrics {
  const ended = metrics.counter('mergebox_queue_ended', 'Mails that left the queue, by what became of them', [
    'result',
  ]);
  const unknown = metrics.counter('mergebox_queue_unknown', 'Mails whose server was lost before it answered');
  const notFiled = metrics.counter(
    'mergebox_submission_not_filed',
    'Times that a sent mail could not be filed or reported',
  );
  return {
    ended: (result) => ended.add(1, { result }),
    unknown: () => unknown.add(1),
    notFiled: () => notFiled.add(1),
  };
}

function hostOf(service: UserService): QueueHost {
  const { outgoing } = service;
  const engineOf = (account: string): AccountEngine | undefined =>
    service.sync.engines.find((each) => each.name === account);
  return {
    lookInSent: async (account, messageId, fresh) => {
      const engine = engineOf(account);
      if (fresh && (engine === undefined || !(await lookAt(engine)))) return 'unknown';
      return outgoing.sentCopy(account, messageId);
    },
    fileSent: (account, message, always) => outgoing.fileSent(account, message, always),
    report: (account, message, messageId) => outgoing.report(account, message, messageId),
    mark: (answered, forwarded) => outgoing.mark(answered, forwarded),
    reachable: (account) => ['idle', 'syncing', 'held'].includes(engineOf(account)?.status().state ?? 'offline'),
  };
}

/** Whether the account's folders could be looked at now. */
async function lookAt(engine: AccountEngine): Promise<boolean> {
  const enough = new AbortController();
  try {
    const round = engine.round().then(() => true);
    const late = delay(LOOK_MS, false, { signal: enough.signal });
    late.catch(() => undefined);
    return await Promise.race([round, late]);
  } catch {
    return false;
  } finally {
    enough.abort();
  }
}
