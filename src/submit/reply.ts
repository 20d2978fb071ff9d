import { SUBMIT_LIMITS } from './limits.js';

/** One SMTP reply (RFC 5321 §4.2): `text` is a single line of printable ASCII without the status codes. */
export interface Reply {
  readonly code: number;
  /** Enhanced status code (RFC 3463), or null when the server gave none. */
  readonly enhanced: string | null;
  readonly text: string;
  /** The lines as they came, without code and separator; for EHLO. */
  readonly lines: readonly string[];
}

/** A refusal of the client's command, in the form smtp-server expects: `message` starts with the enhanced status code. */
export class Refusal extends Error {
  readonly responseCode: number;

  constructor(code: number, enhanced: string, text: string) {
    super(`${enhanced} ${oneLine(text)}`);
    this.name = 'Refusal';
    this.responseCode = code;
  }

  get temporary(): boolean {
    return this.responseCode < 500;
  }
}

const ENHANCED = /^([245]\.\d{1,3}\.\d{1,3})(?:\s+|$)/;

/** Builds a reply from the lines of one (each with code and separator); null when they are none. */
export function readReply(raw: readonly string[]): Reply | null {
  const code = Number(/^(\d{3})(?:[ -]|$)/.exec(raw.at(-1) ?? '')?.[1] ?? Number.NaN);
  if (!(code >= 200 && code < 600)) return null;
  const lines = raw.map((line) => line.slice(4));
  const enhanced = ENHANCED.exec(lines.at(-1) ?? '')?.[1] ?? null;
  const text = oneLine(lines.map((line) => line.replace(ENHANCED, '')).join(' '));
  return { code, enhanced: enhanced?.[0] === String(code)[0] ? enhanced : null, text, lines };
}

/** Printable ASCII on one line, short enough for a reply; whatever an upstream server or a client put into it. */
export function oneLine(text: string): string {
  const plain = text
    .slice(0, SUBMIT_LIMITS.replyText * 4)
    .replace(/[^\x21-\x7e]+/g, (run) => (/[^\s\p{Cc}]/u.test(run) ? '?' : ' '))
    .trim();
  return plain.length > SUBMIT_LIMITS.replyText ? `${plain.slice(0, SUBMIT_LIMITS.replyText - 3)}...` : plain;
}

/** Positive completion (RFC 5321 §4.2.1). */
export function succeeded({ code }: Reply): boolean {
  return code >= 200 && code < 300;
}

/** What an upstream server, or we in its place, said of a mail that nobody got, as an answer to the client. */
export function upstreamRefusal({ status, reply }: { readonly status: string; readonly reply: string }): Refusal {
  const [, code = '554', text = reply] = /^(5\d\d)(?: [245]\.\d{1,3}\.\d{1,3})? ?(.*)$/s.exec(reply) ?? [];
  return new Refusal(Number(code), `5${status.slice(1)}`, text === '' ? 'refused without a reason' : text);
}
