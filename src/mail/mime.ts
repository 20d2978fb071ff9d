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
  /** The innermost part that is open; null before the first header and when all is read. */
  #open: Node | null = null;
  /** Where to look for the next line of dashes: the line end before it. */
  #from = 0;
  /** Behind the last boundary line or header: its line end is its own, not the next boundary's. */
  #floor = 0;
  #parts = 0;
  #done = false;
  readonly #lines: LineCounter;

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
    if (this.#open === null && !this.#done) this.#enter(this.#root);
    for (let left = octets; left > 0 && !this.#done; ) left -= this.#step();
    return this.#done;
  }

  /** Goes to the next boundary or the end; answers what that cost. */
  #step(): number {
    const bytes = this.#bytes;
    const from = this.#from;
    const found = this.#watching ? bytes.indexOf(LINE_OF_DASHES, from) : -1;
    if (found < 0) {
      this.#close(null, bytes.length);
      this.#done = true;
      return bytes.length - from;
    }
    const match = this.#boundaries.match(bytes, found + LINE_OF_DASHES.length, bytes.length);
    if (match === null) this.#from = found + 1;
    else this.#boundary(match, found);
    return found - from + LINE_COST;
  }

  /** Whether a boundary can still begin or end anything. */
  get #watching(): boolean {
    return this.#boundaries.size > 0 && this.#parts < MAX_MIME_PARTS;
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
    this.#from = next - 1;
    // A boundary that is cut off at the end begins nothing.
    if (!closing && end >= 0) this.#enter(this.#append(owner, next));
  }

  #append(parent: Node, start: number): Node {
    const child = new Node(start, parent);
    parent.children.push(child);
    return child;
  }

  /** Opens `part` with its header, and the messages that begin right behind it. */
  #enter(part: Node): void {
    let hasBody = true;
    for (let node = part; ; node = this.#append(node, node.bodyStart)) {
      this.#parts += 1;
      this.#open = node;
      // A message whose wrapping was cut off before its body has nothing, not even a header.
      hasBody &&= this.#readHeader(node);
      const boundary = classify(node, hasBody, this.#parts);
      if (boundary !== null) this.#boundaries.push(boundary, node);
      if (node.text) node.lines = this.#lines.at(node.bodyStart);
      if (node.kind !== 'message') return;
      node.lines = this.#lines.enter(node.bodyStart);
    }
  }

  /** Reads to the blank line or, where that is missing, to a boundary or the end; answers where the next line starts. */
  #readHeader(node: Node): boolean {
    const bytes = this.#bytes;
    const end = bytes.length;
    let at = node.headerStart;
    while (at < end) {
      const blank = blankLine(bytes, at, end);
      if (blank > 0) {
        node.bodyStart = at + blank;
        this.#floor = node.bodyStart;
        this.#from = node.bodyStart - 1;
        return true;
      }
      if (this.#boundaryAt(at)) break;
      const next = fieldEnd(bytes, at, end);
      node.content.read(bytes, headerField(bytes, at, next));
      at = next;
    }
    // The line end before a boundary is the boundary's, also in a header.
    node.bodyStart = at < end ? Math.max(node.headerStart, lineEndBefore(bytes, at)) : end;
    this.#from = Math.max(0, at - 1);
    return false;
  }

  #boundaryAt(at: number): boolean {
    const bytes = this.#bytes;
    if (bytes[at] !== DASH || bytes[at + 1] !== DASH || !this.#watching) return false;
    return this.#boundaries.match(bytes, at + 2, bytes.length) !== null;
  }

  /** Ends the open parts inside `owner` (null: all of them) at `end`; `owner` is the open one then. */
  #close(owner: Node | null, end: number): void {
    let node = this.#open;
    for (; node !== null && node !== owner; node = node.parent) {
      node.bodyEnd = Math.max(node.bodyStart, end);
      if (node.kind === 'message') node.lines = this.#lines.leave(node.bodyEnd) - node.lines;
      else if (node.text) node.lines = this.#lines.to(node.bodyEnd) - node.lines;
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
 * their lines, unless they are inside a message/rfc822: so positions may be skipped while no message is open.
 */
class LineCounter {
  readonly #bytes: Buffer;
  #at = 0;
  #count = 0;
  #messages = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The count at `offset`, where counting may start afresh. */
  at(offset: number): number {
    if (this.#messages > 0) return this.to(offset);
    this.#at = offset;
    this.#count = 0;
    return 0;
  }

  /** `at`, for the body of a message, until `leave`. */
  enter(offset: number): number {
    const count = this.at(offset);
    this.#messages += 1;
    return count;
  }

  leave(offset: number): number {
    const count = this.to(offset);
    this.#messages -= 1;
    return count;
  }

  /** The count at `offset`, from the last place where counting started. */
  to(offset: number): number {
    const bytes = this.#bytes;
    let count = this.#count;
    for (let i = this.#at; i < offset; i += 1) if (bytes[i] === LF) count += 1;
    if (offset > this.#at) this.#at = offset;
    this.#count = count;
    return count;
  }
}
