import type { SMTPServerAddress } from 'smtp-server';
import { SUBMIT_LIMITS } from './limits.js';
import type { Recipient } from './queue/mail.js';
import { Refusal } from './reply.js';
import type { MailRequest } from './transaction.js';

type Arguments = SMTPServerAddress['args'];

/** ESMTP parameters as smtp-server gives them: xtext undone, `true` for one without value. */
type Values = Readonly<Record<string, string | true>>;

const OF_MAIL = [
  'SIZE',
  'BODY',
  'SMTPUTF8',
  'AUTH',
  'RET',
  'ENVID',
  'REQUIRETLS',
  'MT-PRIORITY',
  'HOLDFOR',
  'HOLDUNTIL',
];

/** The keywords that smtp-server's EHLO reply lacks. `now` in milliseconds since the Unix epoch. */
export function ownKeywords(now: number): readonly string[] {
  const until = new Date(now + SUBMIT_LIMITS.releaseSeconds * 1_000).toISOString().replace(/\.\d+Z$/, 'Z');
  return [
    // RFC 9422.
    `LIMITS RCPTMAX=${SUBMIT_LIMITS.recipients}`,
    // RFC 4865 §3.
    `FUTURERELEASE ${SUBMIT_LIMITS.releaseSeconds} ${until}`,
    // RFC 6710.
    'MT-PRIORITY',
  ];
}

/** What MAIL FROM asks for; throws the refusal of what is not known or out of bounds. */
export function mailRequest({ address, args }: SMTPServerAddress, now: number): MailRequest {
  const values = known(args, OF_MAIL);
  return {
    sender: address,
    utf8: values['SMTPUTF8'] !== undefined,
    requireTls: values['REQUIRETLS'] !== undefined,
    ret: returned(values['RET']),
    envid: envelopeId(values['ENVID']),
    mtPriority: priority(values['MT-PRIORITY']),
    releaseAt: releaseTime(values, now),
  };
}

/** What RCPT TO asks for; smtp-server has checked NOTIFY and the form of ORCPT. */
export function recipientRequest({ args }: SMTPServerAddress): Pick<Recipient, 'notify' | 'orcpt'> {
  const { NOTIFY: notify, ORCPT: orcpt } = known(args, ['NOTIFY', 'ORCPT']);
  // RFC 3461 §4.2: an original recipient has at most 500 characters.
  if (typeof orcpt === 'string' && orcpt.length > 500) throw new Refusal(501, '5.5.4', 'ORCPT is too long');
  return {
    ...(typeof notify === 'string' ? { notify: notify.toUpperCase().split(',') } : {}),
    ...(typeof orcpt === 'string' ? { orcpt } : {}),
  };
}

/** RFC 5321 §4.1.1.11: parameters that were not offered are refused, since ignoring them would promise what is not done. */
function known(args: Arguments, names: readonly string[]): Values {
  const values: Values = args === false || args === undefined ? {} : (args as Values);
  const unknown = Object.keys(values).find((key) => !names.includes(key));
  if (unknown !== undefined) throw new Refusal(555, '5.5.4', `the parameter ${unknown} is not supported`);
  return values;
}

function returned(value: string | true | undefined): MailRequest['ret'] {
  const upper = typeof value === 'string' ? value.toUpperCase() : null;
  return upper === 'FULL' || upper === 'HDRS' ? upper : null;
}

/** RFC 3461 §4.4: at most 100 characters of printable ASCII. */
function envelopeId(value: string | true | undefined): string | null {
  if (typeof value !== 'string') return null;
  if (!/^[\x20-\x7e]{1,100}$/.test(value)) throw new Refusal(501, '5.5.4', 'ENVID is too long or not printable');
  return value;
}

/** RFC 6710 §3: from -9 to 9. */
function priority(value: string | true | undefined): number | null {
  if (value === undefined) return null;
  if (typeof value !== 'string' || !/^-?\d$/.test(value))
    throw new Refusal(501, '5.5.2', 'MT-PRIORITY is from -9 to 9');
  return Number(value);
}

/** RFC 4865 §4: one of HOLDFOR (seconds) and HOLDUNTIL (RFC 3339), within what EHLO told. */
function releaseTime({ HOLDFOR: seconds, HOLDUNTIL: date }: Values, now: number): number {
  if (seconds === undefined && date === undefined) return 0;
  if (seconds !== undefined && date !== undefined)
    throw new Refusal(501, '5.5.4', 'give HOLDFOR or HOLDUNTIL, not both');
  const at = seconds === undefined ? dateTime(date) : interval(seconds, now);
  if (at === null) throw new Refusal(501, '5.5.4', 'HOLDFOR takes seconds, HOLDUNTIL a date-time of RFC 3339');
  if (at > now + SUBMIT_LIMITS.releaseSeconds * 1_000) {
    throw new Refusal(501, '5.5.4', `a message is held ${SUBMIT_LIMITS.releaseSeconds} seconds at most`);
  }
  return Math.max(at, 1);
}

function interval(value: string | true, now: number): number | null {
  return typeof value === 'string' && /^\d{1,9}$/.test(value) ? now + Number(value) * 1_000 : null;
}

function dateTime(value: string | true | undefined): number | null {
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/i.test(value))
    return null;
  const at = Date.parse(value.toUpperCase());
  return Number.isNaN(at) ? null : at;
}
