const LF = 0x0a;

/**
 * Cuts a stream of octets into IMAP responses: lines, where a line that ends in `{n}` goes on with n octets and
 * another line (RFC 9051 §4.3). Each is given to `onResponse` as latin1 without its last CRLF.
 */
export class ResponseSplitter {
  readonly #onResponse: (response: string) => void;
  #chunks: Buffer[] = [];
  /** Octets of the present literal still to come. */
  #literal = 0;

  constructor(onResponse: (response: string) => void) {
    this.#onResponse = onResponse;
  }

  push(chunk: Buffer): void {
    let start = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#literal > 0) {
        const step = Math.min(this.#literal, chunk.length - at);
        this.#literal -= step;
        at += step;
        continue;
      }
      const end = chunk.indexOf(LF, at);
      if (end < 0) break;
      at = end + 1;
      const literal = this.#literalSize(chunk, start, end);
      if (literal !== null) {
        this.#literal = literal;
        continue;
      }
      this.#chunks.push(chunk.subarray(start, at));
      const response = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks);
      this.#chunks = [];
      start = at;
      this.#onResponse(response.toString('latin1', 0, response.length - (response.at(-2) === 0x0d ? 2 : 1)));
    }
    if (start < chunk.length) this.#chunks.push(Buffer.from(chunk.subarray(start)));
  }

  /** The size of the literal that the line ending at `end` announces, or null when the response ends there. */
  #literalSize(chunk: Buffer, start: number, end: number): number | null {
    const tail = chunk.subarray(Math.max(start, end - 16), end);
    const text = tail.length >= 16 ? tail : Buffer.concat([...this.#chunks, chunk.subarray(start, end)]).subarray(-16);
    const match = /\{(\d+)\}\r?$/.exec(text.toString('latin1'));
    return match === null ? null : Number(match[1]);
  }
}
