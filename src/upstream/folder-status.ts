import { MergeboxError } from '../util/errors.js';
import { modSeqText, type Response } from '../wire/response.js';
import { STATUS_IN_FLIGHT } from './limits.js';
import type { FolderState } from './port.js';
import { quotedMailbox, type ReaderSession } from './reader-session.js';

type Status = Extract<Response, { kind: 'status' }>;

/** STATUS of many folders, pipelined (RFC 9051 §6.3.11); those that the server refuses are left out. */
export async function folderStates(
  session: ReaderSession,
  paths: readonly string[],
): Promise<ReadonlyMap<string, FolderState>> {
  await session.unselect();
  const states = new Map<string, FolderState>();
  const items = session.capabilities.condstore
    ? '(MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)'
    : '(MESSAGES UIDNEXT UIDVALIDITY)';
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let path = paths[next++]; path !== undefined; path = paths[next++]) {
      const state = await folderState(session, path, items);
      if (state !== null) states.set(path, state);
    }
  };
  await Promise.all(Array.from({ length: Math.min(STATUS_IN_FLIGHT, paths.length) }, worker));
  return states;
}

async function folderState(session: ReaderSession, path: string, items: string): Promise<FolderState | null> {
  let name: string;
  try {
    name = quotedMailbox(path);
  } catch {
    return null;
  }
  let told: Status | null = null;
  // Answers come in the order of the commands, so the oldest command in flight is the one that is answered.
  const answer = await session.connection.send(`look at ${path}`, `STATUS ${name} ${items}`, {
    untagged: (response) => {
      if (response.kind === 'status') told = response;
    },
  });
  return answer.status === 'OK' && told !== null ? stateOf(told, path) : null;
}

function stateOf({ items }: Status, path: string): FolderState {
  const number = (item: string): number => {
    const value = Number(items.get(item));
    if (Number.isInteger(value) && value >= 0 && value <= 4_294_967_295) return value;
    throw new MergeboxError('protocol', `look at ${path}: the server's ${item} is no number`);
  };
  return {
    uidValidity: number('UIDVALIDITY'),
    uidNext: number('UIDNEXT'),
    exists: number('MESSAGES'),
    highestModSeq: modSeqText(items.get('HIGHESTMODSEQ')),
  };
}
