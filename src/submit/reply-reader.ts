import { MergeboxError } from '../util/errors.js';
import { SUBMIT_LIMITS } from './limits.js';
import { type Reply, readReply } from './reply.js';

/** Cuts the octets of an upstream server into replies; one that is malformed or too long is a `protocol` error. */
export class ReplyReader {
  #rest = '';
  #lines: string[] = [];
  #held = 0;

  /** The replies that are complete with this chunk. */
  push(chunk: Buffer): readonly Reply[] {
    const replies: Reply[] = [];
    this.#held += chunk.length;
    // Without a line end the chunk only grows the rest; it is not looked at again before one comes.
    this.#rest += chunk.toString('latin1');
    if (chunk.includes(10)) {
      const lines = this.#rest.split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.#line(line.replace(/\r$/, ''), replies);
    }
    if (this.#held > SUBMIT_LIMITS.replyBytes) throw broken('a reply is too long');
    return replies;
  }

  #line(line: string, replies: Reply[]): void {
    this.#lines.push(Buffer.from(line, 'latin1').toString('utf8'));
    // RFC 5321 §4.2.1: a hyphen behind the code says that more lines follow.
    if (/^\d{3}-/.test(line)) return;
    const reply = readReply(this.#lines);
    if (reply === null) throw broken('a line is no SMTP reply');
    this.#lines = [];
    this.#held = this.#rest.length;
    replies.push(reply);
  }
}

function broken(what: string): MergeboxError {
  return new MergeboxError('protocol', `talking to the SMTP server: ${what}`);
}
