import type { MimePart } from './mime-part.js';

/** The Content-Transfer-Encodings that change octets (RFC 2045 §6); all others, known or not, leave them as they are. */
export type TransferEncoding = 'base64' | 'quoted-printable' | 'identity';

/** What a Content-Transfer-Encoding, in any spelling or absent, does. */
export function transferEncoding(name: string | null): TransferEncoding {
  const lower = name?.toLowerCase();
  return lower === 'base64' || lower === 'quoted-printable' ? lower : 'identity';
}

/** The body of a part with its transfer encoding undone; tolerant of whatever should not be there. */
export function decodePart(bytes: Buffer, part: MimePart): Buffer {
  const body = bytes.subarray(part.bodyStart, part.bodyEnd);
  const decoder = new TransferDecoder(transferEncoding(part.content.encoding));
  const first = decoder.write(body);
  const last = decoder.end();
  return last.length === 0 ? first : Buffer.concat([first, last]);
}

const NOTHING = Buffer.alloc(0);
/** White space held back in case a line end follows; more than any line may have is not. */
const MAX_HELD = 1000;

/** Undoes a transfer encoding piece by piece. */
export class TransferDecoder {
  readonly #encoding: TransferEncoding;
  /** Encoded octets that the next piece completes. */
  #rest = '';

  constructor(encoding: TransferEncoding) {
    this.#encoding = encoding;
  }

  write(octets: Buffer): Buffer {
    switch (this.#encoding) {
      case 'base64':
        return this.#base64(octets);
      case 'quoted-printable':
        return this.#quotedPrintable(octets);
      case 'identity':
        return octets;
    }
  }

  end(): Buffer {
    const rest = this.#rest;
    this.#rest = '';
    if (rest === '') return NOTHING;
    if (this.#encoding === 'base64') return Buffer.from(rest, 'base64');
    return quotedPrintable(rest, rest.length, true);
  }

  /** RFC 2045 §6.8: characters outside the alphabet are skipped. */
  #base64(octets: Buffer): Buffer {
    const digits = this.#rest + octets.toString('latin1').replace(/[^A-Za-z0-9+/]+/g, '');
    const whole = digits.length - (digits.length % 4);
    this.#rest = digits.slice(whole);
    return Buffer.from(digits.slice(0, whole), 'base64');
  }

  #quotedPrintable(octets: Buffer): Buffer {
    const text = this.#rest + octets.toString('latin1');
    const end = completeEnd(text);
    this.#rest = text.slice(end);
    return quotedPrintable(text, end, false);
  }
}

/** How far `text` can be decoded whatever comes next: not into white space, nor into what a `=` may begin. */
function completeEnd(text: string): number {
  const oldest = Math.max(0, text.length - MAX_HELD);
  let end = text.length;
  for (;;) {
    const before = end;
    while (end > oldest && ' \t\r'.includes(text[end - 1]!)) end -= 1;
    if (end > oldest && text[end - 1] === '=') end -= 1;
    else if (end > oldest + 1 && text[end - 2] === '=') end -= 2;
    if (end === before) return end;
  }
}

/** RFC 2045 §6.7, the first `end` octets of `text`; what is no encoding stands for itself. */
function quotedPrintable(text: string, end: number, final: boolean): Buffer {
  const out = Buffer.allocUnsafe(end);
  let to = 0;
  /** Behind the last octet that is not white space of this line. */
  let solid = 0;
  for (let at = 0; at < end; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 61) {
      const lineBreak = softBreak(text, at + 1, end, final);
      if (lineBreak > 0) {
        at = lineBreak - 1;
        solid = to;
        continue;
      }
      const value = at + 2 < end ? hexValue(text.charCodeAt(at + 1)) * 16 + hexValue(text.charCodeAt(at + 2)) : -1;
      out[to] = value >= 0 ? value : code;
      to += 1;
      solid = to;
      if (value >= 0) at += 2;
      continue;
    }
    // Rule 3: white space at the end of a line was added on the way.
    if (code === 10) {
      const crlf = to > solid && text.charCodeAt(at - 1) === 13;
      to = solid;
      if (crlf) {
        out[to] = 13;
        to += 1;
      }
    }
    out[to] = code;
    to += 1;
    if (code !== 32 && code !== 9 && code !== 13) solid = to;
  }
  return out.subarray(0, to);
}

/** Behind the soft line break whose `=` stands before `at`, or 0; the end of the text breaks its line too. */
function softBreak(text: string, at: number, end: number, final: boolean): number {
  let next = at;
  while (next < end && (text.charCodeAt(next) === 32 || text.charCodeAt(next) === 9)) next += 1;
  if (next < end && text.charCodeAt(next) === 13) next += 1;
  if (next < end && text.charCodeAt(next) === 10) return next + 1;
  return final && next === end ? end : 0;
}

/** Far below zero when it is no digit, so that the sum is too. */
function hexValue(code: number): number {
  if (code >= 48 && code <= 57) return code - 48;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1000;
}
