import type { Clock } from '../util/clock.js';
import type { Log } from '../util/log.js';
import type { Metrics } from '../util/metrics.js';
import { ContentBudget } from './content.js';
import { RELAY_TIMEOUTS, type RelayTimeouts, SUBMIT_LIMITS } from './limits.js';
import { Listener } from './listener.js';
import type { Certificate, SubmissionListener, SubmissionParts } from './parts.js';
import { SenderBook } from './sender.js';
import type { SendingUser } from './types.js';

export interface SubmissionOptions {
  readonly listeners: readonly SubmissionListener[];
  /** This host's name, for the greeting, EHLO and Received. */
  readonly hostname: string;
  /** Largest message in octets. */
  readonly messageBytes: number;
  readonly users: readonly SendingUser[];
  readonly certificate: Certificate;
  /** Rejects with a MergeboxError when logins cannot be checked now. */
  readonly authenticate: (user: string, password: string, peer: string) => Promise<boolean>;
  /**
   * Files a message that the account's server has taken into that account's Sent, unless one with its Message-ID is
   * there. Rejecting changes nothing for the client.
   */
  readonly fileSent: (user: string, account: string, message: Buffer) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly timeouts?: RelayTimeouts;
  /** Milliseconds that closing waits for messages under way. */
  readonly graceMs?: number;
}

export interface SubmissionListenerInfo extends SubmissionListener {
  readonly service: 'submission';
}

export interface Submission {
  /** Listens everywhere, or nowhere when one address cannot be had. */
  start(): Promise<readonly SubmissionListenerInfo[]>;
  /** Later connections see this certificate. */
  setCertificate(certificate: Certificate): void;
  /** Users and accounts of later transactions. */
  setUsers(users: readonly SendingUser[]): void;
  close(): Promise<void>;
}

/** The submission service (RFC 6409) on all its listeners. */
export function createSubmission(options: SubmissionOptions): Submission {
  let books = senderBooks(options.users);
  const parts: SubmissionParts = {
    hostname: options.hostname,
    messageBytes: options.messageBytes,
    graceMs: options.graceMs ?? 10_000,
    timeouts: options.timeouts ?? RELAY_TIMEOUTS,
    clock: options.clock,
    log: options.log,
    budget: new ContentBudget(options.messageBytes * SUBMIT_LIMITS.messagesInMemory),
    metrics: submissionMetrics(options.metrics),
    authenticate: options.authenticate,
    fileSent: options.fileSent,
    user: (name) => {
      const senders = books.get(name);
      return senders === undefined ? null : { name, senders };
    },
  };
  const listeners = options.listeners.map((each) => new Listener(each, parts, options.certificate));
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((each) => each.close()));
  };
  return {
    start: async () => {
      try {
        const started = await Promise.all(listeners.map((each) => each.listen()));
        return started.map((each) => ({ service: 'submission', ...each }));
      } catch (error) {
        await close();
        throw error;
      }
    },
    setCertificate: (certificate) => {
      for (const each of listeners) each.setCertificate(certificate);
    },
    setUsers: (users) => {
      books = senderBooks(users);
    },
    close,
  };
}

function senderBooks(users: readonly SendingUser[]): ReadonlyMap<string, SenderBook> {
  return new Map(users.map((user) => [user.name, new SenderBook(user)]));
}

function submissionMetrics(metrics: Metrics): SubmissionParts['metrics'] {
  const messages = metrics.counter('mergebox_submission_messages', 'Messages handed in, by what became of them', [
    'result',
  ]);
  const notFiled = metrics.counter('mergebox_submission_not_filed', 'Sent messages that could not be filed in Sent');
  return { messages: (result) => messages.add(1, { result }), notFiled: () => notFiled.add(1) };
}
