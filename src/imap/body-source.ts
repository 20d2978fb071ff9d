import { headerEnd } from '../mail/header.js';
import { parseLargeMime } from '../mail/mime.js';
import type { MimePart } from '../mail/mime-part.js';
import { type ByteRange, sectionRange } from '../mail/mime-section.js';
import type { MessageBody } from './backend.js';
import type { SectionItem } from './fetch-plan.js';

/** Octets first read when only the end of the header is looked for; nearly every header is shorter. */
const HEADER_GUESS = 32_768;
/** Mails up to this size are read once and kept while one FETCH answers them. */
const KEEP_BYTES = 1_048_576;

/** The octets of a section: at hand, or a range of the body still to be read. */
export type Piece =
  | { readonly type: 'bytes'; readonly bytes: Buffer }
  | { readonly type: 'range'; readonly start: number; readonly end: number; readonly first: Buffer };

/** Octets of a range that are held in memory at a time while it is sent. */
export const PIECE_BYTES = 262_144;

/** One mail's body while a FETCH takes sections from it; reads no more than they need. */
export class BodySource {
  readonly #body: MessageBody;
  #tree: MimePart | null;
  #whole: Buffer | null = null;
  #bodyStart: number | null = null;

  /** `tree` when it is known from an earlier command. */
  constructor(body: MessageBody, tree: MimePart | null) {
    this.#body = body;
    this.#tree = tree;
  }

  /** Known once a part was asked for. */
  get tree(): MimePart | null {
    return this.#tree;
  }

  get size(): number {
    return this.#body.size;
  }

  /** The part tree, parsed when first asked for. */
  async parse(): Promise<MimePart> {
    this.#tree ??= await parseLargeMime(await this.read(0, this.#body.size));
    return this.#tree;
  }

  /** The octets of a section after filter and partial, the first of them read; null when there is no such section. */
  async piece(section: SectionItem): Promise<Piece | null> {
    const range = await this.#range(section);
    if (range === null) return null;
    if (section.filter !== null) {
      const filtered = section.filter.apply(await this.read(range.start, range.end));
      return { type: 'bytes', bytes: cut(filtered, section) };
    }
    const { partial } = section;
    const start = partial === null ? range.start : Math.min(range.start + partial.start, range.end);
    const end = partial === null ? range.end : Math.min(start + partial.count, range.end);
    const first = await this.read(start, Math.min(end, start + PIECE_BYTES));
    return first.length === end - start ? { type: 'bytes', bytes: first } : { type: 'range', start, end, first };
  }

  async read(start: number, end: number): Promise<Buffer> {
    if (this.#whole !== null) return this.#whole.subarray(start, end);
    if (start === end) return Buffer.alloc(0);
    const bytes = await this.#body.read(start, end);
    // Other octets than announced would put all that follows out of step.
    if (bytes.length !== end - start) throw new RangeError(`a body read gave ${bytes.length} of ${end - start} octets`);
    if (start === 0 && end === this.#body.size && end <= KEEP_BYTES) this.#whole = bytes;
    return bytes;
  }

  async #range(section: SectionItem): Promise<ByteRange | null> {
    const { size } = this.#body;
    if (section.path.length === 0) {
      if (section.text === null) return { start: 0, end: size };
      const bodyStart = await this.#findBody();
      return section.text === 'TEXT' ? { start: bodyStart, end: size } : { start: 0, end: bodyStart };
    }
    return sectionRange(await this.parse(), section.path, section.text);
  }

  async #findBody(): Promise<number> {
    if (this.#tree !== null) return this.#tree.bodyStart;
    const { size } = this.#body;
    for (let end = Math.min(size, HEADER_GUESS); this.#bodyStart === null; end = Math.min(size, end * 8)) {
      const at = headerEnd(await this.read(0, end));
      // At the very end it may only be what was read so far that ends.
      if (at < end || end === size) this.#bodyStart = at;
    }
    return this.#bodyStart;
  }
}

/** The octets `<start.count>` names (RFC 9051 §6.4.5): what lies outside is left out. */
export function cut(bytes: Buffer, { partial }: SectionItem): Buffer {
  return partial === null ? bytes : bytes.subarray(partial.start, partial.start + partial.count);
}
