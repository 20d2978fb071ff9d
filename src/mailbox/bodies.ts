import type { BodyCache, BodyFetch } from '../cache/body-cache.js';
import type { PinnedFiles } from '../cache/pinned-files.js';
import type { StoredBody } from '../cache/stored-body.js';
import { type BodyPlace, placesOf } from '../store/messages.js';
import type { Store } from '../store/store.js';
import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';

/** Fetches the bytes of one copy from its server. */
export type FetchCopy = (place: BodyPlace, sink: Parameters<BodyFetch>[0]) => Promise<void>;

/** The bytes of messages: pinned, cached, or from whichever server has them. */
export class Bodies {
  readonly #store: Store;
  readonly #cache: BodyCache;
  readonly #pinned: PinnedFiles;
  readonly #fetch: FetchCopy;

  constructor(store: Store, cache: BodyCache, pinned: PinnedFiles, fetch: FetchCopy) {
    this.#store = store;
    this.#cache = cache;
    this.#pinned = pinned;
    this.#fetch = fetch;
  }

  /** Throws `nonexistent` for a message that is known no more, `unavailable` when no server can give it now. */
  async load(messageId: number): Promise<StoredBody> {
    const key = String(messageId);
    const cached = await this.#cache.get(key);
    if (cached) return cached;
    const found = await this.#store.read((tx) => placesOf(tx, messageId));
    if (!found) throw new MergeboxError('nonexistent', 'the message was expunged');
    if (found.pinned) return this.#pinned.get(found.pinned);
    return this.#cache.getOrFetch(key, (sink) => this.#fetchAny(found.places, sink));
  }

  /** The whole message in memory. */
  async bytes(messageId: number): Promise<Buffer> {
    const body = await this.load(messageId);
    return body.read(0, body.size);
  }

  /** Resolves when what was fetched is on disk. */
  settle(): Promise<void> {
    return this.#cache.settle();
  }

  async #fetchAny(places: readonly BodyPlace[], sink: Parameters<BodyFetch>[0]): Promise<void> {
    const failures: string[] = [];
    let started = false;
    for (const place of places) {
      try {
        return await this.#fetch(place, {
          start: (size) => {
            started = true;
            sink.start(size);
          },
          chunk: sink.chunk,
        });
      } catch (error) {
        // Half a body is in the sink already: the next server's bytes must not be added to it.
        if (started || isMergeboxError(error, 'aborted')) throw error;
        failures.push(errorText(error));
      }
    }
    throw new MergeboxError('unavailable', `fetch message: ${failures.join('; ') || 'no server has it now'}`);
  }
}
