import { MAX_OPTIONS } from './limits.js';
import { ParseError } from './parse-error.js';
import type { CommandParser } from './parser.js';

/** `1*(SP capability)` (RFC 5161 §3.1), in upper case; unknown ones are the session's to ignore. */
export function parseEnable(parser: CommandParser): string[] {
  const capabilities: string[] = [];
  do {
    parser.expectSp();
    if (capabilities.length === MAX_OPTIONS) throw new ParseError(`More than ${MAX_OPTIONS} capabilities`);
    capabilities.push(parser.expectAtom('a capability').toUpperCase());
  } while (!parser.atEnd());
  return capabilities;
}
