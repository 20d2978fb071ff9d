import { normalMessageId } from '../../mail/identity.js';
import { backoffDelay } from '../../util/backoff.js';
import type { Clock } from '../../util/clock.js';
import { errorText, isMergeboxError } from '../../util/errors.js';
import { faultPoint } from '../../util/fault.js';
import type { Log } from '../../util/log.js';
import { SUBMIT_LIMITS } from '../limits.js';
import { buildReport, type ReportKind, reportId } from '../report.js';
import type { Sender } from '../sender.js';
import type { QueueDatabase } from './database.js';
import type { QueueHost } from './host.js';
import { hasState, isOpen, type QueuedMail, type Recipient, untold } from './mail.js';

/** When Sent is looked at before we file a copy ourselves, in milliseconds behind each other. */
const LOOKS_UNKNOWN = [1_000, 2_000] as const;
const LOOKS_SERVER = [1_000, 4_000, 15_000, 40_000] as const;
const MAX_DUTY_MS = 900_000;

export interface DutyParts {
  readonly db: QueueDatabase;
  readonly host: QueueHost;
  readonly clock: Clock;
  readonly log: Log;
  readonly hostname: string;
  readonly giveUpMs: number;
  /** The content as the client gave it. */
  readonly content: (mail: QueuedMail) => AsyncIterable<Buffer>;
  readonly onNotFiled: () => void;
}

/** What is owed besides delivery: reports to the submitter, the copy in Sent, \Answered and $Forwarded. */
export class Duties {
  readonly #parts: DutyParts;
  /** Ways whose server is known to file what it sends, or not to. */
  readonly #filing = new Map<string, 'server' | 'self'>();

  constructor(parts: DutyParts) {
    this.#parts = parts;
  }

  /** Whether anything is owed for the mail as it is. */
  owed(mail: QueuedMail, route: Pick<Sender, 'account'> | null): boolean {
    return untold(mail).length > 0 || wantsCopy(mail, route) || wantsMarks(mail);
  }

  /**
   * Does what is owed; each step may be repeated without doing anything twice. Resolves to the mail as it is then, with
   * `dutyAt` set when something has to wait. Never rejects.
   */
  async perform(mail: QueuedMail, route: Pick<Sender, 'account'> | null, server: string): Promise<QueuedMail> {
    let after: QueuedMail = { ...mail, dutyAt: 0 };
    const steps: ((now: QueuedMail) => Promise<QueuedMail>)[] = [
      (now) => this.#report(now, untold(now), 'ended', server),
      (now) => this.#file(now, route),
      (now) => this.#mark(now),
    ];
    for (const step of steps) {
      try {
        after = await step(after);
      } catch (error) {
        const { clock, log, onNotFiled } = this.#parts;
        log.warn({ mail: mail.id, account: mail.account, error: errorText(error) }, 'a sent mail could not be settled');
        onNotFiled();
        const at = clock.now() + backoffDelay(mail.looks + 1, { baseMs: 5_000, maxMs: MAX_DUTY_MS });
        after = { ...after, looks: after.looks + 1, dutyAt: after.dutyAt > 0 ? Math.min(after.dutyAt, at) : at };
      }
    }
    return after;
  }

  /** Tells the submitter that the mail is late. Rejects when that cannot be recorded. */
  warn(mail: QueuedMail, recipients: readonly Recipient[], server: string): Promise<QueuedMail> {
    return this.#report(mail, recipients, 'delayed', server);
  }

