const BLOCK = 65_536;
/** Larger pieces get memory of their own. */
const LARGE = 16_384;

/** Copies small pieces next to each other, so that what is kept of a page does not hold on to socket buffers. */
export class Arena {
  #block: Buffer | null = null;
  #used = 0;
  /** Octets copied so far. */
  size = 0;

  copy(bytes: Buffer, start: number, end: number): Buffer {
    const length = end - start;
    this.size += length;
    if (length > LARGE) {
      const own = Buffer.allocUnsafeSlow(length);
      bytes.copy(own, 0, start, end);
      return own;
    }
    if (this.#block === null || this.#used + length > BLOCK) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK);
      this.#used = 0;
    }
    const at = this.#used;
    bytes.copy(this.#block, at, start, end);
    this.#used = at + length;
    return this.#block.subarray(at, at + length);
  }
}
