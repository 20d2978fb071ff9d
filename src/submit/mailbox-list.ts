/**
 * The addresses of a From field (RFC 5322 §3.4, mailbox-list; groups are looked into, RFC 6854), in one pass. Display
 * names and comments are passed over, not checked. Null when there are more than `most` mailboxes or a quote, comment
 * or angle bracket is left open.
 */
export function mailboxList(value: string, most: number): readonly string[] | null {
  const found: string[] = [];
  let plain = '';
  let angle: string | null = null;
  let inAngle = false;
  let at = 0;
  const finish = (): boolean => {
    const address = (angle ?? plain).replace(/[\t ]+/g, '');
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
      inAngle = true;
      angle = '';
    } else if (char === ',' || char === ';') {
      if (!finish()) return null;
    } else if (char === ':') {
      // The name of a group.
      plain = '';
    } else plain += char;
  }
  return !inAngle && finish() ? found : null;
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
