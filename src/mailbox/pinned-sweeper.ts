import type { PinnedFiles } from '../cache/pinned-files.js';
import { pinnedFiles } from '../store/messages.js';
import type { Store } from '../store/store.js';

/** How often all pinned files are looked at, and how soon those whose mail has reached its server, milliseconds. */
const ALL_MS = 600_000;
const SOON_MS = 500;

/**
 * Removes pinned files that nothing refers to any more: those of uploaded mail soon, so that a lost database brings back
 * little that was done; whatever else a crash or a failure left now and then.
 */
export class PinnedSweeper {
  readonly #pinned: PinnedFiles;
  readonly #store: Store;
  readonly #released = new Set<string>();
  readonly #regular: NodeJS.Timeout;
  #soon: NodeJS.Timeout | null = null;

  constructor(pinned: PinnedFiles, store: Store) {
    this.#pinned = pinned;
    this.#store = store;
    this.#regular = setInterval(() => void this.#sweep(), ALL_MS);
    this.#regular.unref();
  }

  /** A mail whose bytes have this SHA-256 (hex) needs its file no longer. */
  release(sha256: string): void {
    this.#released.add(sha256);
    this.#soon ??= setTimeout(() => void this.#sweepReleased(), SOON_MS);
    this.#soon.unref();
  }

  async close(): Promise<void> {
    clearInterval(this.#regular);
    await this.#sweepReleased();
  }

  async #sweepReleased(): Promise<void> {
    if (this.#soon !== null) clearTimeout(this.#soon);
    this.#soon = null;
    const names = new Set(this.#released);
    this.#released.clear();
    if (names.size > 0) await this.#sweep(names);
  }

  async #sweep(only?: ReadonlySet<string>): Promise<void> {
    // A failed sweep leaves files behind; the next one takes them.
    await this.#pinned.sweep((names) => this.#store.read((tx) => pinnedFiles(tx, names)), only).catch(() => undefined);
  }
}
