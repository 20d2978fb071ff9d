import { type Logger, pino } from 'pino';

/** The structured logger handed to every part; children carry user, account and connection ids. */
export type Log = Logger;

/**
 * JSON lines on `destination` (default standard output). Secrets never reach it: passwords are `Secret`s, and these
 * paths are censored besides.
 */
export function createLog(level: string, destination: { write(line: string): void } = process.stdout): Log {
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

/** A logger that writes nothing, for tests. */
export function silentLog(): Log {
  return pino({ level: 'silent' });
}
