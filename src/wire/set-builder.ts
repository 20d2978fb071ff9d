/**
 * Writes numbers as the text of a sequence-set, joining runs: 1 2 3 5 → `1:3,5`. Numbers are kept in the order they are
 * added (as COPYUID needs, RFC 4315 §3); only a number one above the last extends a run.
 */
export class SetBuilder {
  readonly #parts: string[] = [];
  #first = 0;
  #last = -1;
  #count = 0;

  add(number: number): this {
    return this.addRange(number, number);
  }

  /** All from `first` to `last`, where `first` ≤ `last`. */
  addRange(first: number, last: number): this {
    this.#count += last - first + 1;
    if (first === this.#last + 1 && this.#last !== -1) {
      this.#last = last;
      return this;
    }
    this.#flush();
    this.#first = first;
    this.#last = last;
    return this;
  }

  /** How many numbers were added. */
  get count(): number {
    return this.#count;
  }

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** Empty when nothing was added, which is no valid set: leave the response out then. */
  toString(): string {
    const open = this.#last === -1 ? [] : [rangeText(this.#first, this.#last)];
    return [...this.#parts, ...open].join(',');
  }

  /**
   * The set in pieces of whole ranges of at most about `maxLength` characters each, for responses or commands that
   * would otherwise be too long a line.
   */
  chunks(maxLength: number): string[] {
    const chunks: string[] = [];
    let chunk = '';
    const open = this.#last === -1 ? [] : [rangeText(this.#first, this.#last)];
    for (const parts of [this.#parts, open]) {
      for (const part of parts) {
        if (chunk !== '' && chunk.length + 1 + part.length > maxLength) {
          chunks.push(chunk);
          chunk = '';
        }
        chunk = chunk === '' ? part : `${chunk},${part}`;
      }
    }
    if (chunk !== '') chunks.push(chunk);
    return chunks;
  }

  #flush(): void {
    if (this.#last !== -1) this.#parts.push(rangeText(this.#first, this.#last));
  }
}

function rangeText(first: number, last: number): string {
  return first === last ? String(first) : `${first}:${last}`;
}

/** Ascending numbers as a sequence-set; empty for none. */
export function formatSet(numbers: Iterable<number>): string {
  const builder = new SetBuilder();
  for (const number of numbers) builder.add(number);
  return builder.toString();
}
