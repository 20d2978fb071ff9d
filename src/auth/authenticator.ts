import { createHmac, randomBytes } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock } from '../util/clock.js';
import { MergeboxError } from '../util/errors.js';
import type { ScryptHash } from '../util/phc.js';
import { addressKey } from './address.js';
import { Gate } from './gate.js';
import { decoyHash, readPasswordHash, verifyPassword } from './password.js';
import { Throttle } from './throttle.js';

/** Octets of a password that are looked at; a longer one is wrong. */
const MAX_PASSWORD = 1_024;
/** Characters of a user name; no configured one is longer. */
const MAX_NAME = 128;
/** How long a verified password is recognised without scrypt. */
const VERIFIED_MS = 5 * 60_000;
/** How long a wrong password is remembered, so that a client that keeps sending it neither costs scrypt nor counts. */
const REFUSED_MS = 10 * 60_000;
/** What a remembered wrong password waits for its answer. */
const REPEAT_DELAY_MS = 1_000;
/** An attempt whose turn is further off than this is turned away instead of being kept waiting. */
const MAX_WAIT_MS = 20_000;
/** scrypt runs on the thread pool that files need too: two at once, and not more than a moment's worth in line. */
const SCRYPT_WIDTH = 2;
const SCRYPT_QUEUE = 64;

export interface AuthenticatorOptions {
  readonly users: readonly { readonly name: string; readonly passwordHash: string }[];
  readonly clock: Clock;
  /** Called once per attempt that was decided, for metrics and the log. */
  readonly onAttempt?: (attempt: { readonly user: string; readonly peer: string; readonly ok: boolean }) => void;
}

/**
 * Checks user names and passwords for all listeners. An unknown user takes as long as a wrong password. Failures are
 * slowed down per address and per (user, address): guessing never keeps the user out from another address.
 */
export class Authenticator {
  readonly #clock: Clock;
  readonly #onAttempt: NonNullable<AuthenticatorOptions['onAttempt']>;
  readonly #key = randomBytes(32);
  readonly #gate = new Gate(SCRYPT_WIDTH, SCRYPT_QUEUE);
  readonly #byAddress = new Throttle({ free: 20, baseMs: 500, maxMs: 30_000, forgetMs: 900_000, keys: 20_000 });
  readonly #byPair = new Throttle({ free: 5, baseMs: 500, maxMs: 60_000, forgetMs: 900_000, keys: 20_000 });
  /** (user, address) pairs that logged in before; others' failures at that address do not slow them. */
  readonly #known = new LRUCache<string, true>({ max: 20_000 });
  /** By user: the mark of the verified password and when to verify again. */
  readonly #verified = new LRUCache<string, { mark: string; until: number }>({ max: 20_000 });
  /** By mark: until when it is known to be wrong. */
  readonly #refused = new LRUCache<string, number>({ max: 20_000 });
  readonly #pending = new Map<string, Promise<boolean>>();
  readonly #closing = new AbortController();
  #users: ReadonlyMap<string, ScryptHash> = new Map();
  #decoys: readonly ScryptHash[] = [];

  constructor({ users, clock, onAttempt = () => undefined }: AuthenticatorOptions) {
    this.#clock = clock;
    this.#onAttempt = onAttempt;
    this.setUsers(users);
  }

  /** Takes over another set of users; nothing that was learned about passwords survives. */
  setUsers(users: AuthenticatorOptions['users']): void {
    this.#users = new Map(users.map(({ name, passwordHash }) => [name, readPasswordHash(passwordHash)]));
    const costs = [...this.#users.values()];
    this.#decoys = costs.length === 0 ? [decoyHash(undefined)] : costs.map(decoyHash);
    this.#verified.clear();
    this.#refused.clear();
  }

  /**
   * Whether the password is the user's. `peer` is the client's address. Rejects with `unavailable` when too many
   * logins failed from there lately or too many are being checked, and with `aborted` after `close`.
   */
  async authenticate(user: string, password: string, peer: string): Promise<boolean> {
    if (user.length > MAX_NAME || Buffer.byteLength(password) > MAX_PASSWORD) return false;
    const mark = this.#mark(user, password);
    const running = this.#pending.get(mark);
    // The same password for the same user tells a guesser nothing new, so it neither waits nor counts.
    if (running !== undefined) return await running;
    const check = this.#decide(user, password, addressKey(peer), mark);
    this.#pending.set(mark, check);
    try {
      const ok = await check;
      this.#onAttempt({ user, peer, ok });
      return ok;
    } finally {
      this.#pending.delete(mark);
    }
  }

  /** Ends all waiting. */
  close(): void {
    this.#closing.abort(new MergeboxError('aborted', 'checking a login: the server is closing'));
  }

  async #decide(user: string, password: string, address: string, mark: string): Promise<boolean> {
    if ((this.#refused.get(mark) ?? 0) > this.#clock.now()) {
      await this.#clock.sleep(REPEAT_DELAY_MS, this.#closing.signal);
      return false;
    }
    const pair = `${address} ${user}`;
    await this.#takeTurn(address, pair);
    const ok = this.#isVerified(user, mark) || (await this.#verify(user, password));
    const now = this.#clock.now();
    if (ok) {
      this.#byPair.clear(pair);
      this.#byAddress.forgive(address, now);
      this.#known.set(pair, true);
      if (!this.#isVerified(user, mark)) this.#verified.set(user, { mark, until: now + VERIFIED_MS });
    } else {
      this.#refused.set(mark, now + REFUSED_MS);
    }
    return ok;
  }

  async #takeTurn(address: string, pair: string): Promise<void> {
    const now = this.#clock.now();
    const known = this.#known.has(pair);
    const wait = Math.max(this.#byPair.delay(pair, now), known ? 0 : this.#byAddress.delay(address, now));
    if (wait > MAX_WAIT_MS) {
      throw new MergeboxError('unavailable', 'checking a login: too many failed from this address; try again later');
    }
    const ofPair = this.#byPair.admit(pair, now);
    const ofAddress = this.#byAddress.admit(address, now);
    const delay = Math.max(ofPair, known ? 0 : ofAddress);
    if (delay > 0) await this.#clock.sleep(delay, this.#closing.signal);
  }

  #verify(user: string, password: string): Promise<boolean> {
    const hash = this.#users.get(user) ?? this.#decoyFor(user);
    return this.#gate.run(() => verifyPassword(password, hash));
  }

  /** Always the same decoy for a name, so that its cost does not give away that it is one. */
  #decoyFor(user: string): ScryptHash {
    const number = createHmac('sha256', this.#key).update(user).digest().readUInt32BE(0);
    return this.#decoys[number % this.#decoys.length] ?? decoyHash(undefined);
  }

  #isVerified(user: string, mark: string): boolean {
    const entry = this.#verified.get(user);
    // Marks are keyed hashes, so comparing them in variable time gives nothing away.
    return entry !== undefined && entry.mark === mark && entry.until > this.#clock.now();
  }

  #mark(user: string, password: string): string {
    return createHmac('sha256', this.#key).update(`${user}\0${password}`).digest('base64');
  }
}
