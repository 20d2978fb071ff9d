/** How long a server may take, in milliseconds. */
export interface Timing {
  /** Until a TCP connection stands, names resolved. */
  readonly connectMs: number;
  /** For the TLS handshake, and for the greeting and STARTTLS before it. */
  readonly handshakeMs: number;
  /** Without a single octet from a server that owes an answer. */
  readonly silenceMs: number;
  /** A reader connection that nobody needed for so long is closed. */
  readonly idleCloseMs: number;
  /** A reader connection unused for so long is tried out before it is relied on. */
  readonly probeAfterMs: number;
  /** An IDLE is renewed after so long (RFC 2177 asks for less than 29 minutes), which also finds dead connections. */
  readonly idleRenewMs: number;
  /** Events of a watched folder within so long are told once. */
  readonly coalesceMs: number;
}

export const DEFAULT_TIMING: Timing = {
  connectMs: 20_000,
  handshakeMs: 20_000,
  silenceMs: 60_000,
  idleCloseMs: 300_000,
  probeAfterMs: 30_000,
  idleRenewMs: 240_000,
  coalesceMs: 5,
};
