import type { Log } from '../../util/log.js';
import { RefusedError } from '../errors.js';
import type { KeptLease } from '../local-parts.js';
import { MailIntake, type Taken } from './intake.js';
import { IN_FLIGHT, IN_FLIGHT_BYTES, PAGE_BYTES, PAGE_MAILS } from './limits.js';
import type { Pop3Session } from './session.js';

/** A mail to be read. */
export interface Wanted {
  readonly uid: number;
  readonly number: number;
  /** As LIST told; 0 when it did not. */
  readonly octets: number;
}

export interface Downloaded extends Taken {
  readonly uid: number;
}

/**
 * Reads mails in this order, pipelined where the server allows it, and hands them on in pages when they are durable:
 * while one page is recorded the next is read. A mail that the server refuses to give is left out and told in the log.
 */
export async function download(
  session: Pop3Session,
  lease: KeptLease,
  wanted: readonly Wanted[],
  log: Log,
  onPage: (page: readonly Downloaded[]) => Promise<void>,
): Promise<void> {
  const run = new Download(session, lease, log, onPage);
  try {
    for (const each of wanted) await run.start(each);
    await run.end();
  } catch (error) {
    await run.abort(error);
    throw error;
  }
}

class Download {
  readonly #session: Pop3Session;
  readonly #lease: KeptLease;
  readonly #log: Log;
  readonly #onPage: (page: readonly Downloaded[]) => Promise<void>;
  readonly #window: number;
  readonly #running = new Set<Promise<void>>();
  #bytes = 0;
  /** Wakes whoever waits for one of these to end. */
  #room: () => void = () => undefined;
  #page: Promise<Downloaded>[] = [];
  #pageBytes = 0;
  /** The page that is being recorded. */
  #recording: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | null = null;

  constructor(
    session: Pop3Session,
    lease: KeptLease,
    log: Log,
    onPage: (page: readonly Downloaded[]) => Promise<void>,
  ) {
    this.#session = session;
    this.#lease = lease;
    this.#log = log;
    this.#onPage = onPage;
    this.#window = session.pipelining ? IN_FLIGHT : 1;
  }

  async start(wanted: Wanted): Promise<void> {
    // Asked for half a window at a time, many commands go out in one piece.
    if (this.#running.size >= this.#window) await this.#until(() => this.#running.size <= this.#window >> 1);
    await this.#until(() => this.#running.size === 0 || this.#bytes <= IN_FLIGHT_BYTES);
    if (this.#page.length >= PAGE_MAILS || this.#pageBytes >= PAGE_BYTES) await this.#turnPage();
    if (this.#failure !== null) throw this.#failure.error;
    this.#bytes += wanted.octets;
    const running = this.#read(wanted)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#bytes -= wanted.octets;
        this.#running.delete(running);
        this.#room();
      });
    this.#running.add(running);
  }

  /** Waits for mails under way to end until this holds. */
  async #until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await new Promise<void>((resolve) => {
        this.#room = resolve;
      });
    }
  }

  async end(): Promise<void> {
    await Promise.all(this.#running);
    if (this.#failure !== null) throw this.#failure.error;
    await this.#turnPage();
    await this.#recording;
  }

  /** Whatever is under way has ended afterwards, so that the lease may end too. */
  async abort(error: unknown): Promise<void> {
    this.#session.close(error instanceof Error ? error : new Error(String(error)));
    await Promise.all(this.#running);
    await Promise.allSettled([...this.#page, this.#recording]);
  }

  async #read({ uid, number }: Wanted): Promise<void> {
    const intake = new MailIntake(this.#lease);
    try {
      await this.#session.retr(number, (bytes) => {
        this.#pageBytes += bytes.length;
        return intake.take(bytes);
      });
    } catch (error) {
      await intake.discard();
      if (!(error instanceof RefusedError)) throw error;
      this.#log.warn({ number, text: error.serverText }, 'the server does not give a mail that it lists');
      return;
    }
    // The next mail need not wait for the disk.
    const kept = intake.finish().then((taken) => ({ uid, ...taken }));
    kept.catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#page.push(kept);
  }

  /** Records what has come, after the page before. */
  async #turnPage(): Promise<void> {
    const page = this.#page;
    this.#page = [];
    this.#pageBytes = 0;
    await this.#recording;
    if (page.length === 0) return;
    this.#recording = this.#record(page);
    this.#recording.catch((error: unknown) => {
      this.#failure ??= { error };
    });
  }

  async #record(page: readonly Promise<Downloaded>[]): Promise<void> {
    const mails = await Promise.all(page);
    await this.#lease.settle();
    await this.#onPage(mails);
  }
}
