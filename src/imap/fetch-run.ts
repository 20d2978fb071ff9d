import { hasFlag } from '../mail/flags.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import { bodyFromStructure } from '../wire/body.js';
import { formatDateTime } from '../wire/dates.js';
import type { FetchAttribute } from '../wire/fetch-item.js';
import { formatNstring, formatText, literalHeader } from '../wire/format.js';
import type { Metadata } from './backend.js';
import { BinaryPart, UnknownEncoding } from './binary-part.js';
import { BodySource, cut, PIECE_BYTES, type Piece } from './body-source.js';
import type { Call } from './command.js';
import { ConnectionEnded } from './connection-ended.js';
import type { BinaryItem, FetchPlan, SectionItem } from './fetch-plan.js';
import { no, ok, type Reply } from './reply.js';
import type { Selected } from './selected.js';
import { remotePieces } from './remote-piece.js';
import type { Session } from './session.js';

/** The sections of one message with their octets, in the order of the plan. */
interface Sections {
  readonly source: BodySource | null;
  readonly pieces: ReadonlyMap<SectionItem, Piece | null>;
  readonly parts: ReadonlyMap<BinaryItem, BinaryPart | null>;
}

const NO_SECTIONS: Sections = { source: null, pieces: new Map(), parts: new Map() };

/** One FETCH over the messages at `positions` (sequence numbers less one, ascending). */
export class FetchRun {
  readonly #session: Session;
  readonly #selected: Selected;
  readonly #plan: FetchPlan;
  readonly #call: Call;
  readonly #positions: readonly number[];
  /** UIDs whose sections were sent and that are to become \Seen. */
  readonly #read: number[] = [];
  #sent = 0;
  #unavailable = 0;
  #firstError: unknown = null;
  #unknownEncoding = false;

  constructor(session: Session, call: Call, plan: FetchPlan, positions: readonly number[]) {
    this.#session = session;
    this.#selected = session.selected;
    this.#call = call;
    this.#plan = plan;
    this.#positions = positions;
  }

  async run(): Promise<Reply> {
    this.#session.progress = () => [this.#sent, this.#positions.length];
    this.#session.out.startSlice();
    if (!this.#plan.needsMetadata && !this.#plan.needsBody) await this.#fromListing();
    else await this.#fromStore();
    await this.#markSeen(this.#read);
    return this.#conclusion();
  }

  /** Flags, UIDs, sizes, dates and MODSEQs: nothing but arrays. */
  async #fromListing(): Promise<void> {
    const { out, condstore } = this.#session;
    const { tracker } = this.#selected;
    const tellsFlags = this.#plan.has('FLAGS') && (!condstore || this.#plan.has('MODSEQ'));
    for (const position of this.#positions) {
      const at = tracker.listingIndex(position);
      if (at < 0) continue;
      let line = `* ${position + 1} FETCH (`;
      let separator = '';
      for (const item of this.#plan.items) {
        line += separator + this.#fromArrays((item as { name: FetchAttribute }).name, at);
        separator = ' ';
      }
      out.text(`${line})\r\n`);
      if (tellsFlags) tracker.told(at);
      this.#sent += 1;
      if (out.full) await out.breathe();
    }
  }

  async #fromStore(): Promise<void> {
    const { out } = this.#session;
    const uids = this.#positions.map((position) => this.#selected.tracker.uids[position]!);
    const pages = this.#plan.needsMetadata ? this.#selected.mailbox.metadata(uids, this.#plan.wants) : bare(uids);
    for await (const page of pages) {
      for (const metadata of page) {
        if (this.#plan.needsBody || this.#plan.setsSeen) await this.#message(metadata);
        else this.#emitStored(metadata);
        if (out.full) await out.breathe();
      }
      await out.breathe();
    }
  }

  async #message(metadata: Metadata): Promise<void> {
    const sections = this.#plan.needsBody ? await this.#available(metadata) : this.#headerSections(metadata);
    if (sections === null) return;
    if (!this.#plan.setsSeen) return this.#emit(metadata, sections);
    // Alone, it is marked first, so that its FLAGS come in the same response (RFC 9051 §6.4.5).
    if (this.#positions.length === 1) return this.#emit(metadata, sections, await this.#markSeen([metadata.uid]));
    await this.#emit(metadata, sections);
    this.#read.push(metadata.uid);
  }

  /** The sections, or null when they cannot be had: other messages are answered all the same. */
  async #available(metadata: Metadata): Promise<Sections | null> {
    try {
      return await this.#sections(metadata);
    } catch (error) {
      if (!isMergeboxError(error)) throw error;
      if (error.code === 'nonexistent') return null;
      if (error instanceof UnknownEncoding) this.#unknownEncoding = true;
      this.#unavailable += 1;
      this.#firstError ??= error;
      return null;
    }
  }

