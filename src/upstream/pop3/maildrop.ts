import type { AccountConfig } from '../../config/config.js';
import { MergeboxError } from '../../util/errors.js';
import { Mutex } from '../../util/mutex.js';
import type { Timing } from '../timing.js';
import { LINGER_MS } from './limits.js';
import { openPop3 } from './login.js';
import { lookAt, type Pop3Parts, type View } from './look.js';
import { Pop3Session } from './session.js';

/** A session that has looked at the maildrop and waits a moment for somebody to read it. */
interface Standing {
  readonly session: Pop3Session;
  readonly view: View;
  readonly timer: NodeJS.Timeout;
}

/** The sessions with one maildrop, one at a time, since the server locks it (RFC 1939 §4). */
export class Maildrop {
  readonly #account: AccountConfig;
  readonly #timing: Timing;
  readonly #parts: Pop3Parts;
  readonly #turns = new Mutex();
  #calledOff = new AbortController();
  #standing: Standing | null = null;
  #current: Pop3Session | null = null;
  /** What the last look ended with; null when something was done here since. */
  #last: View | null = null;
  /** The view that was read to its end. */
  #read: string | null = null;

  constructor(account: AccountConfig, timing: Timing, parts: Pop3Parts) {
    this.#account = account;
    this.#timing = timing;
    this.#parts = parts;
  }

  /** INBOX as it is now; the session stays for a moment when there is something to read. */
  look(): Promise<View> {
    return this.#turn(async (signal) => {
      await this.#endStanding();
      const { session, view } = await this.#look(signal);
      if (nameOf(view) === this.#read) await session.leave();
      else this.#stand(session, view);
      return view;
    });
  }

  /** Runs `use` in a session that has just looked; what it read must be durable when it resolves. */
  visit<T>(use: (session: Pop3Session, view: View) => Promise<T>): Promise<T> {
    return this.#turn(async (signal) => {
      const { session, view } = this.#takeStanding() ?? (await this.#look(signal));
      try {
        const result = await use(session, view);
        this.#read = nameOf(view);
        // Some servers delete what was read when a session ends well.
        await session.leave();
        return result;
      } catch (error) {
        this.#last = null;
        session.close();
        throw error;
      }
    });
  }

  /** Runs `task` in a session of its own, which it ends itself when that matters. */
  alone<T>(task: (session: Pop3Session) => Promise<T>): Promise<T> {
    return this.#turn(async (signal) => {
      await this.#endStanding();
      this.#last = null;
      const session = await this.#open(signal);
      try {
        return await task(session);
      } finally {
        session.close();
      }
    });
  }

  /** INBOX was changed here: the next look must not rely on the last one. */
  changed(): void {
    this.#last = null;
  }

  /** Ends all sessions; what runs or waits rejects with `aborted`. */
  disconnect(): void {
    this.#calledOff.abort();
    this.#calledOff = new AbortController();
    const aborted = new MergeboxError('aborted', 'the connection is being closed');
    this.#takeStanding()?.session.close(aborted);
    this.#current?.close(aborted);
    this.#last = null;
  }

  /** Runs `task` when no other session is open; called off by `disconnect`, also while it waits. */
  #turn<T>(task: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.#calledOff;
    return this.#turns.run(async () => {
      if (signal.aborted) throw new MergeboxError('aborted', 'look at the maildrop: called off');
      try {
        return await task(signal);
      } finally {
        this.#current = null;
      }
    });
  }

  async #open(signal: AbortSignal): Promise<Pop3Session> {
    const session = new Pop3Session(await openPop3(this.#account, this.#timing, signal));
    this.#current = session;
    return session;
  }

  async #look(signal: AbortSignal): Promise<{ session: Pop3Session; view: View }> {
    const session = await this.#open(signal);
    try {
      const view = await lookAt(session, this.#parts, this.#last);
      this.#last = view;
      return { session, view };
    } catch (error) {
      this.#last = null;
      session.close();
      throw error;
    }
  }

  #stand(session: Pop3Session, view: View): void {
    const timer = setTimeout(() => void this.#turns.run(() => this.#endStanding()), LINGER_MS);
    timer.unref();
    this.#standing = { session, view, timer };
  }

  #takeStanding(): Standing | null {
    const standing = this.#standing;
    this.#standing = null;
    if (standing === null) return null;
    clearTimeout(standing.timer);
    this.#current = standing.session;
    return standing.session.closed || standing.view !== this.#last ? this.#dismiss(standing.session) : standing;
  }

  #dismiss(session: Pop3Session): null {
    session.close();
    return null;
  }

  async #endStanding(): Promise<void> {
    const standing = this.#standing;
    this.#standing = null;
    if (standing === null) return;
    clearTimeout(standing.timer);
    await standing.session.leave();
  }
}

/** Equal for views that show the same. */
function nameOf({ state }: View): string {
  return `${state.highestModSeq} ${state.exists}`;
}
