import type { Listing } from '../mail/listing.js';
import type { SortKey } from '../wire/sort.js';

export type SortValue = string | number;

/** Characters of the values that are kept for one mailbox; more are worked out again by each command. */
const MAX_KEPT = 8_000_000;

/**
 * What SORT made of the headers of a mailbox, by key and UID. What is behind a UID never changes, so a value stays true
 * as long as the listing is loaded.
 */
export class SortCache {
  static readonly #caches = new WeakMap<Listing, SortCache>();
  readonly #listing: Listing;
  readonly #values = new Map<SortKey, Map<number, SortValue>>();

  private constructor(listing: Listing) {
    this.#listing = listing;
  }

  static of(listing: Listing): SortCache {
    let cache = SortCache.#caches.get(listing);
    if (cache === undefined) {
      cache = new SortCache(listing);
      SortCache.#caches.set(listing, cache);
    }
    return cache;
  }

  /** The values of a key, to be added to. */
  values(key: SortKey): Map<number, SortValue> {
    let values = this.#values.get(key);
    if (values === undefined || values.size > this.#listing.length * 2 + 1_000) {
      values = new Map();
      this.#values.set(key, values);
    }
    return values;
  }

  /** Forgets keys, the largest first, until the rest is little enough. */
  trim(): void {
    const weights = [...this.#values].map(([key, values]) => ({ key, weight: weightOf(values) }));
    let total = weights.reduce((sum, { weight }) => sum + weight, 0);
    for (const { key, weight } of weights.sort((a, b) => b.weight - a.weight)) {
      if (total <= MAX_KEPT) return;
      this.#values.delete(key);
      total -= weight;
    }
  }
}

function weightOf(values: ReadonlyMap<number, SortValue>): number {
  let weight = 0;
  for (const value of values.values()) weight += typeof value === 'string' ? value.length + 16 : 8;
  return weight;
}
