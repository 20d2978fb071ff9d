import { setImmediate as nextTurn } from 'node:timers/promises';
import { bodyStructureWire } from '../../mail/body-structure.js';
import { fieldValue } from '../../mail/header.js';
import { parseMessageDate } from '../../mail/header-date.js';
import { messageKeys } from '../../mail/identity.js';
import { parseMime } from '../../mail/mime.js';
import { MailSkeleton } from '../../mail/skeleton.js';
import type { KeptLease, KeptMail, KeptWriter } from '../local-parts.js';
import type { UpstreamMessage } from '../port.js';
import { MAX_HEADER, WHOLE_MAIL } from './limits.js';

/** Octets of a kept mail that are looked at between two turns of the event loop. */
const STEP = 1 << 16;

/** What is known of a mail once it is kept. */
export interface Taken {
  readonly message: Omit<UpstreamMessage, 'uid' | 'flags'> & { readonly content: string };
  readonly headerKey: string;
  readonly matchKey: string;
}

/** Takes one mail as it comes from the server: a small one whole, a large one to disk. */
export class MailIntake {
  readonly #lease: KeptLease;
  #parts: Buffer[] = [];
  #size = 0;
  #large: { writer: KeptWriter; skeleton: MailSkeleton } | null = null;
  #busy: Promise<void> = Promise.resolve();

  constructor(lease: KeptLease) {
    this.#lease = lease;
  }

  /** A promise asks for patience. */
  take(bytes: Buffer): void | Promise<void> {
    this.#size += bytes.length;
    this.#parts.push(bytes);
    if (this.#size <= WHOLE_MAIL) return;
    const spilt = this.#busy.then(() => this.#spill());
    this.#busy = spilt;
    return spilt;
  }

  /** Makes the mail durable but for its directory. */
  async finish(): Promise<Taken> {
    await this.#busy;
    if (this.#large === null) {
      const bytes = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      const root = parseMime(bytes);
      const header = bytes.subarray(0, root.bodyStart);
      return taken(header, bodyStructureWire(bytes, root), bytes.length, await this.#lease.add(bytes));
    }
    const { writer, skeleton } = this.#large;
    await this.#spill();
    this.#large = null;
    const structure = skeleton.structure();
    return taken(skeleton.header, structure, skeleton.size, await writer.commit());
  }

  /** Leaves nothing of a mail that did not come to its end. */
  async discard(): Promise<void> {
    await this.#busy.catch(() => undefined);
    await this.#large?.writer.abort();
  }

  async #spill(): Promise<void> {
    this.#large ??= { writer: await this.#lease.writer(), skeleton: new MailSkeleton() };
    for (const bytes of this.#parts.splice(0)) {
      this.#large.skeleton.write(bytes);
      await this.#large.writer.write(bytes);
    }
  }
}

/** The same for a mail that is kept already. */
export async function describe(mail: KeptMail, content: string): Promise<Taken> {
  const skeleton = new MailSkeleton();
  for (let at = 0; at < mail.size; at += STEP) {
    skeleton.write(await mail.read(at, at + STEP));
    // A mail of many short lines takes its time.
    await nextTurn();
  }
  const structure = skeleton.structure();
  return taken(skeleton.header, structure, mail.size, content);
}

function taken(whole: Buffer, structure: Buffer | null, size: number, content: string): Taken {
  const header = cutHeader(whole);
  const keys = messageKeys(header, structure);
  const { headerKey, matchKey } = keys;
  const internalDate = receivedAt(header);
  return { message: { internalDate, size, envelope: null, structure, header, content, keys }, headerKey, matchKey };
}

function cutHeader(header: Buffer): Buffer {
  if (header.length <= MAX_HEADER) return header;
  return header.subarray(0, header.lastIndexOf(10, MAX_HEADER - 1) + 1);
}

/**
 * POP3 tells no date, so it is that of the last hop (RFC 5321 §4.4: the topmost Received, behind its semicolon), else
 * the sender's, but never one to come. Seconds since the Unix epoch.
 */
function receivedAt(header: Buffer): number | null {
  const received = fieldValue(header, 'Received');
  const last = received === null ? null : parseMessageDate(received.slice(received.lastIndexOf(';') + 1));
  const date = last ?? parseMessageDate(fieldValue(header, 'Date') ?? '');
  if (date === null || date.instant <= 0) return null;
  return Math.min(date.instant, Math.floor(Date.now() / 1000));
}
