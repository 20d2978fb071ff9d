import { setImmediate as nextTurn } from 'node:timers/promises';
import { blankLine, fieldEnd, headerField } from './header.js';
import { type BoundaryMatch, BoundarySet } from './mime-boundary.js';
import { ContentReader } from './mime-content.js';
import { MAX_MIME_DEPTH, MAX_MIME_PARTS, type MimeKind, type MimePart } from './mime-part.js';

const LF = 10;
const CR = 13;
const DASH = 45;
const LINE_OF_DASHES = Buffer.from('\n--');

/** Octets read between two turns of the event loop; a few milliseconds. */
const SLICE_OCTETS = 2 << 20;
/** What looking at one line of dashes costs, in octets of plain reading. */
const LINE_COST = 64;

/**
 * The part tree of a mail, in one pass over its bytes. Never fails: what is not MIME is a leaf, a part whose boundary is
 * missing ends with its parent, bare LF is a line end.
 */
export function parseMime(bytes: Buffer): MimePart {
  const parser = new MimeParser(bytes);
  parser.run(Number.POSITIVE_INFINITY);
  return parser.root;
}

/** As `parseMime`, and lets others run in between, for mails of many megabytes. */
export async function parseLargeMime(bytes: Buffer): Promise<MimePart> {
  const parser = new MimeParser(bytes);
  while (!parser.run(SLICE_OCTETS)) await nextTurn();
  return parser.root;
}

/** A part in the making; until it is closed, `lines` is the count at the start of its body. */
class Node implements MimePart {
  readonly headerStart: number;
  readonly parent: Node | null;
  readonly depth: number;
  readonly content = new ContentReader();
  readonly children: Node[] = [];
  kind: MimeKind = 'leaf';
  bodyStart: number;
  bodyEnd: number;
  text = false;
  lines = 0;

  constructor(headerStart: number, parent: Node | null) {
    this.headerStart = headerStart;
    this.bodyStart = headerStart;
    this.bodyEnd = headerStart;
    this.parent = parent;
    this.depth = parent === null ? 0 : parent.depth + 1;
  }
}

/** The reader behind `parseMime`: `run` until it says that it is done. */
export class MimeParser {
  readonly #bytes: Buffer;
  readonly #boundaries = new BoundarySet<Node>();
  readonly #root = new Node(0, null);
  readonly #lines: LineCounter;
  /** The innermost part that is open; null when all is read. */
  #open: Node | null = this.#root;
  /** Whether its header is being read, at `#at`; else its body, where `#at` is the line end before the next line. */
  #inHeader = true;
  #at = 0;
  /** The line end before the next line of dashes, or the end of the mail; -1 until it is looked for. */
  #dashes = -1;
  /** Behind the last boundary line or header: its line end is its own, not the next boundary's. */
  #floor = 0;
  #parts = 1;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.#lines = new LineCounter(bytes);
  }

  /** Whole once `run` has answered true. */
  get root(): MimePart {
    return this.#root;
  }

  /** Reads on for about `octets`; true when the end is reached. */
  run(octets: number): boolean {
    for (let left = octets; left > 0 && this.#open !== null; ) {
      left -= this.#inHeader ? this.#stepHeader(this.#open) : this.#stepBody();
    }
    return this.#open === null;
  }

  /** Reads some fields of the header, to its blank line or, where that is missing, to a boundary or the end. */
  #stepHeader(node: Node): number {
    const bytes = this.#bytes;
    const end = bytes.length;
    const start = this.#at;
    let at = start;
    while (at < end && at - start < SLICE_OCTETS / 4) {
      const blank = blankLine(bytes, at, end);
      if (blank > 0) {
        node.bodyStart = at + blank;
        this.#floor = node.bodyStart;
        this.#at = node.bodyStart - 1;
        this.#enter(node, true);
        return at - start + LINE_COST;
      }
      if (this.#boundaryAt(at)) break;
      const next = fieldEnd(bytes, at, end);
      node.content.read(bytes, headerField(bytes, at, next));
      at = next;
    }
    this.#at = at;
    if (at < end && !this.#boundaryAt(at)) return at - start;
    // The line end before a boundary is the boundary's, also in a header.
    node.bodyStart = at < end ? Math.max(node.headerStart, lineEndBefore(bytes, at)) : end;
    this.#at = Math.max(0, at - 1);
    this.#enter(node, false);
    return at - start + LINE_COST;
  }

  #boundaryAt(at: number): boolean {
    const bytes = this.#bytes;
    if (bytes[at] !== DASH || bytes[at + 1] !== DASH || !this.#watching) return false;
    return this.#boundaries.match(bytes, at + 2, bytes.length) !== null;
  }

  /** Whether a boundary can still begin or end anything. */
  get #watching(): boolean {
    return this.#boundaries.size > 0 && this.#parts < MAX_MIME_PARTS;
  }

  /** Goes over from the header of `node` to its body. */
  #enter(node: Node, hasBody: boolean): void {
    this.#inHeader = false;
    const boundary = classify(node, hasBody, this.#parts);
    if (boundary !== null) this.#boundaries.push(boundary, node);
    if (node.text) node.lines = this.#lines.start(node.bodyStart);
    if (node.kind !== 'message') return;
    node.lines = this.#lines.startMessage(node.bodyStart);
    const message = this.#append(node, node.bodyStart);
    // A message whose wrapping was cut off before its body has nothing, not even a header.
    if (!hasBody) this.#enter(message, false);
    else this.#at = node.bodyStart;
  }

  /** Opens a part whose header starts at `start`. */
  #append(parent: Node, start: number): Node {
    const child = new Node(start, parent);
    parent.children.push(child);
    this.#parts += 1;
    this.#open = child;
    this.#inHeader = true;
    return child;
  }

  /** Goes to the next boundary or the end; answers what that cost. */
  #stepBody(): number {
    const bytes = this.#bytes;
    const from = this.#at;
    if (this.#dashes < 0) {
      const found = this.#watching ? bytes.indexOf(LINE_OF_DASHES, from) : -1;
      this.#dashes = found < 0 ? bytes.length : found;
    }
    const dashes = this.#dashes;
    if (!this.#lines.approach(dashes)) return SLICE_OCTETS;
    this.#dashes = -1;
    if (dashes === bytes.length) {
      this.#close(null, dashes);
      return dashes - from;
    }
    const match = this.#boundaries.match(bytes, dashes + LINE_OF_DASHES.length, bytes.length);
    if (match === null) this.#at = dashes + 1;
    else this.#boundary(match, dashes);
    return dashes - from + LINE_COST;
  }

  /** A boundary whose line starts behind the LF at `lf`. */
  #boundary({ owner, closing }: BoundaryMatch<Node>, lf: number): void {
    const bytes = this.#bytes;
    this.#close(owner, Math.max(this.#floor, lineEndBefore(bytes, lf + 1)));
    // Boundaries of parts that lack their own end are void from here on (RFC 2046 §5.1.2).
    this.#boundaries.popTo(owner, !closing);
    const end = bytes.indexOf(LF, lf + 1);
    const next = end < 0 ? bytes.length : end + 1;
    this.#floor = next;
    this.#at = next - 1;
    // A boundary that is cut off at the end begins nothing.
    if (closing || end < 0) return;
    this.#append(owner, next);
    this.#at = next;
  }

  /** Ends the open parts inside `owner` (null: all of them) at `end`; `owner` is the open one then. */
  #close(owner: Node | null, end: number): void {
    let node = this.#open;
    for (; node !== null && node !== owner; node = node.parent) {
      node.bodyEnd = Math.max(node.bodyStart, end);
      if (node.kind === 'message') node.lines = this.#lines.endMessage(node.bodyEnd) - node.lines;
      else if (node.text) node.lines = this.#lines.end(node.bodyEnd) - node.lines;
    }
    this.#open = node;
  }
}

