import { ResponseSplitter } from '../harness/imap-responses.js';
import type { MoveWatch } from './move-watch.js';

/** One command seen on its way to a server that removes mail there. */
export interface Destruction {
  readonly kind: 'move' | 'expunge' | 'bare-expunge' | 'delete-folder' | 'mark-deleted';
  /** The folder as the wire spells it. */
  readonly folder: string;
  /** Empty for whole folders and for an EXPUNGE that names none. */
  readonly uids: readonly number[];
}

/** Sees both directions of one connection. */
export interface Tap {
  readonly near: (chunk: Buffer) => void;
  readonly far: (chunk: Buffer) => void;
  /** The connection is over: what was not answered may have been done. */
  readonly end: () => void;
}

interface Open {
  readonly seen: Destruction;
  readonly done: (answered: boolean) => void;
}

/** Reads one IMAP connection and reports every destructive command that its server did not refuse. */
export function destructionTap(report: (seen: Destruction) => void, moves: MoveWatch): Tap {
  let folder = '';
  const open = new Map<string, Open>();
  const near = new ResponseSplitter((line) => {
    const [, tag = '', command = ''] = /^(\S+) (.*)$/s.exec(line) ?? [];
    const selected = /^(?:SELECT|EXAMINE) ("(?:[^"\\]|\\.)*"|[^\s(]+)/i.exec(command)?.[1];
    if (selected !== undefined) folder = unquoted(selected);
    const seen = destruction(command, folder);
    if (seen === null) return;
    const done = seen.kind === 'move' ? moves.begin(folder, seen.uids) : (): void => undefined;
    open.set(tag, { seen, done });
  });
  const far = new ResponseSplitter((line) => {
    const [, tag = '', status = ''] = /^(\S+) (OK|NO|BAD)\b/.exec(line) ?? [];
    const command = open.get(tag);
    if (command === undefined) return;
    open.delete(tag);
    command.done(true);
    if (status === 'OK') report(command.seen);
  });
  return {
    near: (chunk) => near.push(chunk),
    far: (chunk) => far.push(chunk),
    end: () => {
      for (const { seen, done } of open.values()) {
        done(false);
        report(seen);
      }
      open.clear();
    },
  };
}

function destruction(command: string, folder: string): Destruction | null {
  const move = /^UID MOVE (\S+)/i.exec(command);
  if (move) return { kind: 'move', folder, uids: uidsOf(move[1]!) };
  const expunge = /^UID EXPUNGE (\S+)/i.exec(command);
  if (expunge) return { kind: 'expunge', folder, uids: uidsOf(expunge[1]!) };
  const marked = /^UID STORE (\S+) \+FLAGS\S* .*\\Deleted/i.exec(command);
  if (marked) return { kind: 'mark-deleted', folder, uids: uidsOf(marked[1]!) };
  const deleted = /^DELETE ("(?:[^"\\]|\\.)*"|\S+)/i.exec(command)?.[1];
  if (deleted !== undefined) return { kind: 'delete-folder', folder: unquoted(deleted), uids: [] };
  // CLOSE expunges what is marked in a folder that is selected for writing (RFC 9051 §6.4.1).
  const unnamed = /^(?:EXPUNGE|CLOSE|MOVE|STORE .*\\Deleted)/i.test(command);
  return unnamed ? { kind: 'bare-expunge', folder, uids: [] } : null;
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
