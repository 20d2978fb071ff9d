import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isLoopback } from '../util/loopback.js';
import { Secret } from '../util/secret.js';
import type {
  AccountConfig,
  Credentials,
  Endpoint,
  ListenerConfig,
  ProxyRule,
  SmtpConfig,
  TlsMode,
  UserConfig,
} from './config.js';
import type { Path, Problem } from './problems.js';
import { proxyFor } from './proxy.js';
import type { FileConfig, SecretSource } from './schema.js';

type FileAccount = FileConfig['users'][number]['accounts'][number];
type FileRelay = NonNullable<FileConfig['users'][number]['relay']>;
type FileListener = FileConfig['imap']['listeners'][number];
type FileEndpoint = Pick<FileAccount, 'port' | 'tls' | 'ca' | 'allowPlaintext'> & { readonly host: string };
type FileAuth = NonNullable<FileAccount['auth']> | NonNullable<FileProxy['auth']>;
type FileProxy = NonNullable<FileConfig['proxy']>;

/** Ports of a service by how the connection is protected (RFC 8314 §3). */
type Ports = Readonly<Record<TlsMode, number>>;
export const IMAP_PORTS: Ports = { implicit: 993, starttls: 143, none: 143 };
export const SUBMISSION_PORTS: Ports = { implicit: 465, starttls: 587, none: 587 };
const POP3_PORTS: Ports = { implicit: 995, starttls: 110, none: 110 };
const PROXY_PORTS = { http: 3128, socks5: 1080 } as const;

/** Stand for the server and the login of a local account. */
const NOWHERE: FileEndpoint = { host: 'localhost', port: 1, tls: 'none', ca: undefined, allowPlaintext: false };
const NOBODY: Credentials = { username: '', password: new Secret('') };

/** Turns what the file says into what the program uses; what cannot be is noted in `problems` and stood in for. */
export class Resolver {
  readonly problems: Problem[] = [];
  /** Secrets written out in the file itself. */
  literalSecrets = 0;
  readonly #directory: string;
  readonly #env: NodeJS.ProcessEnv;

  /** `directory` is the configuration file's; relative paths start there. */
  constructor(directory: string, env: NodeJS.ProcessEnv) {
    this.#directory = directory;
    this.#env = env;
  }

  absolute(file: string): string {
    return path.resolve(this.#directory, file);
  }

  listener(file: FileListener, at: Path, ports: Ports): ListenerConfig {
    this.#refusePlaintext(file, at);
    return { host: file.host, port: file.port ?? ports[file.tls], tls: file.tls };
  }

  /** `general` is the proxy of accounts that say nothing of their own. */
  async account(file: FileAccount, at: Path, general: ProxyRule | null): Promise<AccountConfig> {
    const { host, port, tls, ca, allowPlaintext, auth, smtp, proxy, pollSeconds, ...rest } = file;
    this.#refuseMisfits(file, at);
    const rule = proxy === undefined ? general : proxy === false ? null : await this.proxy(proxy, [...at, 'proxy']);
    const pop3 = file.protocol === 'pop3';
    const place = host === undefined ? { ...NOWHERE, ca } : { host, port, tls, ca, allowPlaintext };
    const endpoint = await this.#endpoint(place, at, pop3 ? POP3_PORTS : IMAP_PORTS, rule);
    const credentials = auth === undefined ? NOBODY : await this.#credentials(auth, [...at, 'auth']);
    return {
      ...rest,
      pollSeconds: pollSeconds ?? (pop3 ? 300 : 60),
      endpoint,
      auth: credentials,
      smtp: smtp === undefined ? null : await this.#smtp(smtp, credentials, [...at, 'smtp'], rule),
      ...(file.protocol === 'auto' ? { search: { host: host ?? null, port: port ?? null, proxy: rule } } : {}),
    };
  }

  /** What the protocol needs and does not stand there, or stands there and has no meaning for it. */
  #refuseMisfits({ protocol, host, auth, smtp, authority, leaveOnServer, ...rest }: FileAccount, at: Path): void {
    if (protocol === 'local') {
      if (authority !== 'both') this.#note([...at, 'authority'], 'a local account has no server: leave it out');
      if (smtp !== undefined && smtp.auth === undefined)
        this.#note([...at, 'smtp', 'auth'], 'missing; expected an object');
      return;
    }
    if (host === undefined && protocol !== 'auto') this.#note([...at, 'host'], 'missing; expected a string');
    if (protocol === 'auto' && rest.addresses.length === 0) {
      this.#note([...at, 'addresses'], 'protocol "auto" looks for the servers of the first address: name it');
    }
    if (protocol === 'auto' && rest.tls === 'none') {
      this.#note([...at, 'tls'], 'protocol "auto" uses only servers with TLS: leave it out');
    }
    if (auth === undefined) this.#note([...at, 'auth'], 'missing; expected an object');
    if (protocol !== 'pop3' && auth?.mechanism === 'xoauth2') {
      this.#note([...at, 'auth', 'mechanism'], '"xoauth2" is for POP3 accounts');
    }
    if (protocol === 'pop3' && authority === 'upstream' && typeof leaveOnServer === 'number') {
      this.#note([...at, 'leaveOnServer'], 'with authority "upstream" nothing is deleted at the server');
    }
  }

