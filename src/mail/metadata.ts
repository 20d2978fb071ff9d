import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { bodyStructureWire } from './body-structure.js';
import { envelopeWire } from './envelope.js';
import { type DedupePolicy, mergeKey, messageKeys } from './identity.js';
import { MimeParser } from './mime.js';
import type { MimePart } from './mime-part.js';

/** What is derived from the bytes of a mail that is at hand: one that a client appends, or POP3 mail. */
export interface MailMetadata {
  /** What Mergebox keeps of every mail. */
  readonly message: {
    readonly messageId: string | null;
    /** Recognises the mail again within an account. */
    readonly matchKey: string;
    /** Equal for copies in different accounts that are one message; null: never merged. */
    readonly mergeKey: string | null;
    /** Octets of the whole mail. */
    readonly size: number;
    /** `(…)` of ENVELOPE and BODYSTRUCTURE, ready to send. */
    readonly envelope: Buffer;
    readonly structure: Buffer;
    /** Up to and including the blank line; a view on the mail's bytes. */
    readonly header: Buffer;
  };
  /** SHA-256 (hex) over all bytes, and over those behind the header. */
  readonly sha256: string;
  readonly bodyHash: string;
  readonly root: MimePart;
}

/** Octets read or hashed between two turns of the event loop; a few milliseconds. */
const SLICE_OCTETS = 2 << 20;

/** Reads everything at once; for mails of many megabytes use `deriveLargeMetadata`. */
export function deriveMetadata(bytes: Buffer, dedupe: DedupePolicy): MailMetadata {
  const steps = derive(bytes, dedupe);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** As `deriveMetadata`, and lets others run in between. */
export async function deriveLargeMetadata(bytes: Buffer, dedupe: DedupePolicy): Promise<MailMetadata> {
  const steps = derive(bytes, dedupe);
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await nextTurn();
  }
}

function* derive(bytes: Buffer, dedupe: DedupePolicy): Generator<void, MailMetadata, void> {
  const parser = new MimeParser(bytes);
  while (!parser.run(SLICE_OCTETS)) yield;
  const { root } = parser;
  const [whole, body] = [createHash('sha256'), createHash('sha256')];
  for (let at = 0; at < bytes.length; at += SLICE_OCTETS) {
    const end = at + SLICE_OCTETS;
    whole.update(bytes.subarray(at, end));
    body.update(bytes.subarray(Math.max(at, root.bodyStart), end));
    yield;
  }
  const header = bytes.subarray(0, root.bodyStart);
  const structure = bodyStructureWire(bytes, root);
  const keys = messageKeys(header, structure);
  const bodyHash = body.digest('hex');
  return {
    message: {
      messageId: keys.messageId,
      matchKey: keys.matchKey,
      mergeKey: mergeKey(keys, dedupe, bodyHash),
      size: bytes.length,
      envelope: envelopeWire(header),
      structure,
      header,
    },
    sha256: whole.digest('hex'),
    bodyHash,
    root,
  };
}
