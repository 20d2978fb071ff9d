import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { generate } from 'selfsigned';
import { MergeboxError } from './errors.js';

/** PEM texts, and the SHA-256 fingerprint by which a person can recognise the certificate (`AB:CD:…`). */
export interface OwnCertificate {
  readonly cert: string;
  readonly key: string;
  readonly fingerprint256: string;
}

const FILE = 'self-signed.pem';
const DAYS = 3_650;

/**
 * The self-signed certificate in `dir`, made when there is none: for localhost, 127.0.0.1, ::1 and this machine's name.
 * Key and certificate are one file that only the owner reads, so that no crash leaves one without the other. Rejects
 * with `config` when the file there cannot be used.
 */
export async function ensureCertificate(dir: string): Promise<OwnCertificate> {
  const file = path.join(dir, FILE);
  const existing = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new MergeboxError('config', `reading the self-signed certificate ${file}: ${error.code}`, { cause: error });
  });
  if (existing !== null) return split(existing, file);
  const pems = await selfSigned();
  const text = `${pems.key.trim()}\n${pems.cert.trim()}\n`;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await writeAtomically(file, text);
  return split(text, file);
}

/** The fingerprint of a certificate given as PEM. */
export function fingerprint(cert: string): string {
  return new X509Certificate(cert).fingerprint256;
}

async function selfSigned(): Promise<{ cert: string; key: string }> {
  const names = [...new Set(['localhost', hostname()])].map((value) => ({ type: 2 as const, value }));
  const addresses = ['127.0.0.1', '::1'].map((ip) => ({ type: 7 as const, ip }));
  const now = Date.now();
  const { cert, private: key } = await generate([{ name: 'commonName', value: hostname() }], {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    // Clients whose clock is a little behind must be able to use it at once.
    notBeforeDate: new Date(now - 86_400_000),
    notAfterDate: new Date(now + DAYS * 86_400_000),
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: [...names, ...addresses] },
    ],
  });
  return { cert, key };
}

function split(text: string, file: string): OwnCertificate {
  const key = block(text, '(?:EC |RSA )?PRIVATE KEY');
  const cert = block(text, 'CERTIFICATE');
  try {
    const parsed = new X509Certificate(cert);
    if (parsed.checkPrivateKey(createPrivateKey(key))) return { cert, key, fingerprint256: parsed.fingerprint256 };
  } catch {
    // Answered below, like a key of another certificate.
  }
  throw new MergeboxError('config', `reading the self-signed certificate ${file}: damaged; remove it to get a new one`);
}

function block(text: string, name: string): string {
  return new RegExp(`-----BEGIN ${name}-----[^-]+-----END ${name}-----\\n?`).exec(text)?.[0] ?? '';
}

async function writeAtomically(file: string, text: string): Promise<void> {
  const temporary = `${file}.${process.pid}.tmp`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, file);
}
