import { createHash } from 'node:crypto';
import type { Random } from '../../bench/mail/random.js';

/** What the model knows of one mail. Counts are of copies at an account, over all its folders. */
export interface ChaosMail {
  /** Stands in the header (`X-Chaos`) and in the body, and in no other mail. */
  readonly marker: string;
  /** Clients may destroy it; of the others every acknowledged copy must survive. */
  readonly mortal: boolean;
  /** SHA-256 of the forms it was delivered in. */
  readonly variants: Set<string>;
  /** Accounts that acknowledged it (or for which Mergebox did) and that it was not moved away from. */
  readonly held: Set<string>;
  /** How many copies an account may have at most: what was delivered, and explicit copies asked for. */
  readonly most: Map<string, number>;
  /** Somebody asked for a second copy, or for a transfer across accounts. */
  copied: boolean;
  /** Its header proves its identity, so that copies of several accounts are shown as one. */
  readonly mergeable: boolean;
}

/** All mails of a run, by marker. */
export class MailModel {
  readonly mails = new Map<string, ChaosMail>();
  #next = 1;
  #folders = 0;

  /** A new mail and its bytes for each of `routes` (what the Received field says: copies differ by it). */
  make(random: Random, routes: readonly string[]): { mail: ChaosMail; bytes: Map<string, Buffer> } {
    const marker = `m${this.#next}`;
    this.#next += 1;
    const mail: ChaosMail = {
      marker,
      mortal: random.chance(0.45),
      variants: new Set(),
      held: new Set(),
      most: new Map(),
      copied: false,
      mergeable: random.chance(0.9),
    };
    this.mails.set(marker, mail);
    const text = mailText(random, mail, this.mails.size);
    const bytes = new Map(routes.map((route) => [route, Buffer.from(`${received(route, marker)}${text}`)]));
    for (const each of bytes.values()) mail.variants.add(hashOf(each));
    return { mail, bytes };
  }

  /** A name that no folder had before: two clients that want the same one are another matter. */
  folderName(base: string): string {
    this.#folders += 1;
    return `${base}${this.#folders}`;
  }

  /** Unknown markers are a fault that the checks report; here they are simply not there. */
  get(marker: string | null): ChaosMail | undefined {
    return marker === null ? undefined : this.mails.get(marker);
  }
}

/** One more copy may come to be at each of these accounts. */
export function allow(mail: ChaosMail, accounts: Iterable<string>): void {
  for (const account of accounts) mail.most.set(account, (mail.most.get(account) ?? 0) + 1);
}

export function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex').slice(0, 16);
}

/** The marker in a header or a whole mail. */
export function markerOf(text: string): string | null {
  return /^X-Chaos:\s*(\S+)/im.exec(text)?.[1] ?? null;
}

function received(route: string, marker: string): string {
  return `Received: from mx.${route}.example by ${route}.example; id ${marker}\r\n`;
}

const EPOCH = Date.UTC(2024, 0, 1);

function mailText(random: Random, { marker, mergeable }: ChaosMail, index: number): string {
  const date = new Date(EPOCH + index * 61_000).toUTCString().replace('GMT', '+0000');
  // Some have no Message-ID at all, some claim that of another mail.
  const claimed = random.chance(0.06) ? 'claimed' : marker;
  const id = mergeable ? [`Message-ID: <${claimed}@chaos.example>`] : [];
  const lines = [
    `X-Chaos: ${marker}`,
    ...id,
    `Date: ${date}`,
    'From: Someone <someone@elsewhere.example>',
    'To: alice@work.example',
    `Subject: ${random.chance(0.1) ? 'again' : `about ${marker}`}`,
    'MIME-Version: 1.0',
    'Content-Type: text/plain; charset=us-ascii',
    '',
    `body of ${marker}`,
    ...Array.from({ length: random.int(0, 20) }, () => random.token(random.int(1, 70))),
    '',
  ];
  return lines.join('\r\n');
}
