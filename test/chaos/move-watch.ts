/** How long a command whose connection broke may go on at its server, ms. */
const GRACE_MS = 1_000;

interface Move {
  readonly folder: string;
  readonly uids: ReadonlySet<number>;
  /** Unix milliseconds; infinite while it runs. */
  end: number;
}

/**
 * The UID MOVEs of Mergebox at one server. Two sessions that MOVE one mail at the same moment both succeed at Dovecot
 * and at times at Cyrus, which then have it twice: no client can prevent that, so a test must know when it happened.
 */
export class MoveWatch {
  readonly #moves: Move[] = [];

  /** A MOVE was sent; call the result when it is answered or its connection is over. */
  begin(folder: string, uids: readonly number[]): (answered: boolean) => void {
    const move: Move = { folder, uids: new Set(uids), end: Number.POSITIVE_INFINITY };
    this.#moves.push(move);
    return (answered) => {
      move.end = Date.now() + (answered ? 0 : GRACE_MS);
    };
  }

  /** Whether one of them was under way in that folder with that UID at any time since `since` (Unix milliseconds). */
  overlaps(folder: string, uid: number, since: number): boolean {
    return this.#moves.some((move) => move.folder === folder && move.end >= since && move.uids.has(uid));
  }
}
