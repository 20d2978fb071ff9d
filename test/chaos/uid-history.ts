import type { Folders } from './snapshot.js';

/** All that was ever seen of UIDs in Mergebox: what a UID stands for never changes, and UIDs are never used again. */
export class UidHistory {
  readonly #bytes = new Map<string, string>();
  readonly #next = new Map<string, number>();
  readonly #last = new Map<string, ReadonlySet<number>>();

  /** Adds what is seen now and tells what contradicts what was seen before. */
  add(merged: Folders): string[] {
    const faults: string[] = [];
    for (const [name, { uidValidity, uidNext, mails }] of merged) {
      const mailbox = `${name} ${uidValidity}`;
      const before = this.#next.get(mailbox) ?? 1;
      const last = this.#last.get(mailbox) ?? new Set();
      if (uidNext < before) faults.push(`${name}: UIDNEXT fell from ${before} to ${uidNext}`);
      for (const { uid, hash, marker } of mails) {
        const key = `${mailbox} ${uid}`;
        const known = this.#bytes.get(key);
        if (known !== undefined && known !== hash) faults.push(`${name}: UID ${uid} was other bytes (${marker} now)`);
        if (uid < before && !last.has(uid)) faults.push(`${name}: UID ${uid} appeared below UIDNEXT ${before}`);
        if (uid >= uidNext) faults.push(`${name}: UID ${uid} is not below UIDNEXT ${uidNext}`);
        this.#bytes.set(key, hash);
      }
      this.#next.set(mailbox, uidNext);
      this.#last.set(mailbox, new Set(mails.map(({ uid }) => uid)));
    }
    return faults;
  }
}
