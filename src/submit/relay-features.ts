/** What an upstream server announced (RFC 5321 §4.1.1.1). */
export interface RelayFeatures {
  /** Largest message in octets (RFC 1870); null when it told none. */
  readonly size: number | null;
  readonly eightBitMime: boolean;
  readonly smtpUtf8: boolean;
  readonly pipelining: boolean;
  /** RFC 3461. */
  readonly dsn: boolean;
  /** RFC 8689. */
  readonly requireTls: boolean;
  /** RFC 6710. */
  readonly mtPriority: boolean;
  /** Recipients of one transaction and transactions of one session (RFC 9422); null when it told none. */
  readonly recipients: number | null;
  readonly mails: number | null;
}

/** Reads the lines of an EHLO reply behind its first. */
export function readFeatures(lines: readonly string[]): RelayFeatures {
  const words = lines.map((line) => line.trim().toUpperCase().split(/\s+/));
  const has = (keyword: string): boolean => words.some(([first]) => first === keyword);
  const limits = words.find(([first]) => first === 'LIMITS') ?? [];
  const limit = (name: string): number | null =>
    positive(limits.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1));
  return {
    // RFC 1870 §4: 0 means that there is no fixed limit.
    size: positive(words.find(([first]) => first === 'SIZE')?.[1]),
    eightBitMime: has('8BITMIME'),
    smtpUtf8: has('SMTPUTF8'),
    pipelining: has('PIPELINING'),
    dsn: has('DSN'),
    requireTls: has('REQUIRETLS'),
    mtPriority: has('MT-PRIORITY'),
    recipients: limit('RCPTMAX'),
    mails: limit('MAILMAX'),
  };
}

function positive(text: string | undefined): number | null {
  const number = Number(text ?? 0);
  return Number.isSafeInteger(number) && number > 0 ? number : null;
}
