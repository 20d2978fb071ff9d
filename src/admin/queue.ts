import { MergeboxError } from '../util/errors.js';

export const QUEUE_COMMANDS = ['list', 'show', 'retry', 'hold', 'drop'] as const;
export type QueueCommand = (typeof QUEUE_COMMANDS)[number];

/** What `POST /api/queue` asks for. */
export interface QueueRequest {
  readonly command: QueueCommand;
  /** `list`: only this user's mail. Else whose mail `id` is; needed where several users have one with that number. */
  readonly user: string | null;
  /** The mail; `retry` without one means all. */
  readonly id: number | null;
  /** `list` goes on behind this mail. */
  readonly after: { readonly user: string; readonly id: number } | null;
  readonly limit: number;
}

/** A mail in the answer to `list`; times are milliseconds since the Unix epoch. */
export interface ListedQueueMail {
  readonly id: number;
  /** waiting, sending (its server has not answered), settling (delivered, a copy or a report is owed), held. */
  readonly state: string;
  readonly account: string;
  /** 1: it leaves through the user's relay. */
  readonly viaRelay: number;
  readonly sender: string;
  /** The first recipient, how many there are, and how many of them wait. */
  readonly to: string;
  readonly recipients: number;
  readonly open: number;
  readonly size: number;
  readonly created: number;
  readonly nextTry: number;
  readonly attempts: number;
  readonly priority: number;
  readonly error: string | null;
  /** 1: an answer was lost and it was sent again, so it may arrive twice. */
  readonly repeated: number;
}

export interface QueueList {
  /** Whose mails these are. */
  readonly user: string | null;
  /** Why a server could not be used the last time, by account; of the relay under the name `the relay`. */
  readonly obstacles: Readonly<Record<string, string>>;
  readonly mails: readonly ListedQueueMail[];
  /** Where the next `list` goes on; null at the end. */
  readonly next: { readonly user: string; readonly id: number } | null;
}

/** The answer to `show`. */
export interface ShownQueueMail extends ListedQueueMail {
  readonly user: string;
  readonly from: string;
  readonly subject: string;
  readonly messageId: string;
  readonly states: readonly {
    readonly address: string;
    readonly state: string;
    readonly status?: string;
    readonly reply?: string;
  }[];
}

const MAX_LIMIT = 5_000;

/** The body of `POST /api/queue`; throws `protocol` naming the key that is wrong. */
export function queueRequest(body: Readonly<Record<string, unknown>>): QueueRequest {
  const { command, user = null, id = null, after = null, limit = 1_000, ...others } = body;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw wrong(unknown, 'nothing: allowed are command, user, id, after, limit');
  const known = QUEUE_COMMANDS.find((each) => each === command);
  if (known === undefined) throw wrong('command', `one of ${QUEUE_COMMANDS.join(', ')}`);
  if (user !== null && typeof user !== 'string') throw wrong('user', 'a string');
  if (id !== null && !isId(id)) throw wrong('id', 'the number of a mail');
  if (id === null && known !== 'list' && known !== 'retry') throw wrong('id', 'the number of a mail');
  if (!isId(limit) || limit > MAX_LIMIT) throw wrong('limit', `a number up to ${MAX_LIMIT}`);
  return { command: known, user, id, after: position(after), limit };
}

function position(value: unknown): QueueRequest['after'] {
  if (value === null) return null;
  const { user, id } = value as { user?: unknown; id?: unknown };
  if (typeof user !== 'string' || !(id === 0 || isId(id))) throw wrong('after', 'what "next" said');
  return { user, id };
}

function isId(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0;
}

function wrong(key: string, expected: string): MergeboxError {
  return new MergeboxError('protocol', `${key}: expected ${expected}`);
}
