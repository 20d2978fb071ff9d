import { MergeboxError } from '../util/errors.js';
import { MAX_NAMES, MAX_STATUS_TEXT } from './response-limits.js';
import { badResponse, numberAt, skipDigits, skipValue, stringContent } from './response-scan.js';
import { type NumberRange, rangesAt } from './response-set.js';

/** `[NAME argument]` of a status response (RFC 9051 §7.1). */
export interface ResponseCode {
  /** Upper case. */
  readonly name: string;
  /** The rest up to the bracket, as sent; often empty. */
  readonly argument: string;
}

/** The part that tagged and untagged status responses share. */
export interface StatusText {
  readonly code: ResponseCode | null;
  /** For people: without control characters, cut to `MAX_STATUS_TEXT`. */
  readonly text: string;
}

export type TaggedResponse = {
  readonly kind: 'tagged';
  readonly tag: string;
  readonly status: 'OK' | 'NO' | 'BAD';
} & StatusText;

/** A server's response other than FETCH, which `parseFetch` reads. */
export type Response =
  | TaggedResponse
  | ({ readonly kind: 'condition'; readonly status: 'OK' | 'NO' | 'BAD' | 'BYE' | 'PREAUTH' } & StatusText)
  /** `+ text`: the server waits for more of the command. */
  | { readonly kind: 'continuation'; readonly text: string }
  | { readonly kind: 'exists' | 'expunge' | 'recent'; readonly number: number }
  /** Upper case. */
  | { readonly kind: 'capability' | 'enabled'; readonly names: readonly string[] }
  | { readonly kind: 'flags'; readonly flags: readonly string[] }
  /** RFC 7162 §3.2.10. */
  | { readonly kind: 'vanished'; readonly earlier: boolean; readonly uids: readonly NumberRange[] }
  | { readonly kind: 'search'; readonly numbers: readonly number[] }
  /** RFC 4731; `all` is empty when nothing matched. */
  | { readonly kind: 'esearch'; readonly tag: string | null; readonly all: readonly NumberRange[] }
  /** The name as sent (modified UTF-7), octets as latin1; items upper case, their numbers as text. */
  | { readonly kind: 'status'; readonly mailbox: string; readonly items: ReadonlyMap<string, string> }
  /** Attributes in lower case; the name as in `status`. */
  | { readonly kind: 'list'; readonly attributes: readonly string[]; readonly mailbox: string }
  /** Anything else, FETCH included: untagged data that nobody asked for. */
  | { readonly kind: 'other'; readonly name: string };

const SP = 32;
const PAREN_OPEN = 40;
const PAREN_CLOSE = 41;
const BRACKET_OPEN = 91;

/** Reads one whole response as a `ResponseFramer` hands it on. Throws `protocol` when it is malformed. */
export function parseResponse(bytes: Buffer, start: number, end: number): Response {
  const first = bytes[start];
  if (first === 43) return { kind: 'continuation', text: freeText(bytes, start + 2, end) };
  if (first !== 42 || bytes[start + 1] !== SP) return parseTagged(bytes, start, end);
  const at = start + 2;
  const number = numberAt(bytes, at, end);
  if (number !== -1) return parseNumbered(bytes, number, skipDigits(bytes, at, end) + 1, end);
  const nameEnd = wordEnd(bytes, at, end);
  const name = bytes.toString('latin1', at, Math.min(nameEnd, at + 40)).toUpperCase();
  return parseNamed(bytes, name, Math.min(nameEnd + 1, end), end);
}

function parseTagged(bytes: Buffer, start: number, end: number): TaggedResponse {
  const tagEnd = wordEnd(bytes, start, end);
  const statusEnd = wordEnd(bytes, tagEnd + 1, end);
  const status = bytes.toString('latin1', tagEnd + 1, Math.min(statusEnd, tagEnd + 10)).toUpperCase();
  if (tagEnd - start > 64 || (status !== 'OK' && status !== 'NO' && status !== 'BAD')) {
    throw badResponse('response', bytes, start);
  }
  const tag = bytes.toString('latin1', start, tagEnd);
  return { kind: 'tagged', tag, status, ...statusText(bytes, statusEnd + 1, end) };
}

