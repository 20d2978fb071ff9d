/**
 * A LIST pattern (RFC 9051 §6.3.9): `*` stands for any characters, `%` for any but the hierarchy separator '/'.
 * Matching takes pattern × name steps, whatever the pattern. INBOX as first level matches without case.
 */
export class ListPattern {
  readonly #pattern: string;

  constructor(pattern: string) {
    this.#pattern = collapse(pattern);
  }

  matches(name: string): boolean {
    return match(this.#pattern, name) || (isInboxName(name) && match(upperInbox(this.#pattern), name));
  }
}

function isInboxName(name: string): boolean {
  return name.slice(0, 5).toUpperCase() === 'INBOX' && (name.length === 5 || name[5] === '/');
}

/** The pattern with a leading literal `inbox` in capitals; `in*` is covered because only its letters before a wildcard change. */
function upperInbox(pattern: string): string {
  const literal = /^[^*%/]{0,5}/.exec(pattern)![0];
  return 'INBOX'.startsWith(literal.toUpperCase()) ? literal.toUpperCase() + pattern.slice(literal.length) : pattern;
}

/** Runs of wildcards mean what the strongest of them means. */
function collapse(pattern: string): string {
  return pattern.replace(/[*%]+/g, (run) => (run.includes('*') ? '*' : '%'));
}

function match(pattern: string, name: string): boolean {
  // states[p] is true when the first p characters of the pattern can match what was read of the name.
  let states = new Uint8Array(pattern.length + 1);
  states[0] = 1;
  skipWildcards(pattern, states);
  for (let n = 0; n < name.length; n += 1) {
    const next = new Uint8Array(pattern.length + 1);
    for (let p = 0; p < pattern.length; p += 1) {
      if (states[p] === 0) continue;
      const char = pattern[p];
      if (char === '*' || (char === '%' && name[n] !== '/')) next[p] = 1;
      else if (char === name[n]) next[p + 1] = 1;
    }
    skipWildcards(pattern, next);
    states = next;
  }
  return states[pattern.length] === 1;
}

/** A wildcard may stand for nothing. */
function skipWildcards(pattern: string, states: Uint8Array): void {
  for (let p = 0; p < pattern.length; p += 1) {
    if (states[p] === 1 && (pattern[p] === '*' || pattern[p] === '%')) states[p + 1] = 1;
  }
}
