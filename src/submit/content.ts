import type { Readable } from 'node:stream';
import { headerEnd } from '../mail/header.js';
import { SUBMIT_LIMITS } from './limits.js';
import type { SpoolFile } from './queue/spool.js';
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
  readonly size: number;
  /** True when an octet above 127 is in it. */
  readonly eightBit: boolean;
  /** Its beginning, with the whole header. */
  readonly head: Buffer;
  /** The whole of a small one; null for one that is in the spool. */
  readonly bytes: Buffer | null;
  /** Where a large one is; written, not yet durable. */
  readonly file: SpoolFile | null;
}

export interface ContentOptions {
  /** Octets of the largest message. */
  readonly most: number;
  readonly budget: ContentBudget;
  readonly createFile: () => Promise<SpoolFile>;
}

/**
 * Reads the content of one message to its end and hands it to `use`; a large one goes to a file on the way, so that its
 * size costs no memory. Rejects with a refusal when it is larger than allowed, when it holds a bare CR, a bare LF or
 * NUL (RFC 5321 §2.3.8: they may not be sent, and two servers that read them differently can be made to see two
 * messages in one), or when the budget is used up. What is refused is still read to the end, so that the client sees
 * its answer; what goes on for ever is cut. The file that `use` gets is its own to keep or discard.
 */
export async function withContent<T>(
  stream: Readable,
  options: ContentOptions,
  use: (content: Content) => Promise<T>,
): Promise<T> {
  const intake = new Intake(options);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) await intake.take(chunk);
    return await use(intake.end());
  } catch (error) {
    await intake.discard();
    throw error;
  } finally {
    intake.release();
  }
}

class Intake {
  readonly #options: ContentOptions;
  readonly #scan = new OctetScan();
  #refusal: Refusal | Error | null = null;
  #size = 0;
  #held = 0;
  #chunks: Buffer[] = [];
  #file: SpoolFile | null = null;
  /** The beginning of a message in a file, once its header is complete. */
  #head: Buffer | null = null;
  /** Octets at which the header is looked for again; doubled, so that all looks together stay linear. */
  #nextLook = SUBMIT_LIMITS.inDatabase;

  constructor(options: ContentOptions) {
    this.#options = options;
  }

  async take(chunk: Buffer): Promise<void> {
    const { most } = this.#options;
    this.#size += chunk.length;
    if (this.#size > most * 2) throw new Refusal(421, '5.3.4', 'the message is far larger than allowed');
    if (this.#refusal !== null) return;
    this.#refusal =
      this.#size > most
        ? new Refusal(552, '5.3.4', `the message is larger than ${most} octets`)
        : this.#scan.look(chunk);
    if (this.#refusal === null) await this.#keep(chunk).catch((error: Error) => (this.#refusal = error));
    if (this.#refusal !== null) await this.discard();
  }

  end(): Content {
    this.#refusal ??= this.#scan.end();
    if (this.#refusal !== null) throw this.#refusal;
    const bytes = this.#file === null ? Buffer.concat(this.#chunks) : null;
    const head = bytes ?? this.#head ?? Buffer.concat(this.#chunks);
    this.#chunks = [];
    const file = this.#file;
    this.#file = null;
    return { size: this.#size, eightBit: this.#scan.eightBit, head, bytes, file };
  }

  async discard(): Promise<void> {
    this.#chunks = [];
    this.#head = null;
    const file = this.#file;
    this.#file = null;
    await file?.discard();
    this.release();
  }

  release(): void {
    this.#options.budget.give(this.#held);
    this.#held = 0;
  }

  async #keep(chunk: Buffer): Promise<void> {
    if (this.#head === null) this.#hold(chunk);
    if (this.#file !== null) await this.#file.write(chunk);
    else if (this.#size > SUBMIT_LIMITS.inDatabase) {
      this.#file = await this.#options.createFile();
      for (const each of this.#chunks) await this.#file.write(each);
    }
    if (this.#head === null && this.#held > this.#nextLook) this.#lookForHeader();
  }

  #hold(chunk: Buffer): void {
    if (!this.#options.budget.take(chunk.length)) {
      throw new Refusal(452, '4.3.1', 'too many messages at once; try again in a moment');
    }
    this.#held += chunk.length;
    this.#chunks.push(chunk);
  }

  #lookForHeader(): void {
    const start = Buffer.concat(this.#chunks);
    this.#chunks = [start];
    this.#nextLook *= 2;
    // A header that is too long is refused by whoever reads it.
    if (headerEnd(start) === start.length && start.length <= SUBMIT_LIMITS.headerBytes) return;
    this.#head = start;
    this.#chunks = [];
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
