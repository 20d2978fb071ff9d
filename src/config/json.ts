/** Where a JSON text is wrong; lines and columns count from 1. Never quotes the text, which may hold passwords. */
export class JsonError extends Error {
  readonly line: number;
  readonly column: number;

  constructor(text: string, offset: number, what: string) {
    const before = text.slice(0, offset).split('\n');
    const line = before.length;
    const column = (before.at(-1) ?? '').length + 1;
    super(`line ${line}, column ${column}: ${what}`);
    this.name = 'JsonError';
    this.line = line;
    this.column = column;
  }
}

/** Nesting no configuration needs. */
const MAX_DEPTH = 64;

/**
 * Reads JSON (RFC 8259) like JSON.parse, but names the place of a mistake, quotes nothing of the text, and refuses an
 * object with the same key twice instead of taking the last.
 */
export function parseJson(text: string): unknown {
  const plain = text.startsWith('\uFEFF') ? text.slice(1) : text;
  new Scanner(plain).document();
  return JSON.parse(plain);
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): void {
    this.#value(0);
    this.#space();
    if (this.#at < this.#text.length) this.#fail('expected nothing more after the end of the value');
  }

  #value(depth: number): void {
    if (depth > MAX_DEPTH) this.#fail(`nested deeper than ${MAX_DEPTH}`);
    this.#space();
    const next = this.#text[this.#at];
    if (next === '{') this.#object(depth);
    else if (next === '[') this.#array(depth);
    else if (next === '"') this.#string();
    else if (!this.#take(/(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)(?![\w.+-])/y)) {
      this.#fail('expected a value: an object, a list, a string in double quotes, a number, true, false or null');
    }
  }

  #object(depth: number): void {
    this.#at += 1;
    const keys = new Set<string>();
    if (this.#char('}')) return;
    do {
      this.#space();
      const start = this.#at;
      if (this.#text[this.#at] !== '"') this.#fail('expected a key in double quotes (no comma after the last one)');
      const key = this.#string();
      if (keys.has(key)) this.#fail(`the key ${JSON.stringify(key)} stands twice in this object`, start);
      keys.add(key);
      if (!this.#char(':')) this.#fail('expected ":" after the key');
      this.#value(depth + 1);
    } while (this.#char(','));
    if (!this.#char('}')) this.#fail('expected "," or "}"');
  }

  #array(depth: number): void {
    this.#at += 1;
    if (this.#char(']')) return;
    do this.#value(depth + 1);
    while (this.#char(','));
    if (!this.#char(']')) this.#fail('expected "," or "]"');
  }

  #string(): string {
    const start = this.#at;
    this.#at += 1;
    // biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 §7 forbids exactly these in a string
    this.#take(/(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))+/y);
    if (this.#text[this.#at] !== '"') {
      this.#fail('a string is not closed, or holds a control character or an unknown escape');
    }
    this.#at += 1;
    return JSON.parse(this.#text.slice(start, this.#at)) as string;
  }

  /** Skips white space and then takes `char` if it comes next. */
  #char(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    this.#take(/[ \t\r\n]+/y);
  }

  #take(pattern: RegExp): boolean {
    pattern.lastIndex = this.#at;
    if (!pattern.test(this.#text)) return false;
    this.#at = pattern.lastIndex;
    return true;
  }

  #fail(what: string, offset = this.#at): never {
    throw new JsonError(this.#text, offset, offset >= this.#text.length ? `${what}, but the file ends here` : what);
  }
}
