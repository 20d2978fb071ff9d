import type { CommandParser } from '../wire/parser.js';
import type { Reply } from './reply.js';
import type { Session } from './session.js';

/** The states of RFC 9051 §3; logout is the end of the connection. */
export type State = 'unauthenticated' | 'authenticated' | 'selected';

export const ANY_STATE: readonly State[] = ['unauthenticated', 'authenticated', 'selected'];
export const UNAUTHENTICATED: readonly State[] = ['unauthenticated'];
export const AUTHENTICATED: readonly State[] = ['authenticated', 'selected'];
export const SELECTED: readonly State[] = ['selected'];

/** How a command was called. */
export interface Call {
  readonly tag: string;
  /** Whether `UID` stood before the name. */
  readonly uid: boolean;
}

/** One entry of the command table. */
export interface Command<A> {
  /** In upper case. */
  readonly name: string;
  readonly states: readonly State[];
  /** Whether `UID name` exists. */
  readonly uid?: boolean;
  /** Whether EXPUNGE must wait while the form with sequence numbers is answered (RFC 9051 §7.5.1). */
  readonly holdsExpunge?: boolean;
  /** Whether it waits for something else than work, so that no progress can be told of. */
  readonly quiet?: boolean;
  /** Reads everything behind the name, the SP before the first argument included; throws `ParseError`. */
  parse(parser: CommandParser): A;
  run(session: Session, args: A, call: Call): Promise<Reply>;
}

/** A command whose arguments only it knows. */
export interface TableCommand extends Omit<Command<never>, 'parse' | 'run'> {
  /** Parses now, runs when called. */
  prepare(parser: CommandParser): (session: Session, call: Call) => Promise<Reply>;
}

export function defineCommand<A>(command: Command<A>): TableCommand {
  const { parse, run, ...rest } = command;
  return {
    ...rest,
    prepare(parser) {
      const args = parse(parser);
      parser.expectEnd();
      return (session, call) => run(session, args, call);
    },
  };
}

/** `parse` of a command without arguments. */
export function noArguments(): null {
  return null;
}
