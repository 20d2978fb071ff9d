import { errorText, isMergeboxError } from '../../util/errors.js';
import { needsUtf8, wireAddress } from '../address.js';
import { SUBMIT_LIMITS } from '../limits.js';
import { wireSize } from '../message.js';
import type { Relay } from '../relay.js';
import type { RelayFeatures } from '../relay-features.js';
import { type Reply, succeeded } from '../reply.js';
import { originalRecipient, xtext } from '../xtext.js';
import type { QueuedMail, Recipient } from './mail.js';

/** What a server, or we in its place, said of a mail or a recipient. */
export interface Verdict {
  readonly state: 'delivered' | 'failed' | 'waiting';
  /** Enhanced status code (RFC 3463). */
  readonly status: string;
  /** `code text`, for people and reports. */
  readonly reply: string;
}

export interface AttemptResult {
  /** By address. Recipients that are not in it were not tried. */
  readonly verdicts: ReadonlyMap<string, Verdict>;
  /** The final dot went out and no answer came: their state is unknown. */
  readonly unknown: readonly string[];
  /** Recipients were turned away only because they were too many at once. */
  readonly more: boolean;
  /** The session ended before anything was decided: nothing went out, another one may do. */
  readonly broken: string | null;
}

/** Called with the recipients that the server accepted, before the final dot; what it rejects with stops the mail. */
export type BeforeDot = (accepted: readonly string[]) => Promise<void>;

/**
 * One transaction with an upstream server for some recipients of a mail (RFC 5321 §3.3). `blocks` yields the octets to
 * send, before dot-stuffing. Never rejects but for what `beforeDot` and `blocks` reject with; the session is over then.
 */
export async function attempt(
  relay: Relay,
  mail: QueuedMail,
  recipients: readonly Recipient[],
  blocks: () => AsyncIterable<Buffer>,
  beforeDot: BeforeDot,
): Promise<AttemptResult> {
  const verdicts = new Map<string, Verdict>();
  const lacking = lacks(mail, relay.features);
  if (lacking !== null) return everyone(recipients, lacking);
  const able = recipients.filter((each) => {
    const verdict = addressLacks(each.address, mail, relay.features);
    if (verdict !== null) verdicts.set(each.address, verdict);
    return verdict === null;
  });
  const result = { verdicts, unknown: [], more: false, broken: null };
  if (able.length === 0) return result;
  let replies: readonly Reply[];
  const lines = [
    mailCommand(mail, relay.features),
    ...able.map((each) => rcptCommand(each, mail, relay.features)),
    'DATA',
  ];
  try {
    // RFC 5321 §4.1.4: a transaction that came to nothing is still open.
    if (relay.inTransaction) await relay.commands(['RSET'], () => false);
    relay.inTransaction = true;
    replies = await relay.commands(lines, (soFar) => hopeless(soFar, able.length));
  } catch (error) {
    return { ...result, broken: errorText(error) };
  }
  const accepted = judge(replies, able, verdicts);
  if (replies.length < lines.length || replies.at(-1)?.code !== 354) return result;
  const more = able.some(({ address }) => verdicts.get(address)?.status === TOO_MANY);
  if (accepted.length === 0) {
    // A pipelined DATA is under way. RFC 2920 §3.1 ends it by an empty message; without one no server can deliver it.
    relay.abort();
    return result;
  }
  return { ...result, ...(await sendContent(relay, accepted, verdicts, blocks, beforeDot)), more };
}

async function sendContent(
  relay: Relay,
  accepted: readonly string[],
  verdicts: Map<string, Verdict>,
  blocks: () => AsyncIterable<Buffer>,
  beforeDot: BeforeDot,
): Promise<Partial<AttemptResult>> {
  try {
    const reply = await relay.content(blocks(), () => beforeDot(accepted));
    const verdict = relay.endSent ? verdictOf(reply) : noMessage(reply);
    for (const address of accepted) verdicts.set(address, verdict);
    return {};
  } catch (error) {
    if (relay.endSent) return { unknown: accepted };
    relay.abort();
    if (!isMergeboxError(error, 'connection', 'timeout', 'protocol')) throw error;
    return { broken: errorText(error) };
  }
}

/** Too many recipients at once (RFC 3463 §3.6). */
export const TOO_MANY = '4.5.3';

/** Takes the replies to MAIL and RCPT; the addresses that may get the content. */
function judge(replies: readonly Reply[], recipients: readonly Recipient[], verdicts: Map<string, Verdict>): string[] {
  const [toMail, ...rest] = replies;
  const toData = replies.length === recipients.length + 2 ? replies.at(-1) : undefined;
  const accepted: string[] = [];
  for (const [index, { address }] of recipients.entries()) {
    const toRcpt = rest[index];
    if (toMail !== undefined && !succeeded(toMail)) verdicts.set(address, verdictOf(toMail));
    else if (toRcpt === undefined) continue;
    // RFC 5321 §4.5.3.1.10: 552 for too many recipients means 452.
    else if (toRcpt.code === 452 || (toRcpt.code === 552 && /too many/i.test(toRcpt.text))) {
      verdicts.set(address, {
        ...verdictOf(toRcpt),
        state: 'waiting',
        status: accepted.length > 0 ? TOO_MANY : '4.0.0',
      });
    } else if (!succeeded(toRcpt)) verdicts.set(address, verdictOf(toRcpt));
    else if (toData !== undefined && toData.code !== 354) verdicts.set(address, noMessage(toData));
    else accepted.push(address);
  }
  return accepted;
}

