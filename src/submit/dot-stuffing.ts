const LF = 10;
const DOT = 46;

/** Octets worked on at once. */
const BLOCK = 65_536;

/**
 * The octets that follow DATA's 354 (RFC 5321 §4.5.2): every line that starts with a dot gets another one, and the end
 * is CRLF, dot, CRLF. Nothing else is changed.
 */
export class DotStuffing {
  #lineStart = true;

  /** The content so far in blocks of at most 128 KiB. */
  *blocks(content: Buffer): Generator<Buffer, void, void> {
    for (let at = 0; at < content.length; at += BLOCK) {
      const block = content.subarray(at, at + BLOCK);
      yield stuffBlock(block, this.#lineStart);
      this.#lineStart = block[block.length - 1] === LF;
    }
  }

  end(): Buffer {
    return Buffer.from(this.#lineStart ? '.\r\n' : '\r\n.\r\n');
  }
}

function stuffBlock(block: Buffer, lineStart: boolean): Buffer {
  const pieces: Buffer[] = [];
  let done = 0;
  let dot = block.indexOf(DOT);
  while (dot >= 0) {
    if (dot === 0 ? lineStart : block[dot - 1] === LF) {
      // Up to and with the dot; the next piece starts with the same dot again.
      pieces.push(block.subarray(done, dot + 1));
      done = dot;
    }
    dot = block.indexOf(DOT, dot + 1);
  }
  if (pieces.length === 0) return block;
  pieces.push(block.subarray(done));
  return Buffer.concat(pieces);
}
