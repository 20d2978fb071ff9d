// The Debian packages that building and testing need, and how to get the missing ones.
// `node scripts/packages.mjs [build|test]…` installs what is missing (as root on Debian) or says what to do, and exits 1.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Per purpose: the package, and the program that shows that it is there. */
const PACKAGES = {
  // sqlite3 is compiled where no prebuilt binary fits (node-gyp).
  build: [
    { name: 'python3', program: 'python3' },
    { name: 'make', program: 'make' },
    { name: 'g++', program: 'g++' },
  ],
  test: [
    { name: 'dovecot-imapd', program: '/usr/lib/dovecot/imap' },
    { name: 'dovecot-pop3d', program: '/usr/lib/dovecot/pop3' },
    { name: 'dovecot-lmtpd', program: '/usr/lib/dovecot/lmtp' },
    { name: 'cyrus-imapd', program: '/usr/lib/cyrus/bin/imapd' },
    { name: 'isync', program: 'mbsync' },
    { name: 'curl', program: 'curl' },
    { name: 'fetchmail', program: 'fetchmail' },
    { name: 'getmail6', program: 'getmail' },
    { name: 'neomutt', program: 'neomutt' },
    { name: 'offlineimap3', program: 'offlineimap' },
    { name: 'python3', program: 'python3' },
    { name: 'openssl', program: 'openssl' },
    { name: 'postfix', program: 'smtp-sink' },
    { name: 'swaks', program: 'swaks' },
    { name: 'msmtp', program: 'msmtp' },
    { name: 'squid', program: 'squid' },
    { name: 'dante-server', program: 'danted' },
  ],
};

function present(program) {
  if (program.startsWith('/')) return existsSync(program);
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => existsSync(join(folder, program)));
}

/** Names of the packages for these purposes whose program is not there, each once. */
function missingPackages(purposes) {
  const wanted = purposes.flatMap((purpose) => PACKAGES[purpose]);
  return [...new Set(wanted.filter(({ program }) => !present(program)).map(({ name }) => name))];
}

/** Installs what is missing where it may; true when nothing is missing in the end. Says what it does on stderr. */
export function ensurePackages(...purposes) {
  const missing = missingPackages(purposes);
  if (missing.length === 0) return true;
  const command = `apt-get update && apt-get install -y --no-install-recommends ${missing.join(' ')}`;
  if (process.getuid?.() !== 0 || !present('apt-get')) {
    console.error(`These Debian packages are missing: ${missing.join(' ')}\nInstall them as root:\n  ${command}`);
    return false;
  }
  console.error(`Installing: ${missing.join(' ')}`);
  // RUNLEVEL=1 keeps the packages from starting their services.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  for (const args of [
    ['update', '-q'],
    ['install', '-y', '-q', '--no-install-recommends', ...missing],
  ]) {
    const { status } = spawnSync('apt-get', args, { env, stdio: ['ignore', 2, 2] });
    if (status !== 0) console.error(`apt-get ${args.join(' ')} ended with ${status}`);
  }
  const still = missingPackages(purposes);
  if (still.length > 0) console.error(`Still missing: ${still.join(' ')}. Try as root:\n  ${command}`);
  return still.length === 0;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const asked = process.argv.slice(2);
  const purposes = asked.length === 0 ? Object.keys(PACKAGES) : asked;
  const unknown = purposes.find((purpose) => !Object.hasOwn(PACKAGES, purpose));
  if (unknown !== undefined) console.error(`unknown purpose ${unknown}: one of ${Object.keys(PACKAGES).join(', ')}`);
  if (unknown !== undefined || !ensurePackages(...purposes)) process.exitCode = 1;
}