/** Says what the part is by its header; answers the boundary to look for in its body, if any. */
function classify(node: Node, hasBody: boolean, parts: number): string | null {
  const { content, parent } = node;
  const inDigest = parent?.kind === 'multipart' && parent.content.subtype?.toLowerCase() === 'digest';
  const type = content.type?.toLowerCase() ?? (inDigest && !content.typed ? 'message' : 'text');
  const subtype = content.subtype?.toLowerCase() ?? 'rfc822';
  node.text = type === 'text';
  // RFC 2046 §5.1.5: message/rfc822 is the default inside multipart/digest.
  const message = type === 'message' && subtype === 'rfc822';
  const full = node.depth + 1 >= MAX_MIME_DEPTH || parts >= MAX_MIME_PARTS;
  if (full || (type !== 'multipart' && !message)) return null;
  node.kind = message ? 'message' : 'multipart';
  if (message || !hasBody) return null;
  return content.params.find(([name]) => name.toLowerCase() === 'boundary')?.[1] ?? null;
}

/** Offset of the line end (LF or CRLF) before the line that starts at `line`. */
function lineEndBefore(bytes: Buffer, line: number): number {
  return line >= 2 && bytes[line - 2] === CR ? line - 2 : line - 1;
}

/**
 * Counts line ends forwards, each octet at most once. Attachments are most of the bytes of a mail and nobody asks for
 * their lines, unless they are inside a message/rfc822: so what lies between two texts is skipped elsewhere.
 */
class LineCounter {
  readonly #bytes: Buffer;
  #at = 0;
  #count = 0;
  #messages = 0;
  #running = false;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The count at the start of a text. */
  start(offset: number): number {
    if (!this.#running) {
      this.#at = offset;
      this.#count = 0;
      this.#running = true;
    }
    return this.#to(offset);
  }

  /** The count at its end. */
  end(offset: number): number {
    this.#running = this.#messages > 0;
    return this.#to(offset);
  }

  startMessage(offset: number): number {
    this.#messages += 1;
    return this.start(offset);
  }

  endMessage(offset: number): number {
    this.#messages -= 1;
    return this.end(offset);
  }

  /** Counts on towards `offset`, a slice at most; true when the rest is no more than that. */
  approach(offset: number): boolean {
    if (!this.#running || offset - this.#at <= SLICE_OCTETS) return true;
    this.#to(this.#at + SLICE_OCTETS);
    return false;
  }

  #to(offset: number): number {
    const bytes = this.#bytes;
    let count = this.#count;
    for (let i = this.#at; i < offset; i += 1) if (bytes[i] === LF) count += 1;
    if (offset > this.#at) this.#at = offset;
    this.#count = count;
    return count;
  }
}
