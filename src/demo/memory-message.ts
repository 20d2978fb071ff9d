import { hash } from 'node:crypto';
import { bodyStructureWire } from '../mail/body-structure.js';
import { envelopeWire } from '../mail/envelope.js';
import { headerEnd } from '../mail/header.js';
import { threadReferences } from '../mail/message-ids.js';
import { parseMime } from '../mail/mime.js';

let nextId = 1;

/** The bytes of one mail and, computed when first asked for, what IMAP tells of it. */
export class MemoryMessage {
  readonly id = nextId++;
  readonly bytes: Buffer;
  #header: Buffer | null = null;
  #envelope: Buffer | null = null;
  #structure: Buffer | null = null;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get header(): Buffer {
    this.#header ??= this.bytes.subarray(0, headerEnd(this.bytes));
    return this.#header;
  }

  /** Equal for equal octets (RFC 8474). */
  get emailId(): string {
    return `M${hash('sha1', this.bytes, 'hex')}`;
  }

  get threadId(): string | null {
    const root = threadReferences(this.header)[0];
    return root === undefined ? null : `T${root}`;
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