  /** Reads what the sections need before anything is written, so that a failure leaves no half response. */
  async #sections(metadata: Metadata): Promise<Sections> {
    const { mailbox, trees } = this.#selected;
    const { uid } = metadata;
    const remote = mailbox.part === undefined ? null : await remotePieces(mailbox, uid, this.#plan);
    if (remote !== null) {
      return { ...NO_SECTIONS, pieces: new Map([...this.#headerSections(metadata).pieces, ...remote]) };
    }
    const source = new BodySource(await mailbox.body(uid), trees.get(uid) ?? null);
    const pieces = new Map<SectionItem, Piece | null>(this.#headerSections(metadata).pieces);
    const parts = new Map<BinaryItem, BinaryPart | null>();
    for (const item of this.#plan.items) {
      if (item.type === 'section' && !item.section.fromHeader) {
        pieces.set(item.section, await source.piece(item.section));
      } else if (item.type === 'binary') {
        parts.set(item.binary, await BinaryPart.of(source, item.binary.path, item.binary.partial));
      }
    }
    if (source.tree !== null) trees.set(uid, source.tree);
    return { source, pieces, parts };
  }

  #headerSections({ header }: Metadata): Sections {
    if (header === undefined) return NO_SECTIONS;
    const pieces = new Map<SectionItem, Piece>();
    for (const item of this.#plan.items) {
      if (item.type !== 'section' || !item.section.fromHeader) continue;
      pieces.set(item.section, { type: 'bytes', bytes: headerSection(item.section, header) });
    }
    return { ...NO_SECTIONS, pieces };
  }

  /** One response of which every octet is at hand, as for the lists that clients show. */
  #emitStored(metadata: Metadata): void {
    const { out } = this.#session;
    const { tracker } = this.#selected;
    const sequence = tracker.sequence(metadata.uid);
    const at = sequence === 0 ? -1 : tracker.listingIndex(sequence - 1);
    if (at < 0) return;
    let text = `* ${sequence} FETCH (`;
    for (const item of this.#plan.items) {
      if (item.type === 'attribute') {
        const value = this.#attribute(item.name, at, metadata);
        if (typeof value === 'string') text += value;
        else {
          out.text(`${text}${itemLabel(item.name)} `);
          out.bytes(value);
          text = '';
        }
      } else if (item.type === 'section') {
        const bytes = headerSection(item.section, metadata.header!);
        out.text(`${text}${item.section.label} ${literalHeader(bytes.length)}`);
        out.bytes(bytes);
        text = '';
      }
      text += ' ';
    }
    out.text(`${text.slice(0, -1)})\r\n`);
    this.#sent += 1;
  }

  /** Writes one response; `withFlags` adds FLAGS that were not asked for but changed. */
  async #emit(metadata: Metadata, sections: Sections, withFlags = false): Promise<void> {
    const { out, condstore } = this.#session;
    const { tracker } = this.#selected;
    const sequence = tracker.sequence(metadata.uid);
    const at = sequence === 0 ? -1 : tracker.listingIndex(sequence - 1);
    if (at < 0) return;
    const extra: FetchAttribute[] = withFlags ? (condstore ? ['FLAGS', 'MODSEQ'] : ['FLAGS']) : [];
    const fixed = extra
      .filter((name) => !this.#plan.items.some((item) => item.type === 'attribute' && item.name === name))
      .map((name) => this.#fromArrays(name, at));
    // Everything that may change is read in this turn, before anything is written; sections, which cannot, come after it.
    const attributes = this.#plan.items.map((item) =>
      item.type === 'attribute' ? this.#attribute(item.name, at, metadata) : null,
    );
    out.text(`* ${sequence} FETCH (${fixed.join(' ')}`);
    let separator = fixed.length > 0 ? ' ' : '';
    for (const [index, item] of this.#plan.items.entries()) {
      out.text(separator);
      separator = ' ';
      if (item.type === 'section') await this.#emitSection(item.section, sections);
      else if (item.type === 'binary') await this.#emitBinary(item.binary, sections);
      else this.#emitAttribute(item.name, attributes[index]!);
    }
    out.text(')\r\n');
    this.#sent += 1;
  }

  #emitAttribute(name: FetchAttribute, value: string | Buffer): void {
    const { out } = this.#session;
    if (typeof value === 'string') out.text(value);
    else {
      out.text(`${itemLabel(name)} `);
      out.bytes(value);
    }
  }

  #attribute(name: FetchAttribute, at: number, metadata: Metadata): string | Buffer {
    switch (name) {
      case 'ENVELOPE':
        return metadata.envelope!;
      case 'BODYSTRUCTURE':
        return metadata.structure!;
      case 'BODY':
        return bodyFromStructure(metadata.structure!) ?? metadata.structure!;
      case 'EMAILID':
        return `EMAILID (${metadata.emailId})`;
      case 'THREADID':
        return typeof metadata.threadId === 'string' ? `THREADID (${metadata.threadId})` : 'THREADID NIL';
      case 'SAVEDATE':
        return `SAVEDATE ${typeof metadata.saved === 'number' ? formatDateTime(metadata.saved) : 'NIL'}`;
      case 'PREVIEW':
      case 'PREVIEW (LAZY)':
        return formatNstring(metadata.preview ?? null);
      default:
        return this.#fromArrays(name, at);
    }
  }

