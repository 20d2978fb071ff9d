import type { AccountBook } from '../store/account-book.js';
import type { BodyPlace } from '../store/messages.js';
import { placeCopies } from '../store/place.js';
import { renewCopies } from '../store/renew.js';
import type { Store } from '../store/store.js';
import type { BodySink, Upstream, UpstreamMessage } from '../upstream/port.js';
import { isMergeboxError, MergeboxError } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { arrivalOf } from './pull.js';

interface Listed {
  /** The copy's row. */
  readonly id: number;
  readonly size: number;
  readonly header: Buffer;
}

/** Fetches bodies, and notices when they are not those of the mail that was listed under the UID. */
export class CheckedBodies {
  readonly #store: Store;
  readonly #book: AccountBook;
  readonly #dedupe: 'content' | 'messageId' | 'off';
  readonly #log: Log;
  /** Accounts whose server lists other sizes or headers than it gives, always the same: no sign of a change there. */
  readonly #inexact = new Set<number>();

  constructor(parts: {
    store: Store;
    book: AccountBook;
    dedupe: 'content' | 'messageId' | 'off';
    log: Log;
  }) {
    this.#store = parts.store;
    this.#book = parts.book;
    this.#dedupe = parts.dedupe;
    this.#log = parts.log;
  }

  /**
   * The bytes of one copy. Where the mail under its UID is another one than before, the copy gets new UIDs with clients
   * (what stands under a UID never changes) and `nonexistent` is thrown, as of a mail that is gone.
   */
  async fetch(upstream: Upstream, place: BodyPlace, sink: BodySink, priority?: 'background'): Promise<void> {
    const ref = { path: place.path, uidValidity: place.uidValidity };
    const listed = this.#inexact.has(place.accountId) ? undefined : await this.#listed(place);
    if (listed === undefined || listed.header.length === 0) {
      return upstream.fetchBody(ref, place.uid, sink, priority);
    }
    const check = new HeaderCheck(listed, sink);
    await upstream.fetchBody(ref, place.uid, check, priority).catch((error: unknown) => {
      if (!check.failed || isMergeboxError(error, 'aborted')) throw error;
    });
    if (check.passed) return;
    const now = await listAgain(upstream, place);
    if (now === null) throw gone(place);
    if (now.size === listed.size && now.header.equals(listed.header)) {
      this.#inexact.add(place.accountId);
      return upstream.fetchBody(ref, place.uid, sink, priority);
    }
    this.#log.warn({ folder: place.path, uid: place.uid }, 'the server shows another mail under a known UID');
    await this.#store.write(async (tx) => {
      await renewCopies(tx, this.#book, [{ id: listed.id, arrival: arrivalOf(this.#dedupe, now) }]);
      const state = await tx.get<{ state: string }>('SELECT state FROM copy WHERE id = ?', [listed.id]);
      if (state?.state === 'live') await placeCopies(tx, this.#book, [listed.id]);
    });
    throw gone(place);
  }

  #listed({ accountId, path, uid, uidValidity }: BodyPlace): Promise<Listed | undefined> {
    return this.#store.read((tx) =>
      tx.get<Listed>(
        `SELECT copy.id, copy.size, metadata.header FROM copy JOIN folder ON folder.id = copy.folder_id
         JOIN metadata ON metadata.id = copy.message_id
         WHERE folder.account_id = ? AND folder.path = ? AND folder.uid_validity = ? AND copy.uid = ?`,
        [accountId, path, uidValidity, uid],
      ),
    );
  }
}

/** Lets a body through once its size and header are those that were listed. */
class HeaderCheck implements BodySink {
  readonly #listed: Listed;
  readonly #sink: BodySink;
  #size = 0;
  #head: Buffer[] = [];
  #octets = 0;
  passed = false;
  failed = false;

  constructor(listed: Listed, sink: BodySink) {
    this.#listed = listed;
    this.#sink = sink;
  }

  start(size: number): void {
    this.#size = size;
    this.failed = size !== this.#listed.size || size < this.#listed.header.length;
  }

  chunk(bytes: Buffer): void | Promise<void> {
    if (this.passed) return this.#sink.chunk(bytes);
    this.#head.push(bytes);
    this.#octets += bytes.length;
    const { header } = this.#listed;
    if (!this.failed && this.#octets < header.length) return;
    const head = Buffer.concat(this.#head);
    this.#head = [];
    this.failed ||= !head.subarray(0, header.length).equals(header);
    if (this.failed) throw new MergeboxError('unavailable', 'fetch message: it is not the one that was listed');
    this.passed = true;
    this.#sink.start(this.#size);
    return this.#sink.chunk(head);
  }
}

/** What the server tells of the UID now; null when there is nothing. */
async function listAgain(upstream: Upstream, { path, uid, uidValidity }: BodyPlace): Promise<UpstreamMessage | null> {
  return upstream.read(path, null, async (reader) => {
    if (reader.state.uidValidity !== uidValidity) return null;
    const found: UpstreamMessage[] = [];
    await reader.messages([uid], async (page) => {
      found.push(...page);
    });
    return found[0] ?? null;
  });
}

function gone({ path, uid }: BodyPlace): MergeboxError {
  return new MergeboxError('nonexistent', `fetch message ${uid} from ${path}: it does not exist any more`);
}
