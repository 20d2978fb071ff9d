import { groupBy } from '../../util/group.js';
import type { KnownMail } from './book.js';
import type { Shown } from './listing.js';
import { REMEMBERED_DAYS } from './limits.js';

export interface Match {
  /** Message numbers in this session, by UID. */
  readonly numbers: ReadonlyMap<number, number>;
  /** Rows of mails that the server shows. */
  readonly present: readonly KnownMail[];
  readonly absent: readonly KnownMail[];
  /** What no row knows. */
  readonly fresh: readonly Shown[];
}

/** Puts what the server shows beside what is known, by name. */
export function matchNames(rows: readonly KnownMail[], mails: readonly Shown[]): Match {
  const shown = new Map(mails.map((mail) => [mail.uidl, mail]));
  const numbers = new Map<number, number>();
  const present: KnownMail[] = [];
  const absent: KnownMail[] = [];
  for (const row of rows) {
    const mail = row.uidl === null ? undefined : shown.get(row.uidl);
    if (mail === undefined) {
      absent.push(row);
      continue;
    }
    shown.delete(mail.uidl);
    numbers.set(row.uid, mail.number);
    present.push(row);
  }
  return { numbers, present, absent, fresh: [...shown.values()] };
}

export interface Renaming {
  /** Known mails under the names that the server gives them now. */
  readonly renamed: readonly KnownMail[];
  /** UIDs that were given to the new names meanwhile, and are not needed. */
  readonly superseded: readonly number[];
}

/**
 * Recognises mails that the server has given other names (a new index, a migration): what was shown before and is not
 * now is looked for among what is new, first by all bytes, then by what identifies a mail in an account. The k-th pairs
 * with the k-th. What a mail was (in INBOX, filed, deleted here) it stays, so a UIDL that changes brings nothing back.
 */
export function recogniseRenamed(lost: readonly KnownMail[], arrived: readonly KnownMail[]): Renaming {
  const renamed: KnownMail[] = [];
  const superseded = new Set<number>();
  const found = new Set<KnownMail>();
  for (const keyOf of [(row: KnownMail) => row.content, (row: KnownMail) => row.matchKey]) {
    const waiting = groupBy(
      lost.filter((row) => !found.has(row)),
      keyOf,
    );
    for (const row of arrived) {
      const key = keyOf(row);
      const before = key === null || superseded.has(row.uid) ? undefined : waiting.get(key)?.shift();
      if (before === undefined) continue;
      found.add(before);
      superseded.add(row.uid);
      renamed.push({ ...before, uidl: row.uidl, octets: row.octets, missing: null });
    }
  }
  return { renamed, superseded: [...superseded] };
}

/** Rows whose mail came back or is gone since the last look, as they are now. */
export function updateMissing({ present, absent }: Match, now: number): KnownMail[] {
  return [
    ...present.filter((row) => row.missing !== null).map((row) => ({ ...row, missing: null })),
    ...absent.filter((row) => row.missing === null).map((row) => ({ ...row, missing: now })),
  ];
}

/** UIDs of rows that nothing is to be remembered of any more: long gone there, and not in INBOX here. */
export function forgettable(absent: readonly KnownMail[], live: ReadonlySet<number>, now: number): number[] {
  const old = now - REMEMBERED_DAYS * 86_400;
  return absent.filter(({ uid, missing }) => missing !== null && missing < old && !live.has(uid)).map(({ uid }) => uid);
}