  async #smtp(
    file: NonNullable<FileAccount['smtp']>,
    ofAccount: Credentials,
    at: Path,
    rule: ProxyRule | null,
  ): Promise<SmtpConfig> {
    const endpoint = await this.#endpoint(file, at, SUBMISSION_PORTS, rule);
    const { when, connections } = file;
    if (file.auth === false) return { endpoint, auth: null, when, connections };
    const auth = file.auth ? await this.#credentials(file.auth, [...at, 'auth']) : ofAccount;
    return { endpoint, auth, when, connections };
  }

  /** The relay of a user; there is no account whose login it could have. */
  async relay(file: FileRelay | undefined, at: Path, rule: ProxyRule | null): Promise<UserConfig['relay']> {
    if (file === undefined) return null;
    if (file.auth === undefined) this.#note([...at, 'auth'], 'missing; expected an object, or false for none');
    return { ...(await this.#smtp(file, NOBODY, at, rule)), addresses: file.addresses ?? null };
  }

  async proxy(file: FileProxy, at: Path): Promise<ProxyRule> {
    const auth = file.auth === undefined ? null : await this.#credentials(file.auth, [...at, 'auth']);
    const port = file.port ?? PROXY_PORTS[file.type];
    return { proxy: { type: file.type, host: file.host, port, auth }, except: file.except };
  }

  async #endpoint(file: FileEndpoint, at: Path, ports: Ports, rule: ProxyRule | null): Promise<Endpoint> {
    this.#refusePlaintext(file, at);
    const ca = file.ca === undefined ? null : await this.#authorities(file.ca, [...at, 'ca']);
    const port = file.port ?? ports[file.tls];
    const proxy = proxyFor(rule, file.host, port);
    return { host: file.host, port, tls: file.tls, ca, ...(proxy === null ? {} : { proxy }) };
  }

  async #credentials(file: FileAuth, at: Path): Promise<Credentials> {
    const password = await this.secret(file.password, [...at, 'password']);
    const token = 'mechanism' in file && file.mechanism === 'xoauth2';
    return { username: file.username, password, ...(token ? { mechanism: 'xoauth2' as const } : {}) };
  }

  async secret(source: SecretSource, at: Path): Promise<Secret> {
    if (typeof source === 'string') {
      this.literalSecrets += 1;
      return new Secret(source);
    }
    const value = 'env' in source ? this.#fromEnvironment(source.env, at) : await this.#fromFile(source.file, at);
    return new Secret(value ?? '');
  }

  /** Checks that certificate and key can be read and belong together; resolves to their absolute paths. */
  async certificate(file: { cert: string; key: string }, at: Path): Promise<{ cert: string; key: string }> {
    const cert = await this.#read(file.cert, [...at, 'cert']);
    const key = await this.#read(file.key, [...at, 'key']);
    const parsedCert =
      cert === null ? null : this.#parse(() => new X509Certificate(cert), [...at, 'cert'], 'certificate');
    const parsedKey = key === null ? null : this.#parse(() => createPrivateKey(key), [...at, 'key'], 'private key');
    if (parsedCert !== null && parsedKey !== null && !parsedCert.checkPrivateKey(parsedKey)) {
      this.#note([...at, 'key'], 'is not the key of the certificate in tls.cert');
    }
    return { cert: this.absolute(file.cert), key: this.absolute(file.key) };
  }

  async #authorities(file: string, at: Path): Promise<string | null> {
    const pem = await this.#read(file, at);
    if (pem === null || this.#parse(() => new X509Certificate(pem), at, 'certificate') === null) return null;
    return pem;
  }

  #fromEnvironment(name: string, at: Path): string | null {
    const value = this.#env[name];
    if (value !== undefined && value !== '') return value;
    this.#note(at, `the environment variable ${name} is ${value === undefined ? 'not set' : 'empty'}`);
    return null;
  }

  async #fromFile(file: string, at: Path): Promise<string | null> {
    const text = await this.#read(file, at);
    // Editors and `echo` end a file with a newline that nobody means as part of the password.
    const value = text?.replace(/\r?\n$/, '') ?? null;
    if (value === '') this.#note(at, `the file ${this.absolute(file)} is empty`);
    return value;
  }

  async #read(file: string, at: Path): Promise<string | null> {
    try {
      return await readFile(this.absolute(file), 'utf8');
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      this.#note(at, `cannot read the file ${this.absolute(file)}: ${code}`);
      return null;
    }
  }

  #parse<T>(read: () => T, at: Path, what: string): T | null {
    try {
      return read();
    } catch {
      this.#note(at, `the file holds no PEM ${what} that can be used without a passphrase`);
      return null;
    }
  }

  #refusePlaintext(file: { host: string; tls: TlsMode; allowPlaintext: boolean }, at: Path): void {
    if (file.tls !== 'none' || file.allowPlaintext || isLoopback(file.host)) return;
    this.#note(
      [...at, 'tls'],
      '"none" would send passwords in clear to a host that is not loopback; ' +
        'use "implicit" or "starttls", or set "allowPlaintext": true beside it',
    );
  }

  #note(at: Path, text: string): void {
    this.problems.push({ path: at, text });
  }
}
