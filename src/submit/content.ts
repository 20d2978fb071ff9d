import type { Readable } from 'node:stream';
import { Refusal } from './reply.js';

/** Octets of messages that are in memory for all clients together. */
export class ContentBudget {
  readonly #most: number;
  #used = 0;

  constructor(most: number) {
    this.#most = most;
  }

  /** False when there is no room for so many more; then nothing is taken. */
  take(octets: number): boolean {
    if (this.#used + octets > this.#most) return false;
    this.#used += octets;
    return true;
  }

  give(octets: number): void {
    this.#used -= octets;
  }
}

export interface Content {
  readonly bytes: Buffer;
  /** True when an octet above 127 is in it. */
  readonly eightBit: boolean;
}

/**
 * Reads the content of one message to its end and hands it to `use`. Rejects with a refusal when it is larger than
 * `most` octets, when it holds a bare CR, a bare LF or NUL (RFC 5321 §2.3.8: they may not be sent, and two servers that
 * read them differently can be made to see two messages in one), or when the budget is used up. What is refused is
 * still read to the end, so that the client sees its answer; what goes on for ever is cut.
 */
export async function withContent<T>(
  stream: Readable,
  most: number,
  budget: ContentBudget,
  use: (content: Content) => Promise<T>,
): Promise<T> {
  const chunks: Buffer[] = [];
  const scan = new OctetScan();
  let size = 0;
  let held = 0;
  let refusal: Refusal | null = null;
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > most * 2) throw new Refusal(421, '5.3.4', 'the message is far larger than allowed');
      if (refusal !== null) continue;
      refusal = size > most ? new Refusal(552, '5.3.4', `the message is larger than ${most} octets`) : scan.look(chunk);
      if (refusal === null && !budget.take(chunk.length)) {
        refusal = new Refusal(452, '4.3.1', 'too many messages at once; try again in a moment');
      }
      if (refusal !== null) chunks.length = 0;
      else {
        chunks.push(chunk);
        held += chunk.length;
      }
    }
    refusal ??= scan.end();
    if (refusal !== null) throw refusal;
    const bytes = Buffer.concat(chunks, size);
    // The pieces would otherwise stay in memory beside the whole for as long as the upstream server takes.
    chunks.length = 0;
    return await use({ bytes, eightBit: scan.eightBit });
  } finally {
    budget.give(held);
  }
}

/** Looks at every octet once. */
class OctetScan {
  eightBit = false;
  #afterCr = false;

  look(chunk: Buffer): Refusal | null {
    for (const byte of chunk) {
      if (byte === 10) {
        if (!this.#afterCr) return refused('a line feed without carriage return');
        this.#afterCr = false;
        continue;
      }
      if (this.#afterCr) return refused('a carriage return without line feed');
      if (byte === 13) this.#afterCr = true;
      else if (byte === 0) return refused('a NUL octet');
      else if (byte > 127) this.eightBit = true;
    }
    return null;
  }

  end(): Refusal | null {
    return this.#afterCr ? refused('a carriage return without line feed') : null;
  }
}

function refused(what: string): Refusal {
  return new Refusal(554, '5.6.11', `the message holds ${what}, which may not be sent (RFC 5321 section 2.3.8)`);
}
