/** A scrypt password hash with its cost, as kept in the configuration. */
export interface ScryptHash {
  /** log2 of the cost N. */
  readonly ln: number;
  readonly r: number;
  readonly p: number;
  readonly salt: Buffer;
  readonly hash: Buffer;
}

const FORM = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})$/;

/** Octets of memory that one verification may take; a hash that asks for more is refused. */
const MAX_MEMORY = 256 * 1024 * 1024;

/** Reads `$scrypt$ln=15,r=8,p=1$salt$hash` (PHC string format, base64 without padding); null when it is not one. */
export function parseScryptHash(text: string): ScryptHash | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const [ln, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])];
  if (ln < 10 || r < 1 || p < 1 || p > 16 || scryptMemory({ ln, r }) > MAX_MEMORY) return null;
  return { ln, r, p, salt: Buffer.from(match[4] ?? '', 'base64'), hash: Buffer.from(match[5] ?? '', 'base64') };
}

/** The text that `parseScryptHash` reads. */
export function formatScryptHash({ ln, r, p, salt, hash }: ScryptHash): string {
  return `$scrypt$ln=${ln},r=${r},p=${p}$${unpadded(salt)}$${unpadded(hash)}`;
}

/** Octets that scrypt works on at this cost (RFC 7914 §2). */
export function scryptMemory({ ln, r }: { readonly ln: number; readonly r: number }): number {
  return 128 * 2 ** ln * r;
}

function unpadded(bytes: Buffer): string {
  return bytes.toString('base64').replace(/=+$/, '');
}
