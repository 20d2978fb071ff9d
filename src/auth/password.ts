import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from 'node:crypto';
import { MergeboxError } from '../util/errors.js';
import { formatScryptHash, parseScryptHash, type ScryptHash, scryptMemory } from '../util/phc.js';

/** Cost of new hashes: 32 MiB and roughly 80 ms on one core (OWASP's scrypt advice, first row that fits small machines). */
const COST = { ln: 15, r: 8, p: 1 } as const;
const SALT_BYTES = 16;
const HASH_BYTES = 32;

/** Hashes a password with a fresh salt into a PHC string; `cost` is lowered by tests only. */
export async function hashPassword(
  password: string,
  cost: { readonly ln: number; readonly r: number; readonly p: number } = COST,
): Promise<string> {
  const salt = randomBytes(SALT_BYTES);
  const hash = await derive(password, salt, HASH_BYTES, cost);
  return formatScryptHash({ ...cost, salt, hash });
}

/** Whether the password is the hash's; the comparison takes the same time wherever they differ. */
export async function verifyPassword(password: string, hash: ScryptHash): Promise<boolean> {
  return timingSafeEqual(await derive(password, hash.salt, hash.hash.length, hash), hash.hash);
}

/** Reads a hash from the configuration; throws `config` when it is none. */
export function readPasswordHash(text: string): ScryptHash {
  const hash = parseScryptHash(text);
  if (hash === null) {
    throw new MergeboxError(
      'config',
      'reading a password hash: not a $scrypt$ hash; make one with mergebox hash-password',
    );
  }
  return hash;
}

/** A hash that no password has, at the same cost as `like`, for users that do not exist. */
export function decoyHash(like: ScryptHash | undefined): ScryptHash {
  const cost = like ?? COST;
  return {
    ln: cost.ln,
    r: cost.r,
    p: cost.p,
    salt: randomBytes(like?.salt.length ?? SALT_BYTES),
    hash: randomBytes(like?.hash.length ?? HASH_BYTES),
  };
}

function derive(
  password: string,
  salt: Buffer,
  length: number,
  cost: { readonly ln: number; readonly r: number; readonly p: number },
): Promise<Buffer> {
  // OpenSSL counts a little more than the table itself.
  const options: ScryptOptions = { N: 2 ** cost.ln, r: cost.r, p: cost.p, maxmem: scryptMemory(cost) * 2 };
  return new Promise((resolve, reject) => {
    scrypt(Buffer.from(password, 'utf8'), salt, length, options, (error, key) => {
      if (error) reject(error);
      else resolve(key);
    });
  });
}
