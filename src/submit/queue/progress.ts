import type { Clock } from '../../util/clock.js';
import { backoffDelay } from '../../util/backoff.js';
import type { AttemptResult, Verdict } from './attempt.js';
import { hasState, isOpen, type QueuedMail, type Recipient } from './mail.js';

/** Times of the queue, in milliseconds. */
export interface QueueTimes {
  /** First wait behind a temporary failure; it doubles up to `MAX_RETRY_MS`. */
  readonly retryMs: number;
  /** Waiting longer than this is worth a notice. */
  readonly warnMs: number;
  /** Waiting longer than this is given up. */
  readonly giveUpMs: number;
  /** How long a server may take to file a mail it took, before a lost answer is looked into. */
  readonly lookMs: number;
}

const MAX_RETRY_MS = 3_600_000;

/** The mail with what a server said of its recipients. */
export function withVerdicts(mail: QueuedMail, verdicts: AttemptResult['verdicts'], dsn: boolean): QueuedMail {
  return {
    ...mail,
    recipients: mail.recipients.map((each) => {
      const verdict = isUndecided(each) ? verdicts.get(each.address) : undefined;
      return verdict === undefined ? each : withVerdict(each, verdict, dsn);
    }),
  };
}

function withVerdict(recipient: Recipient, { state, status, reply }: Verdict, dsn: boolean): Recipient {
  return { ...recipient, state, status, reply, ...(state === 'delivered' && !dsn ? { relayed: true } : {}) };
}

function isUndecided({ state }: Recipient): boolean {
  return state === 'waiting' || state === 'sent';
}

/** Recorded before the final dot: from then on nobody knows whether those recipients have the mail. */
export function withDot(mail: QueuedMail, accepted: readonly string[]): QueuedMail {
  const sent = new Set(accepted);
  return {
    ...mail,
    state: 'sending',
    recipients: mail.recipients.map((each) =>
      sent.has(each.address) && each.state === 'waiting' ? { ...each, state: 'sent' } : each,
    ),
  };
}

/** The answer to the final dot is lost for good: those recipients are tried once more, and the mail says so. */
export function againAfterDot(mail: QueuedMail): QueuedMail {
  return {
    ...changeSent(mail, { state: 'waiting', status: '4.4.2', reply: 'the answer to the message was lost' }),
    state: 'waiting',
    repeated: true,
    nextTry: 0,
    looks: 0,
  };
}

/** The mail was found in Sent, where only its server can have put it: it was taken. */
export function foundInSent(mail: QueuedMail): QueuedMail {
  return { ...changeSent(mail, { state: 'delivered', status: '2.0.0', reply: 'found in Sent' }), filed: true };
}

function changeSent(mail: QueuedMail, verdict: Verdict): QueuedMail {
  return {
    ...mail,
    recipients: mail.recipients.map((each) => (each.state === 'sent' ? { ...each, ...verdict } : each)),
  };
}

/** The mail after a try that left recipients waiting. */
export function deferred(mail: QueuedMail, error: string, times: QueueTimes, now: number): QueuedMail {
  const attempts = mail.attempts + 1;
  const delay = backoffDelay(attempts, { baseMs: times.retryMs, maxMs: Math.max(times.retryMs, MAX_RETRY_MS) });
  return { ...mail, attempts, error, nextTry: now + delay };
}

/** Recipients that waited too long have failed (RFC 5321 §4.5.4.1). */
export function expired(mail: QueuedMail, reason: string | null, now: number, { giveUpMs }: QueueTimes): QueuedMail {
  if (now - mail.since < giveUpMs) return mail;
  const why = reason ?? mail.error;
  const verdict = (each: Recipient): Recipient => ({
    ...each,
    state: 'failed',
    status: '4.4.7',
    reply: each.reply ?? `it could not be delivered in time${why === null ? '' : `; last: ${why}`}`,
  });
  return { ...mail, recipients: mail.recipients.map((each) => (each.state === 'waiting' ? verdict(each) : each)) };
}

/** `waiting` while recipients are left, `settling` when only what is owed besides is. */
export function restingState(mail: QueuedMail): QueuedMail['state'] {
  if (hasState(mail, 'sent')) return 'sending';
  return isOpen(mail) ? 'waiting' : 'settling';
}

/** When the mail needs attention again. */
export function dueAt(mail: QueuedMail): number {
  const { nextTry, dutyAt } = mail;
  if (!isOpen(mail)) return dutyAt;
  return dutyAt > 0 ? Math.min(nextTry, dutyAt) : nextTry;
}

export function isDue(mail: QueuedMail, clock: Clock): boolean {
  return mail.nextTry <= clock.now();
}