function parseNumbered(bytes: Buffer, number: number, at: number, end: number): Response {
  const name = bytes.toString('latin1', at, Math.min(wordEnd(bytes, at, end), at + 40)).toUpperCase();
  if (name === 'EXISTS') return { kind: 'exists', number };
  if (name === 'EXPUNGE') return { kind: 'expunge', number };
  if (name === 'RECENT') return { kind: 'recent', number };
  return { kind: 'other', name };
}

function parseNamed(bytes: Buffer, name: string, at: number, end: number): Response {
  switch (name) {
    case 'OK':
    case 'NO':
    case 'BAD':
    case 'BYE':
    case 'PREAUTH':
      return { kind: 'condition', status: name, ...statusText(bytes, at, end) };
    case 'CAPABILITY':
      return { kind: 'capability', names: capabilityNames(bytes.toString('latin1', at, end)) };
    case 'ENABLED':
      return { kind: 'enabled', names: capabilityNames(bytes.toString('latin1', at, end)) };
    case 'FLAGS':
      return { kind: 'flags', flags: listWords(bytes.toString('latin1', at, end)) };
    case 'SEARCH':
      return { kind: 'search', numbers: numbersAt(bytes, at, end) };
    case 'VANISHED':
      return parseVanished(bytes, at, end);
    case 'ESEARCH':
      return parseEsearch(bytes, at, end);
    case 'STATUS':
      return parseStatus(bytes, at, end);
    case 'LIST':
      return parseList(bytes, at, end);
    default:
      return { kind: 'other', name };
  }
}

function wordEnd(bytes: Buffer, at: number, end: number): number {
  let next = at;
  while (next < end && bytes[next] !== SP) next += 1;
  return next;
}

/** `[code argument] text` (RFC 9051 §9 resp-text). */
function statusText(bytes: Buffer, at: number, end: number): StatusText {
  if (bytes[at] !== BRACKET_OPEN || at >= end) return { code: null, text: freeText(bytes, at, end) };
  const close = codeEnd(bytes, at, end);
  if (close === -1) return { code: null, text: freeText(bytes, at, end) };
  const inside = bytes.toString('latin1', at + 1, close);
  const space = inside.indexOf(' ');
  const name = (space === -1 ? inside : inside.slice(0, space)).toUpperCase();
  const argument = space === -1 ? '' : inside.slice(space + 1);
  return { code: { name, argument }, text: freeText(bytes, close + 1, end) };
}

/** The bracket that ends a code: keywords in PERMANENTFLAGS may hold brackets, but only between parentheses. */
function codeEnd(bytes: Buffer, at: number, end: number): number {
  let depth = 0;
  for (let next = at + 1; next < end; next += 1) {
    const byte = bytes[next];
    if (byte === PAREN_OPEN) depth += 1;
    else if (byte === PAREN_CLOSE) depth -= 1;
    else if (byte === 93 && depth <= 0) return next;
  }
  return -1;
}

function freeText(bytes: Buffer, at: number, end: number): string {
  const text = bytes.toString('utf8', Math.min(at, end), Math.min(end, at + MAX_STATUS_TEXT));
  return text.replace(/[\p{Cc}]+/gu, ' ').trim();
}

/** Words separated by spaces, upper case, at most `MAX_NAMES`. */
export function capabilityNames(text: string): string[] {
  return text.toUpperCase().split(' ', MAX_NAMES).filter(Boolean);
}

/** The words of `(a b c)`, at most `MAX_NAMES`. */
export function listWords(text: string): string[] {
  return text
    .replace(/^\s*\(|\)\s*$/g, '')
    .split(' ', MAX_NAMES)
    .filter(Boolean);
}

