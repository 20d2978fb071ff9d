import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MailServer, mailAccount, type ServerParts } from './mail-server.js';
import { freePorts } from './net.js';

/** Of cyrus-common; and of cyrus-imapd, see scripts/packages.mjs. */
const BIN = '/usr/lib/cyrus/bin';
const IMAP_BIN = `/usr/local/lib/mergebox-test${BIN}`;

export interface CyrusOptions {
  /** Passwords by name; default one user alice. */
  readonly users?: Readonly<Record<string, string>>;
  /**
   * `modern` (default): "/" between levels, folders beside INBOX. `classic`: "." between levels, all folders below INBOX
   * and named `INBOX.Sent`, as Cyrus was for twenty years.
   */
  readonly names?: 'modern' | 'classic';
  /** Capabilities that it does not announce. */
  readonly without?: readonly string[];
  /** Raw lines at the end of imapd.conf. */
  readonly extra?: string;
}

/** Folders that every user has from the first login, with their SPECIAL-USE. */
const ROLES = ['Drafts', 'Sent', 'Archive', 'Junk', 'Trash'];

/** Starts a private Cyrus IMAP on loopback, without TLS, with its own directory and ports. */
export async function startCyrus(options: CyrusOptions = {}): Promise<Cyrus> {
  const dir = await mkdtemp(join(tmpdir(), 'mbcy-'));
  const server = await Cyrus.create(dir, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** One Cyrus master with its imapd; passwords are checked by the test itself, which plays saslauthd. */
export class Cyrus extends MailServer {
  readonly #passwords: Server;

  private constructor(parts: ServerParts) {
    super(parts);
    this.#passwords = createServer((socket) => answerPassword(socket, parts.users));
  }

  static async create(dir: string, options: CyrusOptions): Promise<Cyrus> {
    await chmod(dir, 0o755);
    const owner = await mailAccount();
    const [port = 0] = await freePorts(1);
    const [imapd, master] = [join(dir, 'imapd.conf'), join(dir, 'cyrus.conf')];
    const server = new Cyrus({
      dir,
      port,
      tls: 'none',
      ca: '',
      users: options.users ?? { alice: 'secret' },
      command: [join(BIN, 'master'), '-D', '-C', imapd, '-M', master, '-p', join(dir, 'master.pid')],
      env: { CYRUS_USER: owner.name },
      owner,
    });
    await writeFile(imapd, imapdConfig(dir, options));
    await writeFile(master, masterConfig(imapd, port));
    for (const name of ['db', 'socket', 'proc', 'lock', 'log', 'msg', 'quota', 'user']) {
      await mkdir(join(dir, 'conf', name), { recursive: true });
    }
    await mkdir(join(dir, 'spool'));
    await server.#listen(join(dir, 'mux'));
    await server.adopt(dir);
    return server;
  }

  override async stop(): Promise<void> {
    await new Promise<void>((resolve) => this.#passwords.close(() => resolve()));
    await super.stop();
  }

  async #listen(path: string): Promise<void> {
    await rm(path, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#passwords.once('error', reject);
      this.#passwords.listen(path, resolve);
    });
    await chmod(path, 0o777);
  }
}

function imapdConfig(dir: string, { names = 'modern', without = [], extra = '' }: CyrusOptions): string {
  const conf = join(dir, 'conf');
  const modern = names === 'modern' ? 'yes' : 'no';
  return [
    `configdirectory: ${conf}`,
    `proc_path: ${join(conf, 'proc')}`,
    `mboxname_lockpath: ${join(conf, 'lock')}`,
    'defaultpartition: default',
    `partition-default: ${join(dir, 'spool')}`,
    `altnamespace: ${modern}`,
    `unixhierarchysep: ${modern}`,
    'admins: cyrus',
    'allowplaintext: yes',
    'sasl_pwcheck_method: saslauthd',
    `sasl_saslauthd_path: ${join(dir, 'mux')}`,
    'sasl_mech_list: PLAIN LOGIN',
    // No mail stays where only an administrator sees it.
    'delete_mode: immediate',
    'expunge_mode: immediate',
    'autocreate_quota: 0',
    'autocreate_post: yes',
    `autocreate_inbox_folders: ${ROLES.join(' | ')}`,
    `autocreate_subscribe_folders: ${ROLES.join(' | ')}`,
    ...ROLES.map((name) => `xlist-${name.toLowerCase()}: ${name}`),
    'specialusealways: yes',
    `idlesocket: ${join(conf, 'socket', 'idle')}`,
    `lmtpsocket: ${join(conf, 'socket', 'lmtp')}`,
    `notifysocket: ${join(conf, 'socket', 'notify')}`,
    ...(without.length === 0 ? [] : [`suppress_capabilities: ${without.join(' ')}`]),
    extra,
    '',
  ].join('\n');
}

function masterConfig(imapd: string, port: number): string {
  const program = (path: string, args = ''): string => `cmd="${path} -C ${imapd} ${args}"`;
  return [
    `START {\n  recover ${program(`${BIN}/ctl_cyrusdb`, '-r')}\n}`,
    `SERVICES {\n  imap ${program(`${IMAP_BIN}/imapd`, '-U 100')} listen="127.0.0.1:${port}" prefork=1 maxchild=500 maxforkrate=100\n}`,
    `DAEMON {\n  idled ${program(`${IMAP_BIN}/idled`)}\n}`,
    'EVENTS {\n}\n',
  ].join('\n');
}

/** saslauthd's protocol: name, password, service, realm, each after its length in two octets; so is the answer. */
function answerPassword(socket: Socket, users: Readonly<Record<string, string>>): void {
  let octets = Buffer.alloc(0);
  socket.on('error', () => undefined);
  socket.on('data', (chunk: Buffer) => {
    octets = Buffer.concat([octets, chunk]);
    const fields: string[] = [];
    for (let at = 0; fields.length < 4; ) {
      if (octets.length < at + 2) return;
      const end = at + 2 + octets.readUInt16BE(at);
      if (octets.length < end) return;
      fields.push(octets.toString('utf8', at + 2, end));
      at = end;
    }
    const [name = '', password] = fields;
    socket.end(Buffer.from(users[name] === password ? '\0\x02OK' : '\0\x02NO', 'latin1'));
  });
}
