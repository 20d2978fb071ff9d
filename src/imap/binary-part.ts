import type { MimePart } from '../mail/mime-part.js';
import { findPart } from '../mail/mime-section.js';
import { TransferDecoder, type TransferEncoding, transferEncoding } from '../mail/mime-transfer.js';
import { MergeboxError } from '../util/errors.js';
import type { FetchPartial } from '../wire/fetch-item.js';
import { type BodySource, PIECE_BYTES } from './body-source.js';

/** Decoded octets up to this many are kept between measuring and sending. */
const KEEP_BYTES = 1_048_576;

/** A Content-Transfer-Encoding that nobody knows (RFC 3516 §4.3). */
export class UnknownEncoding extends MergeboxError {
  constructor(name: string) {
    super('cannot', `the content transfer encoding ${name} is not known`);
  }
}

/** The encodings of RFC 2045 §6. */
const KNOWN = new Set(['7bit', '8bit', 'binary', 'base64', 'quoted-printable']);

/** A part with its transfer encoding undone, in pieces: a large one is decoded twice rather than held. */
export class BinaryPart {
  readonly #source: BodySource;
  readonly #start: number;
  readonly #end: number;
  readonly #encoding: TransferEncoding;
  readonly #partial: FetchPartial | null;
  #kept: Buffer[] | null = [];
  /** Octets of the answer, known once `measure` was called. */
  size = 0;
  /** Whether there is a NUL among them, so that the answer has to be a literal8. */
  hasNul = false;

  private constructor(source: BodySource, part: MimePart | null, partial: FetchPartial | null, size: number) {
    this.#source = source;
    this.#partial = partial;
    this.#start = part === null ? 0 : part.bodyStart;
    this.#end = part === null ? size : part.bodyEnd;
    this.#encoding = part === null ? 'identity' : encodingOf(part);
  }

  /**
   * `path` as in BINARY[path]; empty for the whole mail, which has no encoding of its own. Null when there is no such
   * part; throws `UnknownEncoding`.
   */
  static async of(
    source: BodySource,
    path: readonly number[],
    partial: FetchPartial | null,
  ): Promise<BinaryPart | null> {
    const part = path.length === 0 ? null : findPart(await source.parse(), path);
    if (path.length > 0 && part === null) return null;
    const binary = new BinaryPart(source, part, partial, source.size);
    await binary.#measure();
    return binary;
  }

  /** The octets of the answer. */
  async *pieces(): AsyncGenerator<Buffer> {
    if (this.#kept !== null) yield* this.#kept;
    else yield* this.#decoded();
  }

  async #measure(): Promise<void> {
    for await (const piece of this.#decoded()) {
      this.size += piece.length;
      this.hasNul ||= piece.includes(0);
      if (this.size > KEEP_BYTES) this.#kept = null;
      this.#kept?.push(piece);
    }
  }

  /** RFC 3516 §4.2: the partial counts decoded octets. */
  async *#decoded(): AsyncGenerator<Buffer> {
    const decoder = new TransferDecoder(this.#encoding);
    const from = this.#partial?.start ?? 0;
    const to = this.#partial === null ? Number.POSITIVE_INFINITY : from + this.#partial.count;
    let at = 0;
    for (let start = this.#start; at < to; start += PIECE_BYTES) {
      const last = start >= this.#end;
      const octets = last
        ? decoder.end()
        : decoder.write(await this.#source.read(start, Math.min(start + PIECE_BYTES, this.#end)));
      const piece = octets.subarray(Math.max(0, from - at), Math.max(0, Math.min(octets.length, to - at)));
      at += octets.length;
      if (piece.length > 0) yield piece;
      if (last) return;
    }
  }
}

/** Of a multipart or message nothing is encoded, whatever it says (RFC 2045 §6.4). */
function encodingOf(part: MimePart): TransferEncoding {
  if (part.kind !== 'leaf') return 'identity';
  const name = part.content.encoding?.toLowerCase() ?? '7bit';
  if (!KNOWN.has(name)) throw new UnknownEncoding(name.slice(0, 100));
  return transferEncoding(name);
}
