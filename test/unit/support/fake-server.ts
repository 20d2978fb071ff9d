import { deriveMetadata } from '../../../src/mail/metadata.js';
import { addFlags, type FlagText, hasFlag, removeFlags } from '../../../src/mail/flags.js';
import type { Role } from '../../../src/mail/ids.js';
import type { UpstreamMessage } from '../../../src/upstream/port.js';

/** One message in a folder of a `FakeServer`. */
export interface FakeMessage {
  readonly uid: number;
  readonly bytes: Buffer;
  readonly internalDate: number;
  flags: FlagText;
  modSeq: number;
}

export interface FakeFeatures {
  readonly condstore: boolean;
  readonly qresync: boolean;
  readonly uidplus: boolean;
  readonly move: boolean;
}

export const FULL: FakeFeatures = { condstore: true, qresync: true, uidplus: true, move: true };
export const PLAIN: FakeFeatures = { condstore: false, qresync: false, uidplus: false, move: false };

/** A folder of a server in memory, with the change log that QRESYNC needs. */
export class FakeFolder {
  uidValidity: number;
  uidNext = 1;
  highestModSeq = 1;
  messages: FakeMessage[] = [];
  expunged: { uid: number; modSeq: number }[] = [];
  role: Role | null;
  virtual = false;
  /** PERMANENTFLAGS; null: not told. */
  offered: readonly string[] | null = null;

  constructor(uidValidity: number, role: Role | null) {
    this.uidValidity = uidValidity;
    this.role = role;
  }

  add(bytes: Buffer, flags: FlagText = '', internalDate = 1_700_000_000 + this.uidNext): FakeMessage {
    this.highestModSeq += 1;
    const message = { uid: this.uidNext, bytes, internalDate, flags, modSeq: this.highestModSeq };
    this.uidNext += 1;
    this.messages.push(message);
    return message;
  }

  /** What another client of that server sets and clears. */
  flag(uids: Iterable<number>, add: readonly string[], remove: readonly string[] = []): void {
    for (const uid of uids) {
      const message = this.find(uid);
      if (!message) continue;
      const flags = addFlags(removeFlags(message.flags, remove), add);
      if (flags === message.flags) continue;
      this.highestModSeq += 1;
      message.flags = flags;
      message.modSeq = this.highestModSeq;
    }
  }

  remove(uids: Iterable<number>): void {
    for (const uid of uids) {
      if (!this.find(uid)) continue;
      this.highestModSeq += 1;
      this.messages = this.messages.filter((each) => each.uid !== uid);
      this.expunged.push({ uid, modSeq: this.highestModSeq });
    }
  }

  /** A server that lost its index: all UIDs are new. */
  reset(): void {
    const kept = this.messages;
    this.uidValidity += 1_000;
    this.uidNext = 1;
    this.highestModSeq = 1;
    this.expunged = [];
    this.messages = [];
    for (const each of kept) this.add(each.bytes, each.flags, each.internalDate);
  }

  find(uid: number): FakeMessage | undefined {
    return this.messages.find((each) => each.uid === uid);
  }

  clone(): FakeFolder {
    const copy = new FakeFolder(this.uidValidity, this.role);
    copy.uidNext = this.uidNext;
    copy.highestModSeq = this.highestModSeq;
    copy.messages = this.messages.map((each) => ({ ...each }));
    copy.expunged = [...this.expunged];
    copy.virtual = this.virtual;
    copy.offered = this.offered;
    return copy;
  }
}

/** A mail server in memory; several connections (`FakeUpstream`) may look at it, and tests change it directly. */
export class FakeServer {
  readonly folders = new Map<string, FakeFolder>();
  features: FakeFeatures;
  /** Folders that LIST leaves out although they are there. */
  readonly unlisted = new Set<string>();
  /** What the server makes of mail that is appended. */
  rewrite: (bytes: Buffer) => Buffer = (bytes) => bytes;
  /** What FETCH tells wrongly, or not at all. */
  quirk: (message: FakeMessage) => Partial<UpstreamMessage> = () => ({});
  #nextUidValidity = 100;

  constructor(features: FakeFeatures = FULL) {
    this.features = features;
  }

  create(path: string, role: Role | null = null): FakeFolder {
    this.#nextUidValidity += 1;
    const folder = new FakeFolder(this.#nextUidValidity, role);
    this.folders.set(path, folder);
    return folder;
  }

  folder(path: string): FakeFolder {
    const folder = this.folders.get(path);
    if (!folder) throw new Error(`test: no folder ${path}`);
    return folder;
  }

  /** What another client's MOVE does. */
  moveElsewhere(from: string, uids: readonly number[], to: string): void {
    for (const uid of uids) {
      const message = this.folder(from).find(uid)!;
      this.folder(to).add(message.bytes, message.flags, message.internalDate);
      this.folder(from).remove([uid]);
    }
  }

  clone(): FakeServer {
    const copy = new FakeServer(this.features);
    for (const [path, folder] of this.folders) copy.folders.set(path, folder.clone());
    copy.#nextUidValidity = this.#nextUidValidity;
    copy.rewrite = this.rewrite;
    copy.quirk = this.quirk;
    return copy;
  }

  /** `path: subject [flags]` of everything, sorted: what is where, whatever its UID. */
  contents(): string[] {
    return [...this.folders]
      .flatMap(([path, folder]) =>
        folder.messages.map(({ bytes, flags }) => `${path}: ${subjectOf(bytes)} [${removeFlags(flags, ['\\Recent'])}]`),
      )
      .sort();
  }
}

export function subjectOf(bytes: Buffer): string {
  return /^Subject: ([^\r\n]*)/m.exec(bytes.toString('latin1'))?.[1] ?? '(none)';
}

const metadata = new Map<Buffer, Pick<UpstreamMessage, 'envelope' | 'structure' | 'header'>>();

/** As a server answers ENVELOPE, BODYSTRUCTURE and the header; derived once per content. */
export function metadataOf(bytes: Buffer): Pick<UpstreamMessage, 'envelope' | 'structure' | 'header'> {
  let known = metadata.get(bytes);
  if (!known) {
    const { envelope, structure, header } = deriveMetadata(bytes, 'content').message;
    known = { envelope, structure, header };
    metadata.set(bytes, known);
  }
  return known;
}

/** A small mail with what identity looks at. `body` may be anything. */
export function mail(
  subject: string,
  body = `body of ${subject}\r\n`,
  options: { messageId?: string | null } = {},
): Buffer {
  const id = options.messageId === undefined ? `<${subject.replaceAll(' ', '-')}@test.example>` : options.messageId;
  const fields = [
    'From: Ada <ada@sender.example>',
    'To: alice@corp.example',
    'Date: Mon, 02 Sep 2024 10:00:00 +0000',
    `Subject: ${subject}`,
    ...(id === null ? [] : [`Message-ID: ${id}`]),
    'Content-Type: text/plain; charset=utf-8',
  ];
  return Buffer.from(`${fields.join('\r\n')}\r\n\r\n${body}`);
}

export function isDeleted(message: FakeMessage): boolean {
  return hasFlag(message.flags, '\\Deleted');
}
