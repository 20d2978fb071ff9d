import { MergeboxError } from '../util/errors.js';

/** Bytes that break the grammar; the message becomes the text of the BAD response. */
export class ParseError extends MergeboxError {
  constructor(message: string) {
    super('protocol', message);
    this.name = 'ParseError';
  }
}
