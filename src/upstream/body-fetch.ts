import { MergeboxError } from '../util/errors.js';
import { contentRange, type FetchItems, fetchLiteral } from '../wire/response-fetch.js';
import type { LiteralSink } from '../wire/response-framer.js';
import { stringContent } from '../wire/response-scan.js';
import { abortedError } from './errors.js';
import { saysExpunged } from './folder-reader.js';
import type { BodySink, FolderRef, PartWanted } from './port.js';
import type { CommandHandler, ReaderConnection } from './reader-connection.js';
import type { ReaderSession } from './reader-session.js';

/** A body of which the reader does not want the rest is read to its end up to this size; else the line is cut. */
const READ_OUT = 1_048_576;

/** Streams one message from the session into `sink`. Throws `nonexistent` or `uidvalidity`, or what the sink throws. */
export async function fetchBody(session: ReaderSession, ref: FolderRef, uid: number, sink: BodySink): Promise<void> {
  await session.ensure(ref);
  if (await fetchOnce(session, ref, uid, sink)) return;
  // A message that has arrived since the folder was opened is not known in this session until the server syncs it.
  await session.connection.run(`look for arrivals in ${ref.path}`, 'NOOP');
  if (await fetchOnce(session, ref, uid, sink)) return;
  throw new MergeboxError('nonexistent', `fetch message ${uid} from ${ref.path}: it does not exist any more`);
}

async function fetchOnce(session: ReaderSession, ref: FolderRef, uid: number, sink: BodySink): Promise<boolean> {
  const transfer = new BodyTransfer(session.connection, uid, sink);
  try {
    await session.connection.run(
      `fetch message ${uid} from ${ref.path}`,
      `UID FETCH ${uid} (UID BODY.PEEK[])`,
      transfer,
    );
  } catch (error) {
    if (transfer.failure !== null) throw transfer.failure.error;
    if (saysExpunged(error)) return false;
    throw error;
  }
  await transfer.drained();
  if (transfer.failure !== null) throw transfer.failure.error;
  return transfer.done;
}

/**
 * A range of a section; shorter where the section ends. Null when the server has no such section, gives more than was
 * asked for, or has another message there now.
 */
export async function fetchPart(
  session: ReaderSession,
  ref: FolderRef,
  uid: number,
  { section, start, count, size, header }: PartWanted,
): Promise<Buffer | null> {
  await session.ensure(ref);
  const chunks: Buffer[] = [];
  let octets = 0;
  const transfer = new PartTransfer(session.connection, uid, {
    start: (announced) => {
      if (announced > count) throw new MergeboxError('protocol', `the server sends ${announced} of ${count} octets`);
    },
    chunk: (bytes) => {
      octets += bytes.length;
      chunks.push(Buffer.from(bytes));
    },
  });
  const item = `BODY.PEEK[${section}]<${start}.${count}>`;
  // The header shows whether it is still the mail that was listed; it comes first, so that a literal behind it is known.
  const items = `UID RFC822.SIZE BODY.PEEK[HEADER] ${item}`;
  await session.connection.run(`fetch ${section} of ${uid}`, `UID FETCH ${uid} (${items})`, transfer);
  await transfer.drained();
  const same = transfer.size === size && transfer.header?.equals(header) === true;
  const whole = transfer.failure === null && transfer.done && same && octets <= count;
  return whole ? Buffer.concat(chunks) : null;
}

/** Hands a body on as it comes, and holds the server back while the sink is busy. */
class BodyTransfer implements CommandHandler {
  readonly #connection: ReaderConnection;
  readonly #uid: number;
  readonly #sink: BodySink;
  #streamed = false;
  #left = 0;
  #pending: Promise<void> = Promise.resolve();
  /** What the sink threw. */
  failure: { readonly error: unknown } | null = null;
  done = false;

  constructor(connection: ReaderConnection, uid: number, sink: BodySink) {
    this.#connection = connection;
    this.#uid = uid;
    this.#sink = sink;
  }

  /** Resolves when the sink has taken everything. */
  drained(): Promise<void> {
    return this.#pending;
  }

  fetch(bytes: Buffer, items: FetchItems): boolean {
    if (items.bodyStart === -1) return false;
    if (items.uid !== this.#uid) {
      if (this.#streamed) throw new MergeboxError('protocol', `the server sent message ${items.uid}, not ${this.#uid}`);
      return false;
    }
    if (!this.#streamed) this.#whole(bytes, items.bodyStart, items.bodyEnd);
    else this.done = true;
    return true;
  }

  literal(bytes: Buffer, start: number, end: number, size: number): LiteralSink | null {
    const { uid, item } = fetchLiteral(bytes, start, end);
    if (item !== 'body' || (uid !== -1 && uid !== this.#uid) || this.#streamed || this.done) return null;
    this.#streamed = true;
    this.#left = size;
    this.#guard(() => this.#sink.start(size));
    return { chunk: (chunk) => this.#chunk(chunk) };
  }

  #whole(bytes: Buffer, start: number, end: number): void {
    if (this.done) return;
    // NIL: the message went away while it was looked up.
    const content = bytes[start] === 34 ? stringContent(bytes, start, end) : literalCopy(bytes, start, end);
    if (content === null) return;
    this.done = true;
    this.#guard(() => this.#sink.start(content.length));
    if (content.length > 0) this.#chunk(content);
  }

  #chunk(chunk: Buffer): void {
    this.#left -= chunk.length;
    this.#guard(() => this.#sink.chunk(chunk));
    if (this.failure !== null && this.#left > READ_OUT) {
      this.#connection.close(abortedError(`fetch message ${this.#uid}`));
    }
  }

  #guard(call: () => void | Promise<void>): void {
    if (this.failure !== null) return;
    try {
      const busy = call();
      if (!(busy instanceof Promise)) return;
      const settled = busy.catch((error: unknown) => {
        this.failure ??= { error };
      });
      this.#pending = Promise.all([this.#pending, settled]).then(() => undefined);
      this.#connection.hold(settled);
    } catch (error) {
      this.failure = { error };
    }
  }
}

/** Notes the size and the header of the whole message beside the part; a header that is streamed is too large. */
class PartTransfer extends BodyTransfer {
  size = -1;
  header: Buffer | null = null;

  override fetch(bytes: Buffer, items: FetchItems): boolean {
    if (items.size !== -1) this.size = items.size;
    if (items.headerStart !== -1) this.header = literalCopy(bytes, items.headerStart, items.headerEnd);
    return super.fetch(bytes, items);
  }
}

function literalCopy(bytes: Buffer, start: number, end: number): Buffer | null {
  const range = contentRange(bytes, start, end);
  return range === null ? null : Buffer.from(bytes.subarray(range[0], range[1]));
}
