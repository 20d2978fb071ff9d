const LF = 10;
const CR = 13;

/**
 * The mail with CRLF at the end of every line (RFC 5322 §2.3), which is how servers hand out what came in with bare LF;
 * the same Buffer when nothing is to be done. A lone CR is no line end and stays.
 */
export function canonicalLines(bytes: Buffer): Buffer {
  const bare = countBareLf(bytes);
  if (bare === 0) return bytes;
  const out = Buffer.allocUnsafe(bytes.length + bare);
  let to = 0;
  let from = 0;
  for (let lf = bytes.indexOf(LF); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf > 0 && bytes[lf - 1] === CR) continue;
    to += bytes.copy(out, to, from, lf);
    out[to] = CR;
    to += 1;
    from = lf;
  }
  bytes.copy(out, to, from);
  return out;
}

function countBareLf(bytes: Buffer): number {
  let count = 0;
  for (let lf = bytes.indexOf(LF); lf >= 0; lf = bytes.indexOf(LF, lf + 1)) {
    if (lf === 0 || bytes[lf - 1] !== CR) count += 1;
  }
  return count;
}
