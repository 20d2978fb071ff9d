/** What a line that starts with `--` is to the open multiparts. */
export interface BoundaryMatch<Owner> {
  readonly owner: Owner;
  /** `--` behind the boundary: the last one of its multipart. */
  readonly closing: boolean;
}

/** RFC 2046 §5.1.1 allows 70; of longer ones this many octets are compared. */
const MAX_BOUNDARY = 80;

const ROOT = 0;
const DASH = 45;

/**
 * The boundaries of the open multiparts, as a tree over their octets, so that a line is compared with all of them at
 * once: a peer that nests a hundred multiparts and then sends a million lines of dashes pays for it alone.
 */
export class BoundarySet<Owner> {
  /** Key: node * 256 + octet. */
  readonly #next = new Map<number, number>();
  /** Owners of the boundary that ends at a node, the innermost last. */
  readonly #owners = new Map<number, Owner[]>();
  /** How many boundaries lead through each node. */
  readonly #uses = new Map<number, number>();
  readonly #open: { readonly boundary: string; readonly owner: Owner }[] = [];
  #nodes = 1;

  get size(): number {
    return this.#open.length;
  }

  /** Opens a multipart inside all that are open. */
  push(boundary: string, owner: Owner): void {
    const text = boundary.slice(0, MAX_BOUNDARY);
    let node = ROOT;
    for (let i = 0; i < text.length; i += 1) {
      const key = node * 256 + text.charCodeAt(i);
      let next = this.#next.get(key);
      if (next === undefined) {
        next = this.#nodes;
        this.#nodes += 1;
        this.#next.set(key, next);
      }
      this.#uses.set(next, (this.#uses.get(next) ?? 0) + 1);
      node = next;
    }
    const owners = this.#owners.get(node);
    if (owners === undefined) this.#owners.set(node, [owner]);
    else owners.push(owner);
    this.#open.push({ boundary: text, owner });
  }

  /** Closes the innermost multiparts down to and with `owner`, or without it when `keep` is set. */
  popTo(owner: Owner, keep: boolean): void {
    while (this.#open.length > 0) {
      const last = this.#open[this.#open.length - 1]!;
      if (keep && last.owner === owner) return;
      this.#open.pop();
      this.#remove(last.boundary);
      if (last.owner === owner) return;
    }
  }

  #remove(boundary: string): void {
    let node = ROOT;
    for (let i = 0; i < boundary.length; i += 1) {
      const key = node * 256 + boundary.charCodeAt(i);
      const next = this.#next.get(key)!;
      const uses = this.#uses.get(next)! - 1;
      if (uses === 0) {
        this.#next.delete(key);
        this.#uses.delete(next);
      } else this.#uses.set(next, uses);
      node = next;
    }
    const owners = this.#owners.get(node)!;
    owners.pop();
    if (owners.length === 0) this.#owners.delete(node);
  }

  /**
   * Looks at the line whose `--` stands before `at`. RFC 2046 §5.1.1: the beginning of the line decides, whatever
   * follows; of several that fit, the longest, and of equals the innermost.
   */
  match(bytes: Buffer, at: number, end: number): BoundaryMatch<Owner> | null {
    let node: number | undefined = ROOT;
    let owners = this.#owners.get(ROOT);
    let matchEnd = at;
    for (let i = at; i < end; i += 1) {
      node = this.#next.get(node * 256 + bytes[i]!);
      if (node === undefined) break;
      const here = this.#owners.get(node);
      if (here === undefined) continue;
      owners = here;
      matchEnd = i + 1;
    }
    if (owners === undefined) return null;
    const closing = matchEnd + 1 < end && bytes[matchEnd] === DASH && bytes[matchEnd + 1] === DASH;
    return { owner: owners[owners.length - 1]!, closing };
  }
}
