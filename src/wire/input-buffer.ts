const EMPTY: Buffer = Buffer.alloc(0);
const MIN_CAPACITY = 4_096;

/**
 * A queue of octets in one piece of memory. A chunk that comes while nothing is queued is used as it is; otherwise
 * octets are copied to space that grows by doubling, so each one is copied a constant number of times on average.
 */
export class InputBuffer {
  #bytes: Buffer = EMPTY;
  #start = 0;
  #end = 0;
  /** False while `#bytes` is the caller's chunk, behind whose end nothing may be written. */
  #owned = false;

  get length(): number {
    return this.#end - this.#start;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    if (this.#start === this.#end) {
      this.#bytes = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#owned = false;
      return;
    }
    this.#reserve(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Offset of the first such octet at or after `from`, or -1. */
  indexOf(byte: number, from: number): number {
    const found = this.#bytes.subarray(this.#start + from, this.#end).indexOf(byte);
    return found === -1 ? -1 : found + from;
  }

  /** All queued octets; valid until the next `push`. */
  view(): Buffer {
    return this.#bytes.subarray(this.#start, this.#end);
  }

  /** Removes and returns the first `count` octets; valid until the next `push`. */
  take(count: number): Buffer {
    const taken = this.#bytes.subarray(this.#start, this.#start + count);
    this.#start += count;
    return taken;
  }

  /** Removes up to `count` octets and returns how many; none for a count below 1. */
  drop(count: number): number {
    const dropped = Math.max(0, Math.min(count, this.length));
    this.#start += dropped;
    if (this.#start === this.#end) this.clear();
    return dropped;
  }

  /** Moves octets to `target` from `offset` until it is full or nothing is left; returns how many. */
  copyTo(target: Buffer, offset: number): number {
    const copied = this.#bytes.copy(
      target,
      offset,
      this.#start,
      Math.min(this.#end, this.#start + target.length - offset),
    );
    this.drop(copied);
    return copied;
  }

  clear(): void {
    this.#bytes = EMPTY;
    this.#start = 0;
    this.#end = 0;
    this.#owned = false;
  }

  /** Makes room for `count` octets behind the queued ones. */
  #reserve(count: number): void {
    if (this.#owned && this.#end + count <= this.#bytes.length) return;
    const used = this.length;
    if (this.#owned && used + count <= this.#bytes.length / 2) {
      this.#bytes.copyWithin(0, this.#start, this.#end);
    } else {
      const larger = Buffer.allocUnsafeSlow(Math.max(MIN_CAPACITY, 2 * (used + count)));
      this.#bytes.copy(larger, 0, this.#start, this.#end);
      this.#bytes = larger;
      this.#owned = true;
    }
    this.#start = 0;
    this.#end = used;
  }
}
