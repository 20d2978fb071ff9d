import { chmod, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeCertificates } from './certificates.js';
import { type DovecotOptions, type DovecotPorts, dovecotConfig } from './dovecot-config.js';
import { MailServer, mailAccount, type ServerParts } from './mail-server.js';
import { freePorts } from './net.js';

export type { DovecotOptions } from './dovecot-config.js';
export type { ListedMessage } from './imap-helpers.js';

const DOVECOT = '/usr/sbin/dovecot';

/** Starts a private Dovecot on loopback, with its own directory, ports and certificate authority. */
export async function startDovecot(options: DovecotOptions = {}): Promise<Dovecot> {
  const dir = await mkdtemp(join(tmpdir(), 'mbdc-'));
  const server = await Dovecot.create(dir, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** One Dovecot with its own configuration, certificates and ports. */
export class Dovecot extends MailServer {
  readonly #ports: DovecotPorts;

  private constructor(parts: ServerParts, ports: DovecotPorts) {
    super(parts);
    this.#ports = ports;
  }

  static async create(dir: string, options: DovecotOptions): Promise<Dovecot> {
    // The unprivileged login processes must be able to enter.
    await chmod(dir, 0o755);
    const owner = await mailAccount();
    const certificates = await makeCertificates(dir);
    const [imap = 0, pop3 = 0, lmtp = 0] = await freePorts(3);
    const ports = { imap, pop3, lmtp };
    const config = join(dir, 'dovecot.conf');
    const server = new Dovecot(
      {
        dir,
        port: imap,
        tls: options.tls ?? 'none',
        ca: certificates.ca,
        users: options.users ?? { alice: 'secret' },
        command: [DOVECOT, '-F', '-c', config],
        owner,
      },
      ports,
    );
    await writeFile(config, dovecotConfig(dir, options, ports, certificates, owner));
    for (const name of ['run', 'state', 'mail']) await mkdir(join(dir, name));
    const passwd = Object.entries(server.users).map(([name, password]) => `${name}:{PLAIN}${password}\n`);
    await writeFile(join(dir, 'passwd'), passwd.join(''), { mode: 0o644 });
    for (const name of Object.keys(server.users)) await mkdir(join(dir, 'mail', name));
    await server.adopt(join(dir, 'mail'));
    return server;
  }

  get pop3Port(): number {
    return this.#ports.pop3;
  }

  get lmtpPort(): number {
    return this.#ports.lmtp;
  }

  /** The user's Maildir (INBOX itself; folders are `.Name` below it). Call `adopt` after writing to it. */
  maildir(user: string): string {
    return join(this.dir, 'mail', user, 'Maildir');
  }

  /** Everything it logged and said so far. */
  override async log(): Promise<string> {
    const logged = await readFile(join(this.dir, 'dovecot.log'), 'utf8').catch(() => '');
    return `${await super.log()}${logged}`;
  }
}
