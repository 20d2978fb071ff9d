import { type Logger, pino } from 'pino';

/** The structured logger handed to every part; children carry user, account and connection ids. */
export type Log = Logger;

/**
 * JSON lines on `destination` (default standard output). Secrets never reach it: passwords are `Secret`s, and these
 * paths are censored besides.
 */
export function createLog(level: string, destination: { write(line: string): void } = standardOutput()): Log {
  return pino(
    {
      level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: ['password', '*.password', 'pass', '*.pass', 'auth', '*.auth'], censor: '<redacted>' },
    },
    destination,
  );
}

/** Octets of log lines that wait for a reader; what comes beyond them is dropped, since mail must go on. */
const MAX_WAITING = 16 << 20;

/**
 * Standard output, written behind the event loop: Node's own stream would stop everything while whoever reads a pipe is
 * slow. What is waiting at the end of the process is still written.
 */
function standardOutput(): { write(line: string): void } {
  return pino.destination({ dest: 1, sync: false, maxLength: MAX_WAITING });
}

/** A logger that writes nothing, for tests. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}
