import { bodyStructureWire } from './body-structure.js';
import { parseMime } from './mime.js';
import type { MimePart } from './mime-part.js';

const LF = 10;
const CR = 13;
const DASH = 45;
/** What is kept of a mail at most: all its headers and lines that begin with `--`. */
const MAX_SKELETON = 4 << 20;
/** Octets of one part's header in which its type is looked for. */
const TYPE_WINDOW = 1 << 16;

/** What was left out of the skeleton at `at`. */
interface Gap {
  readonly at: number;
  octets: number;
  lines: number;
}

/**
 * Takes a mail in pieces and keeps what its structure can depend on: headers, and lines that may be boundaries. The
 * lines of bodies are only counted, so a mail of many megabytes needs little memory. In doubt a line is kept: where the
 * body of a part may be a message (message/rfc822, a digest) and after every line that looks like a boundary.
 */
export class MailSkeleton {
  #kept = Buffer.allocUnsafe(1 << 16);
  #length = 0;
  readonly #gaps: Gap[] = [];
  #state: 'header' | 'body' = 'header';
  /** Octets of the current line that came in earlier pieces: all of a short one, else its beginning. */
  #line: Buffer = Buffer.alloc(0);
  /** In the middle of a line that is left out. */
  #skipping = false;
  /** The last two octets of the gap. */
  #tail: readonly [number, number] = [0, 0];
  #headerAt = 0;
  #digest = false;
  #overflow = false;
  size = 0;

  /** The next piece; it is not kept. */
  write(piece: Buffer): void {
    this.size += piece.length;
    let at = 0;
    while (at < piece.length) {
      const lf = piece.indexOf(LF, at);
      const end = lf < 0 ? piece.length : lf + 1;
      this.#piece(piece.subarray(at, end), lf >= 0);
      at = end;
    }
  }

  /** The first header with its blank line; a view. */
  get header(): Buffer {
    const kept = this.#kept.subarray(0, this.#length);
    return kept.subarray(0, parseMime(kept).bodyStart);
  }

  /** `(…)` of BODYSTRUCTURE, or null for a mail whose skeleton alone is too large. */
  structure(): Buffer | null {
    this.#endLine();
    if (this.#overflow) return null;
    const kept = this.#kept.subarray(0, this.#length);
    return bodyStructureWire(kept, new GapSums(this.#gaps).whole(parseMime(kept)));
  }

  /** A piece of one line, its end included when `complete`. */
  #piece(bytes: Buffer, complete: boolean): void {
    if (this.#state === 'header') {
      this.#keep(bytes);
      if (complete) this.#headerLine();
      return;
    }
    if (!this.#skipping && this.#line.length + bytes.length < 3 && !complete) {
      // Too little to tell whether it may be a boundary.
      this.#line = Buffer.concat([this.#line, bytes]);
      return;
    }
    const line = this.#line.length === 0 ? bytes : Buffer.concat([this.#line, bytes]);
    this.#line = line.subarray(0, 0);
    if (!this.#skipping && line[0] === DASH && line[1] === DASH) {
      this.#closeGap();
      this.#state = 'header';
      this.#headerAt = this.#length;
      this.#keep(line);
      if (complete) this.#headerLine();
      return;
    }
    this.#skip(line, complete);
    this.#skipping = !complete;
  }

  #endLine(): void {
    if (this.#line.length > 0) this.#skip(this.#line, false);
    this.#line = this.#line.subarray(0, 0);
  }

  #skip(bytes: Buffer, complete: boolean): void {
    let gap = this.#gaps.at(-1);
    if (gap === undefined || gap.at !== this.#length) {
      gap = { at: this.#length, octets: 0, lines: 0 };
      this.#gaps.push(gap);
      this.#tail = [0, 0];
    }
    gap.octets += bytes.length;
    if (complete) gap.lines += 1;
    this.#tail = [bytes.length > 1 ? bytes[bytes.length - 2]! : this.#tail[1], bytes[bytes.length - 1]!];
  }

  /** The line end before a boundary is the boundary's (RFC 2046 §5.1.1), so it is no part of what was left out. */
  #closeGap(): void {
    const gap = this.#gaps.at(-1);
    if (gap === undefined || gap.at !== this.#length || gap.lines === 0) return;
    const ending = this.#tail[0] === CR ? '\r\n' : '\n';
    gap.octets -= ending.length;
    gap.lines -= 1;
    this.#keep(Buffer.from(ending));
  }

  /** A line of a header, or one that looks like a boundary, is complete. */
  #headerLine(): void {
    if (this.#overflow) return;
    const end = this.#length;
    const blank = this.#kept[end - 1] === LF && (end < 2 || isLineEnd(this.#kept, end - 2));
    if (!blank) return;
    const header = this.#kept.toString('latin1', this.#headerAt, Math.min(end, this.#headerAt + TYPE_WINDOW));
    if (/digest/i.test(header)) this.#digest = true;
    // A long header may say so behind the window.
    const message = /message\//i.test(header) || end - this.#headerAt > TYPE_WINDOW;
    const nested = message || (this.#digest && /^--/.test(header));
    this.#state = nested ? 'header' : 'body';
    this.#headerAt = end;
    this.#skipping = false;
  }

  #keep(bytes: Buffer): void {
    if (this.#length + bytes.length > MAX_SKELETON) {
      this.#overflow = true;
      return;
    }
    if (this.#length + bytes.length > this.#kept.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#kept.length * 2, this.#length + bytes.length));
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    bytes.copy(this.#kept, this.#length);
    this.#length += bytes.length;
  }
}

/** What was left out before each gap, and a lookup by offset. */
class GapSums {
  readonly #at: readonly number[];
  readonly #octets: number[] = [0];
  readonly #lines: number[] = [0];

  constructor(gaps: readonly Gap[]) {
    this.#at = gaps.map(({ at }) => at);
    for (const { octets, lines } of gaps) {
      this.#octets.push(this.#octets.at(-1)! + octets);
      this.#lines.push(this.#lines.at(-1)! + lines);
    }
  }

  /** The part with the sizes it has in the mail; offsets stay those of the skeleton. */
  whole(part: MimePart): MimePart {
    const from = this.#before(part.bodyStart);
    const to = this.#before(part.bodyEnd + 1);
    const { kind, headerStart, bodyStart, content, text } = part;
    const counted = text || kind === 'message';
    return {
      ...{ kind, headerStart, bodyStart, content, text },
      bodyEnd: part.bodyEnd + this.#octets[to]! - this.#octets[from]!,
      lines: counted ? part.lines + this.#lines[to]! - this.#lines[from]! : part.lines,
      children: part.children.map((child) => this.whole(child)),
    };
  }

  /** How many gaps lie before `offset`. */
  #before(offset: number): number {
    let low = 0;
    for (let high = this.#at.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (this.#at[middle]! < offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Whether the octet before the last LF (or the one before a CR there) ends a line too. */
function isLineEnd(bytes: Buffer, at: number): boolean {
  if (bytes[at] === LF) return true;
  return bytes[at] === CR && (at === 0 || bytes[at - 1] === LF);
}
