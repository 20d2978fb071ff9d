import type { FlagText } from '../mail/flags.js';
import { NO_DATE } from '../wire/response-date.js';
import { contentRange, type FetchItems, fetchLiteral } from '../wire/response-fetch.js';
import type { LiteralSink } from '../wire/response-framer.js';
import { stringContent } from '../wire/response-scan.js';
import { Arena } from './arena.js';
import type { FlagTexts } from './flag-texts.js';
import { MAX_ENVELOPE, MAX_HEADER, MAX_STRUCTURE } from './limits.js';
import type { UpstreamMessage } from './port.js';
import type { CommandHandler } from './reader-connection.js';

/** The items of `UpstreamMessage`; UID first, so that a large header is known by it. */
export const METADATA_ITEMS = '(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER])';

interface Partial {
  uid: number;
  flags: FlagText;
  internalDate: number | null;
  size: number;
  envelope: Buffer | null;
  structure: Buffer | null;
  header: Buffer | null;
}

const DISCARD: LiteralSink = { chunk: () => undefined };

/**
 * Gathers the metadata of one page of messages. A server may tell the items of a message in several FETCH responses and
 * mix in changes of flags (RFC 9051 §7.5.2): what comes later is added to what is there.
 */
export class PageCollector implements CommandHandler {
  readonly #uids: readonly number[];
  readonly #messages = new Map<number, Partial | null>();
  readonly #flags: FlagTexts;
  readonly #arena = new Arena();
  #largeHeader: HeaderSink | null = null;
  #lostString = false;

  constructor(uids: readonly number[], flags: FlagTexts) {
    this.#uids = uids;
    this.#flags = flags;
    for (const uid of uids) this.#messages.set(uid, null);
  }

  /** Octets gathered. */
  get size(): number {
    return this.#arena.size;
  }

  fetch(bytes: Buffer, items: FetchItems): boolean {
    let message = this.#messages.get(items.uid);
    if (message === undefined) return false;
    if (message === null) {
      message = emptyMessage(items.uid);
      this.#messages.set(items.uid, message);
    }
    if (items.flagsStart !== -1) message.flags = this.#flags.at(bytes, items.flagsStart, items.flagsEnd);
    if (items.date !== NO_DATE) message.internalDate = items.date;
    if (items.size !== -1) message.size = items.size;
    if (items.envelopeStart !== -1) {
      message.envelope = this.#slice(bytes, items.envelopeStart, items.envelopeEnd, MAX_ENVELOPE);
    }
    if (items.structureStart !== -1) {
      message.structure = this.#slice(bytes, items.structureStart, items.structureEnd, MAX_STRUCTURE);
    }
    if (items.headerStart !== -1) message.header = this.#header(bytes, items.headerStart, items.headerEnd);
    this.#lostString = false;
    this.#largeHeader = null;
    return true;
  }

  literal(bytes: Buffer, start: number, end: number): LiteralSink | null {
    const { uid, item } = fetchLiteral(bytes, start, end);
    if (uid !== -1 && !this.#messages.has(uid)) return null;
    if (item === 'header') {
      this.#largeHeader = new HeaderSink();
      return this.#largeHeader;
    }
    // A monstrous string within ENVELOPE or BODYSTRUCTURE: what is left of those is no use.
    this.#lostString = true;
    return DISCARD;
  }

  /** The messages that came whole, in the order asked for. */
  page(): UpstreamMessage[] {
    const page: UpstreamMessage[] = [];
    for (const uid of this.#uids) {
      const message = this.#messages.get(uid);
      if (message != null && isWhole(message)) page.push(message);
    }
    return page;
  }

  /** `(…)` as sent; null for NIL, and for what is too large or damaged. */
  #slice(bytes: Buffer, start: number, end: number, limit: number): Buffer | null {
    if (this.#lostString || end - start > limit || bytes[start] !== 40) return null;
    return this.#arena.copy(bytes, start, end);
  }

  #header(bytes: Buffer, start: number, end: number): Buffer {
    if (this.#largeHeader !== null) return this.#largeHeader.header();
    // A quoted string may hold escapes; servers send it for the empty header.
    if (bytes[start] === 34) return stringContent(bytes, start, end) ?? Buffer.alloc(0);
    const range = contentRange(bytes, start, end);
    return range === null ? Buffer.alloc(0) : this.#arena.copy(bytes, range[0], range[1]);
  }
}

function emptyMessage(uid: number): Partial {
  return { uid, flags: '', internalDate: null, size: -1, envelope: null, structure: null, header: null };
}

/** A mere change of flags does not make a message. */
function isWhole(message: Partial): message is Partial & { header: Buffer } {
  return message.header !== null && message.size >= 0;
}

/** Keeps the first `MAX_HEADER` octets of a header, to the last whole line, and ends it with a blank line. */
class HeaderSink implements LiteralSink {
  readonly #chunks: Buffer[] = [];
  #size = 0;

  chunk(bytes: Buffer): void {
    const room = MAX_HEADER - this.#size;
    if (room <= 0) return;
    const part = Buffer.from(bytes.subarray(0, room));
    this.#size += part.length;
    this.#chunks.push(part);
  }

  header(): Buffer {
    const kept = Buffer.concat(this.#chunks);
    return Buffer.concat([kept.subarray(0, kept.lastIndexOf(10) + 1), Buffer.from('\r\n')]);
  }
}
