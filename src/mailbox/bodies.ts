import { setTimeout as delay } from 'node:timers/promises';
import type { BodyCache, BodyFetch } from '../cache/body-cache.js';
import type { PinnedFiles } from '../cache/pinned-files.js';
import type { StoredBody } from '../cache/stored-body.js';
import { type BodyPlace, placesOf } from '../store/messages.js';
import { metadataOf } from '../store/metadata.js';
import type { Store } from '../store/store.js';
import { correctSize } from '../store/true-size.js';
import { errorText, isMergeboxError, MergeboxError } from '../util/errors.js';

/** Fetches the bytes of one copy from its server. */
export type FetchCopy = (place: BodyPlace, sink: Parameters<BodyFetch>[0]) => Promise<void>;

/** A range of a section from a copy's server; null when it cannot give just that. */
export type FetchPart = (
  place: BodyPlace,
  wanted: {
    readonly section: string;
    readonly start: number;
    readonly count: number;
    /** As the mail was listed. */
    readonly size: number;
    readonly header: Buffer;
  },
) => Promise<Buffer | null>;

/** Smaller mails are fetched whole. */
const MIN_PARTED = 1 << 20;
/** Octets taken of one mail in parts until the rest is worth having, and what each part counts for besides its own. */
const MAX_PARTS = 4 << 20;
const PART_COST = 1 << 16;
/** Mails of which the parts are counted. */
const REMEMBERED = 1_000;

/** How often a mail that is on its way from one folder to another is looked for, and the pause between, ms. */
const TRIES = 5;
const PAUSE_MS = 50;

/** The bytes of messages: pinned, cached, or from whichever server has them. */
export class Bodies {
  readonly #store: Store;
  readonly #cache: BodyCache;
  readonly #pinned: PinnedFiles;
  readonly #fetch: FetchCopy;
  readonly #fetchPart: FetchPart | null;
  readonly #spent = new Map<number, number>();

  constructor(
    store: Store,
    cache: BodyCache,
    pinned: PinnedFiles,
    fetch: FetchCopy,
    fetchPart: FetchPart | null = null,
  ) {
    this.#fetchPart = fetchPart;
    this.#store = store;
    this.#cache = cache;
    this.#pinned = pinned;
    this.#fetch = fetch;
  }

  /** Throws `nonexistent` for a message that is known no more, `unavailable` when no server can give it now. */
  async load(messageId: number): Promise<StoredBody> {
    const key = String(messageId);
    const cached = await this.#cache.get(key);
    if (cached) return this.#lasting(messageId, cached);
    const found = await this.#store.read((tx) => placesOf(tx, messageId));
    if (!found) throw new MergeboxError('nonexistent', 'the message was expunged');
    const pinned = found.pinned === null ? null : await this.#intact(found.pinned, found.places.length > 0);
    if (pinned) return pinned;
    const fetched = await this.#cache.getOrFetch(key, (sink) => this.#fetchMoving(messageId, found.places, sink));
    if (fetched.size !== found.size) await this.#correctSize(messageId, fetched.size);
    return this.#lasting(messageId, fetched);
  }

  /** Reading goes on where that cannot be written, on a full disk for instance. */
  async #correctSize(messageId: number, size: number): Promise<void> {
    await this.#store.write((tx) => correctSize(tx, messageId, size)).catch(() => undefined);
  }

  /** As `load`, but null instead of asking a server. */
  async atHand(messageId: number): Promise<StoredBody | null> {
    const cached = await this.#cache.get(String(messageId));
    if (cached) return this.#lasting(messageId, cached);
    const found = await this.#store.read((tx) => placesOf(tx, messageId));
    return found?.pinned ? this.#pinned.get(found.pinned) : null;
  }

  /** A pinned file that is damaged is no end as long as a server may still have the mail. */
  #intact(sha256: string, elsewhere: boolean): Promise<StoredBody | null> {
    return this.#pinned.get(sha256).catch((error: unknown) => {
      if (!elsewhere) throw error;
      return null;
    });
  }

  /** A body whose file is evicted while somebody reads it is fetched again. */
  #lasting(messageId: number, body: StoredBody): StoredBody {
    return {
      size: body.size,
      read: (start, end) =>
        body.read(start, end).catch(async (error: NodeJS.ErrnoException) => {
          if (error.code !== 'ENOENT') throw error;
          return (await this.load(messageId)).read(start, end);
        }),
    };
  }

  /**
   * A range of a section straight from a server, for a large mail that is not at hand; null when the whole is to be had
   * instead, also because so much of it was asked for already that it will be.
   */
  async part(messageId: number, section: string, start: number, count: number): Promise<Buffer | null> {
    const spent = this.#spent.get(messageId) ?? 0;
    if (this.#fetchPart === null || spent + count > MAX_PARTS || (await this.atHand(messageId)) !== null) return null;
    const found = await this.#store.read((tx) => placesOf(tx, messageId));
    if (!found || found.size < MIN_PARTED) return null;
    const header = (await this.#store.read((tx) => metadataOf(tx, [messageId], { header: true }))).get(
      messageId,
    )?.header;
    if (header === undefined) return null;
    for (const place of found.places) {
      const wanted = { section, start, count, size: found.size, header };
      const bytes = await this.#fetchPart(place, wanted).catch(() => null);
      if (bytes === null) continue;
      this.#spent.delete(messageId);
      this.#spent.set(messageId, spent + bytes.length + PART_COST);
      if (this.#spent.size > REMEMBERED) this.#spent.delete(this.#spent.keys().next().value!);
      return bytes;
    }
    return null;
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

  /** A mail that a MOVE has taken from where we knew it is known at its new place in a moment. */
  async #fetchMoving(messageId: number, known: readonly BodyPlace[], sink: Parameters<BodyFetch>[0]): Promise<void> {
    let places = known;
    for (let attempt = 1; ; attempt += 1) {
      const failures = await this.#fetchAny(places, sink);
      if (failures === null) return;
      const gone = failures.length > 0 && failures.every((error) => isMergeboxError(error, 'nonexistent'));
      if (!gone || attempt === TRIES) {
        const texts = failures.map(errorText).join('; ') || 'no server has it now';
        throw new MergeboxError('unavailable', `fetch message: ${texts}`);
      }
      await delay(PAUSE_MS * attempt);
      places = (await this.#store.read((tx) => placesOf(tx, messageId)))?.places ?? [];
    }
  }

  /** Null when one of the places had the mail, else why none had. */
  async #fetchAny(places: readonly BodyPlace[], sink: Parameters<BodyFetch>[0]): Promise<unknown[] | null> {
    const failures: unknown[] = [];
    let started = false;
    for (const place of places) {
      try {
        await this.#fetch(place, {
          start: (size) => {
            started = true;
            sink.start(size);
          },
          chunk: sink.chunk,
        });
        return null;
      } catch (error) {
        // Half a body is in the sink already: the next server's bytes must not be added to it.
        if (started || isMergeboxError(error, 'aborted')) throw error;
        failures.push(error);
      }
    }
    return failures;
  }
}