  #fromArrays(name: FetchAttribute, at: number): string {
    const { listing, tracker } = this.#selected;
    switch (name) {
      case 'FLAGS':
        return `FLAGS (${tracker.flags(at)})`;
      case 'UID':
        return `UID ${listing.uids[at]}`;
      case 'RFC822.SIZE':
        return `RFC822.SIZE ${listing.sizes[at]}`;
      case 'INTERNALDATE':
        return `INTERNALDATE ${formatDateTime(listing.dates[at]!)}`;
      case 'MODSEQ':
        return `MODSEQ (${listing.modSeqs[at]})`;
      default:
        throw new Error(`${name} is not in the listing`);
    }
  }

  async #emitSection(section: SectionItem, { source, pieces }: Sections): Promise<void> {
    const { out } = this.#session;
    const piece = pieces.get(section) ?? null;
    if (piece === null) {
      out.text(`${section.label} NIL`);
      return;
    }
    if (piece.type === 'bytes') {
      out.text(`${section.label} ${literalHeader(piece.bytes.length)}`);
      out.bytes(piece.bytes);
      return;
    }
    out.text(`${section.label} ${literalHeader(piece.end - piece.start)}`);
    out.bytes(piece.first);
    await out.breathe();
    for (let at = piece.start + piece.first.length; at < piece.end; at += PIECE_BYTES) {
      out.bytes(await this.#more(source!, at, Math.min(at + PIECE_BYTES, piece.end)));
      await out.breathe();
    }
  }

  /** RFC 3516 §4.3: a literal8 only where there is a NUL. */
  async #emitBinary(item: BinaryItem, { parts }: Sections): Promise<void> {
    const { label, sizeOnly } = item;
    const { out } = this.#session;
    const part = parts.get(item) ?? null;
    if (sizeOnly || part === null) {
      out.text(`${label} ${sizeOnly ? (part?.size ?? 0) : 'NIL'}`);
      return;
    }
    out.text(`${label} ${literalHeader(part.size, { binary: part.hasNul })}`);
    try {
      for await (const piece of part.pieces()) {
        out.bytes(piece);
        await out.breathe();
      }
    } catch (error) {
      this.#breakOff(error);
    }
  }

  /** Inside a literal there is no way to report an error: the connection ends. */
  async #more(source: BodySource, start: number, end: number): Promise<Buffer> {
    try {
      return await source.read(start, end);
    } catch (error) {
      return this.#breakOff(error);
    }
  }

  #breakOff(error: unknown): never {
    if (error instanceof ConnectionEnded) throw error;
    this.#session.services.log.warn({ reason: errorText(error) }, 'a body broke off while it was sent');
    this.#session.io.abort();
    throw new ConnectionEnded();
  }

  /** True when flags changed. */
  async #markSeen(uids: readonly number[]): Promise<boolean> {
    if (!this.#plan.setsSeen || this.#selected.readOnly) return false;
    const { listing, mailbox, tracker } = this.#selected;
    const unseen = uids.filter((uid) => {
      const at = listing.indexOf(uid);
      return at >= 0 && !hasFlag(listing.flags(at), '\\Seen');
    });
    if (unseen.length === 0) return false;
    try {
      await mailbox.store(unseen, 'add', ['\\Seen']);
    } catch (error) {
      // What was asked for is the text: a disk that takes nothing keeps nobody from reading.
      if (!isMergeboxError(error, 'overquota', 'unavailable')) throw error;
      return false;
    }
    // The response that follows tells it; of several, `poll` does.
    if (this.#positions.length === 1) tracker.know(unseen);
    return true;
  }

  #conclusion(): Reply {
    if (this.#unavailable > 0) {
      const count = `${this.#unavailable} of ${this.#positions.length} messages could not be read`;
      const code = this.#unknownEncoding ? 'UNKNOWN-CTE' : 'UNAVAILABLE';
      return no(formatText(`${count}: ${errorText(this.#firstError)}`), code);
    }
    // RFC 2180 §4.1, RFC 5530 §3; a UID that is gone is no error (RFC 9051 §6.4.9).
    if (this.#sent < this.#positions.length && !this.#call.uid) {
      return no('Some of the messages are expunged', 'EXPUNGEISSUED');
    }
    return ok('FETCH completed');
  }
}

/** RFC 8970 §3: LAZY is not repeated in the answer. */
function itemLabel(name: FetchAttribute): string {
  return name === 'PREVIEW (LAZY)' ? 'PREVIEW' : name;
}

/** The octets of a section of the stored header. */
function headerSection(section: SectionItem, header: Buffer): Buffer {
  return cut(section.filter === null ? header : section.filter.apply(header), section);
}

/** Metadata with nothing but UIDs, for a FETCH that only needs bodies. */
async function* bare(uids: readonly number[]): AsyncGenerator<readonly Metadata[]> {
  for (const uid of uids) yield [{ uid }];
}