/** Whether DATA need not be sent after these replies, when they came one by one. */
function hopeless(replies: readonly Reply[], recipients: number): boolean {
  const [toMail, ...rest] = replies;
  if (toMail !== undefined && !succeeded(toMail)) return true;
  return rest.length === recipients && !rest.some(succeeded);
}

/** A reply as a verdict. What says that our login or that server is at fault is never held against the mail. */
export function verdictOf(reply: Reply): Verdict {
  const text = `${reply.code} ${reply.enhanced === null ? '' : `${reply.enhanced} `}${reply.text}`.trim();
  if (succeeded(reply)) return { state: 'delivered', status: reply.enhanced ?? '2.0.0', reply: text };
  const permanent = reply.code >= 500 && !(reply.code >= 530 && reply.code < 540);
  if (permanent) return { state: 'failed', status: reply.enhanced ?? '5.0.0', reply: text };
  const status = reply.enhanced?.startsWith('4') === true ? reply.enhanced : '4.0.0';
  return { state: 'waiting', status, reply: text };
}

/** Before the final dot there is no message that a server could take, so a success there is none. */
function noMessage(reply: Reply): Verdict {
  return { ...verdictOf(reply), ...(succeeded(reply) ? { state: 'waiting', status: '4.5.0' } : {}) };
}

function failed(code: number, status: string, text: string): Verdict {
  return { state: 'failed', status, reply: `${code} ${status} ${text}` };
}

function everyone(recipients: readonly Recipient[], verdict: Verdict): AttemptResult {
  const verdicts = new Map(recipients.map(({ address }) => [address, verdict]));
  return { verdicts, unknown: [], more: false, broken: null };
}

/** What the server cannot carry is refused, never re-encoded (RFC 6152 §3, RFC 6531 §3.6, RFC 1870 §6.1, RFC 8689 §4). */
function lacks({ envelope, size, account, sender }: QueuedMail, features: RelayFeatures): Verdict | null {
  const server = `the server of account ${account}`;
  const octets = wireSize(envelope, size);
  if (features.size !== null && octets > features.size) {
    return failed(552, '5.3.4', `the message has ${octets} octets, ${server} takes ${features.size}`);
  }
  if (envelope.eightBit && !features.eightBitMime) {
    return failed(554, '5.6.3', `the message holds 8-bit text, which ${server} does not take (no 8BITMIME)`);
  }
  if (envelope.utf8 && envelope.headerUtf8 && !features.smtpUtf8) {
    return failed(554, '5.6.9', `the header holds UTF-8, which ${server} does not take (no SMTPUTF8)`);
  }
  if (envelope.requireTls && !features.requireTls) {
    return failed(
      554,
      '5.7.30',
      `the message asks for TLS all the way, which ${server} does not promise (no REQUIRETLS)`,
    );
  }
  return addressOf(sender, envelope.utf8, features) === null ? noUtf8(sender, account) : null;
}

function addressLacks(address: string, { envelope, account }: QueuedMail, features: RelayFeatures): Verdict | null {
  return addressOf(address, envelope.utf8, features) === null ? noUtf8(address, account) : null;
}

function noUtf8(address: string, account: string): Verdict {
  return failed(553, '5.6.7', `the server of account ${account} cannot send to or from ${address} (no SMTPUTF8)`);
}

/** The address as it goes on the wire; null when that server has no way to write it. */
function addressOf(address: string, utf8: boolean, { smtpUtf8 }: RelayFeatures): string | null {
  if (utf8 && smtpUtf8) return address;
  return needsUtf8(address) ? null : wireAddress(address);
}

/** MAIL FROM (RFC 5321 §4.1.1.2) with what the server takes of what the client asked for. */
function mailCommand({ sender, envelope, size }: QueuedMail, features: RelayFeatures): string {
  const { utf8, requireTls, ret, envid, mtPriority } = envelope;
  const parameters = [
    features.size !== null && `SIZE=${wireSize(envelope, size)}`,
    features.eightBitMime && 'BODY=8BITMIME',
    utf8 && features.smtpUtf8 && 'SMTPUTF8',
    requireTls && 'REQUIRETLS',
    features.dsn && ret !== null && `RET=${ret}`,
    features.dsn && envid !== null && `ENVID=${xtext(envid)}`,
    features.mtPriority && mtPriority !== null && `MT-PRIORITY=${mtPriority}`,
  ].filter((each) => each !== false);
  return [`MAIL FROM:<${addressOf(sender, utf8, features) ?? ''}>`, ...parameters].join(' ');
}

/** RCPT TO (RFC 5321 §4.1.1.3). */
function rcptCommand({ address, notify, orcpt }: Recipient, { envelope }: QueuedMail, features: RelayFeatures): string {
  const parameters = [
    features.dsn && notify !== undefined && `NOTIFY=${notify.join(',')}`,
    features.dsn && orcpt !== undefined && `ORCPT=${originalRecipient(orcpt)}`,
  ].filter((each) => each !== false);
  return [`RCPT TO:<${addressOf(address, envelope.utf8, features) ?? ''}>`, ...parameters].join(' ');
}

/** How many recipients one transaction with that server takes. */
export function recipientsAtOnce({ recipients }: RelayFeatures): number {
  return Math.min(recipients ?? SUBMIT_LIMITS.recipientsAtOnce, SUBMIT_LIMITS.recipients);
}
