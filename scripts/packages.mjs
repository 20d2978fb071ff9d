// The Debian packages that building and testing need, and how to get the missing ones.
// `node scripts/packages.mjs [build|test]…` installs what is missing (as root on Debian) or says what to do, and exits 1.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Where packages are unpacked that cannot be installed; test/harness/{cyrus,pop3-servers}.ts know it too. */
const UNPACKED = '/usr/local/lib/mergebox-test';
const TRIPLET = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' }[process.arch] ?? process.arch;

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
    { name: 'mailutils-pop3d', program: '/usr/sbin/pop3d' },
    // Debian lets it not stand beside dovecot-pop3d: its files are taken out of the package, nothing is installed.
    { name: 'courier-pop', program: `${UNPACKED}/usr/lib/courier/courier/courierpop3d`, unpack: true },
    { name: 'courier-authlib', program: 'courierlogger' },
    { name: 'libcourier-unicode4', program: `/usr/lib/${TRIPLET}/libcourier-unicode.so.4` },
    { name: 'cyrus-common', program: '/usr/lib/cyrus/bin/master' },
    // Debian lets it not stand beside dovecot-imapd.
    { name: 'cyrus-imapd', program: `${UNPACKED}/usr/lib/cyrus/bin/imapd`, unpack: true },
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
    { name: 'python3-aiosmtpd', program: '/usr/lib/python3/dist-packages/aiosmtpd/__init__.py' },
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
  return [...new Set(missingEntries(purposes).map(({ name }) => name))];
}

function missingEntries(purposes) {
  return purposes.flatMap((purpose) => PACKAGES[purpose]).filter(({ program }) => !present(program));
}

/** Takes the files of packages out of them, below `UNPACKED`. */
function unpack(names, env) {
  if (names.length === 0) return;
  mkdirSync(UNPACKED, { recursive: true });
  const dir = mkdtempSync(join(tmpdir(), 'mergebox-packages-'));
  spawnSync('apt-get', ['download', '-q', ...names], { cwd: dir, env, stdio: ['ignore', 2, 2] });
  for (const file of readdirSync(dir))
    spawnSync('dpkg', ['-x', join(dir, file), UNPACKED], { stdio: ['ignore', 2, 2] });
  rmSync(dir, { recursive: true });
}

/** Installs what is missing where it may; true when nothing is missing in the end. Says what it does on stderr. */
export function ensurePackages(...purposes) {
  const missing = missingPackages(purposes);
  if (missing.length === 0) return true;
  const unpacked = missingEntries(purposes).flatMap((each) => (each.unpack ? each.name : []));
  const installed = missing.filter((name) => !unpacked.includes(name));
  const command = [
    `apt-get update && apt-get install -y --no-install-recommends ${installed.join(' ')}`,
    ...unpacked.map((name) => `apt-get download ${name} && dpkg -x ${name}_*.deb ${UNPACKED}`),
  ].join('\n  ');
  if (process.getuid?.() !== 0 || !present('apt-get')) {
    console.error(`These Debian packages are missing: ${missing.join(' ')}\nInstall them as root:\n  ${command}`);
    return false;
  }
  console.error(`Installing: ${missing.join(' ')}`);
  // RUNLEVEL=1 keeps the packages from starting their services.
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  for (const args of [
    ['update', '-q'],
    ['install', '-y', '-q', '--no-install-recommends', ...installed],
  ]) {
    const { status } = spawnSync('apt-get', args, { env, stdio: ['ignore', 2, 2] });
    if (status !== 0) console.error(`apt-get ${args.join(' ')} ended with ${status}`);
  }
  unpack(unpacked, env);
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
