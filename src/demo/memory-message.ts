import { bodyStructureWire } from '../mail/body-structure.js';
import { envelopeWire } from '../mail/envelope.js';
import { headerEnd } from '../mail/header.js';
import { parseMime } from '../mail/mime.js';

let nextId = 1;

/** The bytes of one mail and, computed when first asked for, what IMAP tells of it. */
export class MemoryMessage {
  readonly id = nextId++;
  readonly bytes: Buffer;
  #envelope: Buffer | null = null;
  #structure: Buffer | null = null;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get header(): Buffer {
    return this.bytes.subarray(0, headerEnd(this.bytes));
  }

  get envelope(): Buffer {
    this.#envelope ??= envelopeWire(this.header);
    return this.#envelope;
  }

  get structure(): Buffer {
    this.#structure ??= bodyStructureWire(this.bytes, parseMime(this.bytes));
    return this.#structure;
  }
}
