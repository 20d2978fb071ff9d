import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type GeneratedMail, type GeneratorOptions, generateMails } from './generator.js';

const LETTERS: Readonly<Record<string, string>> = {
  '\\Draft': 'D',
  '\\Flagged': 'F',
  '\\Answered': 'R',
  '\\Seen': 'S',
  '\\Deleted': 'T',
};
const LF = 0x0a;

/** Writes mails into one Maildir, in an order that servers keep when they give out UIDs. */
export class MaildirWriter {
  readonly #cur: string;
  #count = 0;
  #octets = 0;

  constructor(path: string) {
    for (const part of ['cur', 'new', 'tmp']) mkdirSync(join(path, part), { recursive: true });
    this.#cur = join(path, 'cur');
  }

  get count(): number {
    return this.#count;
  }

  /** Of all mails, with `\n` line ends. */
  get octets(): number {
    return this.#octets;
  }

  /** `octets` with `\n` line ends; `received` in seconds becomes INTERNALDATE. */
  add(octets: Buffer, received: number, flags: readonly string[]): void {
    this.#count += 1;
    this.#octets += octets.length;
    const letters = flags
      .map((flag) => LETTERS[flag] ?? '')
      .sort()
      .join('');
    // S and W are Maildir++ sizes: of the file, and with CRLF line ends (RFC822.SIZE).
    const sizes = `S=${octets.length},W=${octets.length + lineEnds(octets)}`;
    const path = join(
      this.#cur,
      `${received}.M${String(this.#count).padStart(8, '0')}.generated,${sizes}:2,${letters}`,
    );
    writeFileSync(path, octets);
    utimesSync(path, received, received);
  }
}

function lineEnds(octets: Buffer): number {
  let count = 0;
  for (let at = octets.indexOf(LF); at >= 0; at = octets.indexOf(LF, at + 1)) count += 1;
  return count;
}

export interface WrittenMails {
  readonly distinct: number;
  readonly octets: number;
  readonly withoutMessageId: number;
}

/**
 * Generates into one Maildir per account and, with `union`, every distinct mail once into another. `onMail` sees each
 * mail on its way.
 */
export function writeMaildirs(
  options: GeneratorOptions,
  paths: readonly string[],
  union: string | null = null,
  onMail: (mail: GeneratedMail) => void = () => undefined,
): WrittenMails {
  const writers = paths.map((path) => new MaildirWriter(path));
  const all = union === null ? null : new MaildirWriter(union);
  let distinct = 0;
  let withoutMessageId = 0;
  for (const mail of generateMails({ ...options, accounts: paths.length })) {
    distinct += 1;
    if (mail.messageId === null) withoutMessageId += 1;
    for (const { account, octets, received } of mail.copies) writers[account]!.add(octets, received, mail.flags);
    const [first] = mail.copies;
    if (first !== undefined) all?.add(first.octets, first.received, mail.flags);
    onMail(mail);
  }
  return { distinct, withoutMessageId, octets: writers.reduce((sum, writer) => sum + writer.octets, 0) };
}