function numbersAt(bytes: Buffer, start: number, end: number): number[] {
  const numbers: number[] = [];
  let at = start;
  while (at < end) {
    if (bytes[at] === SP) {
      at += 1;
      continue;
    }
    // RFC 7162 §3.1.5: `(MODSEQ n)` may end it.
    if (bytes[at] === PAREN_OPEN) break;
    const number = numberAt(bytes, at, end);
    if (number === -1) throw badResponse('SEARCH', bytes, at);
    numbers.push(number);
    at = skipDigits(bytes, at, end);
  }
  return numbers;
}

function parseVanished(bytes: Buffer, start: number, end: number): Response {
  const earlier = bytes[start] === PAREN_OPEN;
  const at = earlier ? skipValue(bytes, start, end, null, 'VANISHED') + 1 : start;
  return { kind: 'vanished', earlier, uids: rangesAt(bytes, at, end, 'VANISHED') };
}

/** RFC 4731 §3.1: `(TAG "x") UID MIN 1 ALL 2:4,7`. */
function parseEsearch(bytes: Buffer, start: number, end: number): Response {
  let tag: string | null = null;
  let all: readonly NumberRange[] = [];
  let at = start;
  let name = '';
  while (at < end) {
    if (bytes[at] === SP) {
      at += 1;
      continue;
    }
    const next = skipValue(bytes, at, end, null, 'ESEARCH');
    if (next === at) throw badResponse('ESEARCH', bytes, at);
    if (at === start && bytes[at] === PAREN_OPEN) {
      tag = /"([^"]*)"/.exec(bytes.toString('latin1', at, next))?.[1] ?? null;
    } else if (name === 'ALL') {
      all = rangesAt(bytes, at, next, 'ESEARCH');
      name = '';
    } else if (name === '' || name === 'UID') {
      name = bytes.toString('latin1', at, Math.min(next, at + 40)).toUpperCase();
    } else {
      name = '';
    }
    at = next;
  }
  return { kind: 'esearch', tag, all };
}

/** RFC 9051 §7.3.4: `mailbox (MESSAGES 231 UIDNEXT 44292)`. */
function parseStatus(bytes: Buffer, start: number, end: number): Response {
  const nameEnd = skipValue(bytes, start, end, null, 'STATUS');
  const mailbox = stringContent(bytes, start, nameEnd)?.toString('latin1') ?? 'NIL';
  const list = nameEnd + 1;
  if (bytes[list] !== PAREN_OPEN || list >= end) throw badResponse('STATUS', bytes, start);
  const listEnd = skipValue(bytes, list, end, null, 'STATUS');
  const words = listWords(bytes.toString('latin1', list, listEnd));
  const items = new Map<string, string>();
  for (let index = 0; index + 1 < words.length; index += 2) items.set(words[index]!.toUpperCase(), words[index + 1]!);
  return { kind: 'status', mailbox, items };
}

/** RFC 9051 §7.3.1: `(attributes) delimiter mailbox`. */
function parseList(bytes: Buffer, start: number, end: number): Response {
  const listEnd = skipValue(bytes, start, end, null, 'LIST');
  const delimiterEnd = skipValue(bytes, listEnd + 1, end, null, 'LIST');
  const nameEnd = skipValue(bytes, delimiterEnd + 1, end, null, 'LIST');
  if (bytes[start] !== PAREN_OPEN || nameEnd <= delimiterEnd + 1) throw badResponse('LIST', bytes, start);
  const attributes = listWords(bytes.toString('latin1', start, listEnd).toLowerCase());
  return {
    kind: 'list',
    attributes,
    mailbox: stringContent(bytes, delimiterEnd + 1, nameEnd)?.toString('latin1') ?? 'NIL',
  };
}

/** An argument that must be an unsigned 32-bit number, such as UIDVALIDITY's; throws `protocol`. */
export function uint32(text: string, what: string): number {
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value <= 4_294_967_295)) throw new MergeboxError('protocol', `the server's ${what} is no 32-bit number`);
  return value;
}

/** A mod-sequence as text without leading zeros (RFC 7162 §7: at most 63 bits); null for none or zero. */
export function modSeqText(text: string | undefined): string | null {
  return text !== undefined && /^[1-9]\d{0,18}$/.test(text) ? text : null;
}
