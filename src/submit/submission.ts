import type { Clock } from '../util/clock.js';
import type { Log } from '../util/log.js';
import type { Metrics } from '../util/metrics.js';
import { ContentBudget } from './content.js';
import { SUBMIT_LIMITS } from './limits.js';
import { Listener } from './listener.js';
import type { Certificate, SubmissionListener, SubmissionParts, Submitter } from './parts.js';

export interface SubmissionOptions {
  readonly listeners: readonly SubmissionListener[];
  /** This host's name, for the greeting, EHLO and Received. */
  readonly hostname: string;
  /** Largest message in octets. */
  readonly messageBytes: number;
  /** Milliseconds that a client waits for the first try of its mail. */
  readonly waitMs: number;
  readonly submitter: (user: string) => Submitter | null;
  readonly certificate: Certificate;
  /** Rejects with a MergeboxError when logins cannot be checked now. */
  readonly authenticate: (user: string, password: string, peer: string) => Promise<boolean>;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
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
  close(): Promise<void>;
}

/** The submission service (RFC 6409) on all its listeners. */
export function createSubmission(options: SubmissionOptions): Submission {
  const { hostname, messageBytes, waitMs, clock, log, authenticate, submitter } = options;
  const messages = options.metrics.counter(
    'mergebox_submission_messages',
    'Messages handed in, by what their client was answered',
    ['result'],
  );
  const parts: SubmissionParts = {
    hostname,
    messageBytes,
    waitMs,
    clock,
    log,
    authenticate,
    submitter,
    graceMs: options.graceMs ?? 10_000,
    budget: new ContentBudget(SUBMIT_LIMITS.contentMemory),
    metrics: { messages: (result) => messages.add(1, { result }) },
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
    close,
  };
}