  async #report(mail: QueuedMail, about: readonly Recipient[], kind: ReportKind, server: string): Promise<QueuedMail> {
    if (about.length === 0) return mail;
    if (mail.sender === '') {
      // RFC 5321 §6.1: no notification goes to the null sender. A person sees it in the queue.
      return kind === 'delayed' || isOpen(mail)
        ? mail
        : held(mail, 'undeliverable, and a mail with the null sender has nobody to tell');
    }
    const { host, hostname, clock, giveUpMs } = this.#parts;
    const bytes = buildReport({
      mail,
      recipients: about,
      kind,
      hostname,
      server,
      now: clock.now(),
      giveUpAt: mail.since + giveUpMs,
      original: await this.#original(mail, kind),
    });
    if (!(await host.report(mail.account, bytes, reportId(mail, hostname)))) {
      // A notice of delay is not worth stopping for, nor is a report while others may still get the mail.
      return kind === 'delayed' || isOpen(mail)
        ? mail
        : held(mail, 'undeliverable, and no account of the user may be written to with a report');
    }
    faultPoint('queue.reported');
    const told = new Set(about.map(({ address }) => address));
    return {
      ...mail,
      reports: mail.reports + 1,
      recipients: mail.recipients.map((each) =>
        kind === 'ended' && told.has(each.address) && !isOpenRecipient(each) ? { ...each, told: true } : each,
      ),
    };
  }

  /** What a report quotes: the header, or all of it for RET=FULL (RFC 3461 §4.3) on a failure. */
  async #original(mail: QueuedMail, kind: ReportKind): Promise<{ bytes: Buffer; full: boolean }> {
    const full = kind === 'ended' && mail.envelope.ret === 'FULL' && mail.size <= SUBMIT_LIMITS.reportFull;
    const most = full ? mail.size : Math.min(mail.envelope.headerEnd, SUBMIT_LIMITS.reportHeader);
    const blocks: Buffer[] = [Buffer.from(mail.envelope.added)];
    let read = 0;
    for await (const block of this.#parts.content(mail)) {
      blocks.push(block.subarray(0, most - read));
      read += block.length;
      if (read >= most) break;
    }
    return { bytes: Buffer.concat(blocks), full };
  }

  async #file(mail: QueuedMail, route: Pick<Sender, 'account'> | null): Promise<QueuedMail> {
    if (!wantsCopy(mail, route)) return mail;
    const { host, clock } = this.#parts;
    if (route?.account.sent === 'auto') {
      const known = this.#filing.get(wayOf(mail)) ?? (await this.#recall(wayOf(mail)));
      const waits = known === 'self' ? [] : known === 'server' ? LOOKS_SERVER : LOOKS_UNKNOWN;
      let seen = false;
      if (mail.looks > 0) {
        const look = await host.lookInSent(mail.account, bareId(mail), true);
        if (look === 'server') await this.#learn(wayOf(mail), 'server');
        if (look === 'server' || look === 'ours') return { ...mail, filed: true, looks: 0 };
        seen = look === 'absent';
      }
      const wait = waits[mail.looks];
      if (wait !== undefined) return { ...mail, looks: mail.looks + 1, dutyAt: clock.now() + wait };
      // A server that could not be asked has shown nothing.
      if (seen) await this.#learn(wayOf(mail), 'self');
    }
    await this.#append(mail, route);
    return { ...mail, filed: true, looks: 0 };
  }

  /** Files the copy now, behind a look at what is known of Sent; for a sync that is to leave nothing owed. */
  async fileNow(mail: QueuedMail, route: Pick<Sender, 'account'> | null): Promise<QueuedMail> {
    if (!wantsCopy(mail, route)) return mail;
    const look =
      route?.account.sent === 'auto' ? await this.#parts.host.lookInSent(mail.account, bareId(mail), false) : 'absent';
    if (look === 'server') await this.#learn(wayOf(mail), 'server');
    if (look === 'absent' || look === 'unknown') await this.#append(mail, route);
    return { ...mail, filed: true, looks: 0 };
  }

  async #append(mail: QueuedMail, route: Pick<Sender, 'account'> | null): Promise<void> {
    const blocks: Buffer[] = [Buffer.from(mail.envelope.added)];
    for await (const block of this.#parts.content(mail)) blocks.push(block);
    const { host, log, onNotFiled } = this.#parts;
    await host
      .fileSent(mail.account, Buffer.concat(blocks), route?.account.sent === 'always')
      .catch((error: unknown) => {
        // Where the configuration allows no copy, none is owed: the mail would stay here for ever.
        if (!isMergeboxError(error, 'cannot', 'toobig')) throw error;
        log.warn({ mail: mail.id, account: mail.account, error: errorText(error) }, 'a sent mail has no copy in Sent');
        onNotFiled();
      });
    faultPoint('queue.filed');
  }

  async #mark(mail: QueuedMail): Promise<QueuedMail> {
    if (!wantsMarks(mail)) return mail;
    await this.#parts.host.mark(mail.envelope.answers, mail.envelope.forwards);
    faultPoint('queue.marked');
    return { ...mail, marked: true };
  }

  async #recall(way: string): Promise<'server' | 'self' | undefined> {
    const known = await this.#parts.db.fact(`sent:${way}`);
    if (known !== 'server' && known !== 'self') return undefined;
    this.#filing.set(way, known);
    return known;
  }

  async #learn(way: string, who: 'server' | 'self'): Promise<void> {
    if (this.#filing.get(way) === who) return;
    this.#filing.set(way, who);
    await this.#parts.db.learn(`sent:${way}`, who);
  }
}

function held(mail: QueuedMail, error: string): QueuedMail {
  return { ...mail, state: 'held', error };
}

/** The server that a mail of an account leaves through: its own, or the relay, which knows nothing of the account's Sent. */
function wayOf({ account, viaRelay }: QueuedMail): string {
  return viaRelay ? `${account} by the relay` : account;
}

function isOpenRecipient({ state }: Recipient): boolean {
  return state === 'waiting' || state === 'sent';
}

function wantsCopy(mail: QueuedMail, route: Pick<Sender, 'account'> | null): boolean {
  return !mail.filed && route?.account.sent !== 'never' && route !== null && hasState(mail, 'delivered');
}

function wantsMarks({ marked, envelope, recipients }: QueuedMail): boolean {
  return (
    !marked &&
    envelope.answers.length + envelope.forwards.length > 0 &&
    recipients.some(({ state }) => state === 'delivered')
  );
}

/** The Message-ID as the mailboxes know it: without angle brackets and what stands around them. */
export function bareId({ envelope }: QueuedMail): string {
  return normalMessageId(envelope.messageId) ?? '';
}

/** Nothing is left to do for the mail. */
export function isOver(mail: QueuedMail, owed: boolean): boolean {
  return !isOpen(mail) && !owed && mail.state !== 'held';
}
