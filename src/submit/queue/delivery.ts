import type { Clock } from '../../util/clock.js';
import { errorText, isMergeboxError } from '../../util/errors.js';
import { faultPoint } from '../../util/fault.js';
import type { Log } from '../../util/log.js';
import { wireBlocks } from '../message.js';
import type { Relay } from '../relay.js';
import type { Sender } from '../sender.js';
import { type AttemptResult, attempt, recipientsAtOnce, TOO_MANY } from './attempt.js';
import type { QueueDatabase } from './database.js';
import { bareId, type Duties } from './duties.js';
import type { QueueHost } from './host.js';
import { hasState, type QueuedMail } from './mail.js';
import { againAfterDot, deferred, foundInSent, type QueueTimes, withDot, withVerdicts } from './progress.js';
import type { Sessions } from './sessions.js';

export interface DeliveryParts {
  readonly db: QueueDatabase;
  readonly host: QueueHost;
  readonly duties: Duties;
  readonly clock: Clock;
  readonly log: Log;
  readonly times: QueueTimes;
  /** Counts mails whose answer was lost. */
  readonly onUnknown: () => void;
  /** Records what became of a mail, however long that takes. */
  readonly record: (mail: QueuedMail) => Promise<void>;
}

/** The server could not be used at all; nothing was tried. */
export interface Unreachable {
  readonly error: string;
  readonly patience: 'short' | 'long';
}

/** How often a server that cannot be asked is asked whether it has a mail, before it is taken not to have it. */
const MAX_LOOKS = 20;
const LOOK_AGAIN_MS = 60_000;

/** Hands mail to upstream servers and records what came of it. */
export class Delivery {
  readonly #parts: DeliveryParts;

  constructor(parts: DeliveryParts) {
    this.#parts = parts;
  }

  /**
   * Tries all recipients that wait. Resolves to the mail as it is then; what has to be on disk before the final dot is,
   * the rest is the caller's to record. Rejects only when the database or the content cannot be used.
   */
  async send(
    mail: QueuedMail,
    sessions: Sessions,
    content: () => AsyncIterable<Buffer> | Iterable<Buffer>,
  ): Promise<QueuedMail | Unreachable> {
    let current = mail;
    const tried = new Set<string>();
    let dotRecorded = false;
    for (;;) {
      const session = await this.#session(sessions);
      if (!('relay' in session)) {
        // The record of a dot that never went out is taken back.
        return tried.size === 0 && !dotRecorded ? session : this.#defer(current, session.error);
      }
      const { relay, used } = session;
      const untried = current.recipients.filter(({ state, address }) => state === 'waiting' && !tried.has(address));
      const batch = untried.slice(0, recipientsAtOnce(relay.features));
      const before = current;
      const onDot = async (accepted: readonly string[]): Promise<void> => {
        current = withDot(before, accepted);
        dotRecorded = true;
        await this.#parts.db.update(current);
        faultPoint('queue.dot');
      };
      const result = await attempt(relay, before, batch, () => wireBlocks(mail.envelope, content()), onDot).catch(
        (error: unknown) => {
          relay.abort();
          throw error;
        },
      );
      current = withVerdicts(current, result.verdicts, relay.features.dsn);
      if (result.unknown.length > 0) return this.#lost(current, relay);
      current = notSent(current);
      // A session that was kept may have died meanwhile; that is nobody's failure.
      if (result.broken !== null && used) continue;
      if (result.broken !== null) return this.#defer(current, result.broken);
      sessions.give(relay);
      faultPoint('queue.answered');
      noteTried(result, tried);
      if (!current.recipients.some(({ state, address }) => state === 'waiting' && !tried.has(address))) {
        return hasState(current, 'waiting') ? this.#defer(current, obstacle(current)) : current;
      }
      await this.#parts.record(current);
    }
  }

  /** A mail whose final dot went out without an answer: looks whether its server has it; still `sending` when unknown. */
  async resolve(mail: QueuedMail): Promise<QueuedMail> {
    const { host, clock, log } = this.#parts;
    const look = await host.lookInSent(mail.account, bareId(mail), true).catch(() => 'unknown' as const);
    log.info({ mail: mail.id, account: mail.account, look }, 'looked for a mail whose answer was lost');
    if (look === 'server') return { ...foundInSent(mail), state: 'waiting' };
    if (look === 'unknown' && mail.looks < MAX_LOOKS) {
      return { ...mail, looks: mail.looks + 1, nextTry: clock.now() + LOOK_AGAIN_MS };
    }
    if (!mail.repeated) return againAfterDot(mail);
    const error = 'twice the answer of its server was lost: it may have arrived; retry or drop it';
    return { ...mail, state: 'held', error };
  }

  async #session(sessions: Sessions): Promise<{ readonly relay: Relay; readonly used: boolean } | Unreachable> {
    try {
      return await sessions.take();
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      return { error: errorText(error), patience: error.code === 'authentication' ? 'long' : 'short' };
    }
  }

  #lost(mail: QueuedMail, relay: Relay): QueuedMail {
    relay.abort();
    const { clock, log, times, onUnknown } = this.#parts;
    onUnknown();
    const error = 'the connection was lost before the server answered to the message';
    log.warn({ mail: mail.id, account: mail.account }, `${error}; it may have been taken`);
    return {
      ...mail,
      state: 'sending',
      attempts: mail.attempts + 1,
      error,
      looks: 0,
      nextTry: clock.now() + times.lookMs,
    };
  }

  #defer(mail: QueuedMail, error: string): QueuedMail {
    return deferred(mail, error, this.#parts.times, this.#parts.clock.now());
  }
}

/** Those turned away because they were too many at once are not tried yet, provided that others got through. */
function noteTried({ verdicts, more }: AttemptResult, tried: Set<string>): void {
  const progress = [...verdicts.values()].some(({ state }) => state !== 'waiting');
  for (const [address, { status, state }] of verdicts) {
    if (!(more && progress && state === 'waiting' && status === TOO_MANY)) tried.add(address);
  }
}

/** The dot, if it was recorded at all, did not go out, or was answered. */
function notSent(mail: QueuedMail): QueuedMail {
  return {
    ...mail,
    state: 'waiting',
    recipients: mail.recipients.map((each) => (each.state === 'sent' ? { ...each, state: 'waiting' } : each)),
  };
}

function obstacle(mail: QueuedMail): string {
  const { address, reply } = mail.recipients.find(({ state }) => state === 'waiting') ?? {};
  return `${address ?? ''}: ${reply ?? 'not tried'}`;
}

/** The server a mail leaves through, for reports. */
export function serverOf(route: Sender | null): string {
  return route?.target?.endpoint.host ?? 'no server';
}
