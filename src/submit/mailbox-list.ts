/** Characters of one address, white space included; RFC 5321 §4.5.3.1.3 gives it 256. */
const MAX_ADDRESS = 1_000;

/**
 * The addresses of a From field (RFC 5322 §3.4, mailbox-list; groups are looked into, RFC 6854), in one pass. Display
 * names and comments are passed over, not checked. Null when there are more than `most` mailboxes or one is too long,
 * when a quote, comment or angle bracket is left open, and when others could take another address out of it: two in
 * angle brackets without a comma, something behind the brackets, an address as the name of a group.
 */
export function mailboxList(value: string, most: number): readonly string[] | null {
  const found: string[] = [];
  let plain = '';
  let angle: string | null = null;
  let inAngle = false;
  let at = 0;
  const finish = (): boolean => {
    const written = angle ?? plain;
    if (written.length > MAX_ADDRESS) return false;
    const address = withoutSpaces(written);
    if (address !== '') found.push(address);
    plain = '';
    angle = null;
    return found.length <= most;
  };
  while (at < value.length) {
    const char = value[at] ?? '';
    if (char === '"' || char === '(' || char === '[') {
      const end = char === '(' ? commentEnd(value, at) : quotedEnd(value, at, char === '"' ? '"' : ']');
      if (end < 0) return null;
      if (char !== '(') {
        const text = value.slice(at, end);
        if (inAngle) angle = (angle ?? '') + text;
        else if (angle !== null) return null;
        else plain += text;
      }
      at = end;
      continue;
    }
    at += 1;
    if (inAngle) {
      if (char === '>') inAngle = false;
      else angle = (angle ?? '') + char;
    } else if (char === '<') {
      if (angle !== null) return null;
      inAngle = true;
      angle = '';
    } else if (char === ',' || char === ';') {
      if (!finish()) return null;
    } else if (char === ':') {
      // The name of a group.
      if (angle !== null || plain.includes('@')) return null;
      plain = '';
    } else if (angle === null) plain += char;
    else if (char !== ' ' && char !== '\t') return null;
  }
  return !inAngle && finish() ? found : null;
}

/** White space may stand around the dots and the `@` (RFC 5322 §4.4); within a quoted string it belongs to the address. */
function withoutSpaces(address: string): string {
  return address
    .replace(/("(?:[^"\\]|\\.)*")|[\t ]+/g, (_, quoted: string | undefined) => quoted ?? ' ')
    .replace(/("(?:[^"\\]|\\.)*")| ?([@.]) ?/g, (_, quoted: string | undefined, mark: string) => quoted ?? mark)
    .trim();
}

/** Offset behind the closing character, or -1; a backslash quotes the next character. */
function quotedEnd(value: string, start: number, close: string): number {
  for (let at = start + 1; at < value.length; at += 1) {
    if (value[at] === '\\') at += 1;
    else if (value[at] === close) return at + 1;
  }
  return -1;
}

/** Comments nest (RFC 5322 §3.2.2). */
function commentEnd(value: string, start: number): number {
  let depth = 0;
  for (let at = start; at < value.length; at += 1) {
    if (value[at] === '\\') at += 1;
    else if (value[at] === '(') depth += 1;
    else if (value[at] === ')') {
      depth -= 1;
      if (depth === 0) return at + 1;
    }
  }
  return -1;
}
