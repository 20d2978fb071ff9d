/** Keys and indices from the root of the file to a value. */
export type Path = readonly PropertyKey[];

export interface Problem {
  readonly path: Path;
  /** What is wrong and what is allowed; never a value of the file. */
  readonly text: string;
}

/** `users[0].accounts[1].prot`; keys that are no identifiers stand in brackets. */
export function pathText(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (/^[A-Za-z_$][\w$-]*$/.test(String(part))) text += text === '' ? String(part) : `.${String(part)}`;
    else text += `[${JSON.stringify(String(part))}]`;
  }
  return text === '' ? '(the whole file)' : text;
}

/** One line per problem. */
export function problemText({ path, text }: Problem): string {
  return `${pathText(path)}: ${text}`;
}

/** The value at `path` of parsed JSON; undefined where there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}
