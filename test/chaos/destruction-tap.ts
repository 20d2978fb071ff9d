import { ResponseSplitter } from '../harness/imap-responses.js';

/** One command seen on its way to a server that removes mail there. */
export interface Destruction {
  readonly kind: 'move' | 'expunge' | 'bare-expunge' | 'delete-folder' | 'mark-deleted';
  /** The folder as the wire spells it. */
  readonly folder: string;
  /** Empty for whole folders and for an EXPUNGE that names none. */
  readonly uids: readonly number[];
}

/** Reads the client's side of one IMAP connection and reports every destructive command. */
export function destructionTap(report: (seen: Destruction) => void): (chunk: Buffer) => void {
  let folder = '';
  const splitter = new ResponseSplitter((line) => {
    const command = /^\S+ (.*)$/s.exec(line)?.[1] ?? '';
    const selected = /^(?:SELECT|EXAMINE) ("(?:[^"\\]|\\.)*"|[^\s(]+)/i.exec(command)?.[1];
    if (selected !== undefined) folder = unquoted(selected);
    const move = /^UID MOVE (\S+)/i.exec(command);
    if (move) report({ kind: 'move', folder, uids: uidsOf(move[1]!) });
    const expunge = /^UID EXPUNGE (\S+)/i.exec(command);
    if (expunge) report({ kind: 'expunge', folder, uids: uidsOf(expunge[1]!) });
    const marked = /^UID STORE (\S+) \+FLAGS\S* .*\\Deleted/i.exec(command);
    if (marked) report({ kind: 'mark-deleted', folder, uids: uidsOf(marked[1]!) });
    // CLOSE expunges what is marked in a folder that is selected for writing (RFC 9051 §6.4.1).
    if (/^(?:EXPUNGE|CLOSE|MOVE|STORE .*\\Deleted)/i.test(command)) report({ kind: 'bare-expunge', folder, uids: [] });
    const deleted = /^DELETE ("(?:[^"\\]|\\.)*"|\S+)/i.exec(command)?.[1];
    if (deleted !== undefined) report({ kind: 'delete-folder', folder: unquoted(deleted), uids: [] });
  });
  return (chunk) => splitter.push(chunk);
}

function unquoted(text: string): string {
  return text.startsWith('"') ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text;
}

function uidsOf(set: string): number[] {
  return set.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split(':').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}
