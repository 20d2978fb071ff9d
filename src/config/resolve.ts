import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { isLoopback } from '../util/loopback.js';
import { Secret } from '../util/secret.js';
import type { AccountConfig, Credentials, Endpoint, ListenerConfig, ProxyRule, TlsMode } from './config.js';
import type { Path, Problem } from './problems.js';
import { proxyFor } from './proxy.js';
import type { FileConfig, SecretSource } from './schema.js';

type FileAccount = FileConfig['users'][number]['accounts'][number];
type FileListener = FileConfig['imap']['listeners'][number];
type FileEndpoint = Pick<FileAccount, 'host' | 'port' | 'tls' | 'ca' | 'allowPlaintext'>;
type FileProxy = NonNullable<FileConfig['proxy']>;

/** Ports of a service by how the connection is protected (RFC 8314 §3). */
type Ports = Readonly<Record<TlsMode, number>>;
export const IMAP_PORTS: Ports = { implicit: 993, starttls: 143, none: 143 };
export const SUBMISSION_PORTS: Ports = { implicit: 465, starttls: 587, none: 587 };
const PROXY_PORTS = { http: 3128, socks5: 1080 } as const;

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
    const { host, port, tls, ca, allowPlaintext, auth, smtp, proxy, ...rest } = file;
    const rule = proxy === undefined ? general : proxy === false ? null : await this.proxy(proxy, [...at, 'proxy']);
    const endpoint = await this.#endpoint({ host, port, tls, ca, allowPlaintext }, at, IMAP_PORTS, rule);
    const credentials = await this.#credentials(auth, [...at, 'auth']);
    return {
      ...rest,
      endpoint,
      auth: credentials,
      smtp: smtp === undefined ? null : await this.#smtp(smtp, credentials, [...at, 'smtp'], rule),
    };
  }

  async #smtp(
    file: NonNullable<FileAccount['smtp']>,
    ofAccount: Credentials,
    at: Path,
    rule: ProxyRule | null,
  ): Promise<NonNullable<AccountConfig['smtp']>> {
    const endpoint = await this.#endpoint(file, at, SUBMISSION_PORTS, rule);
    if (file.auth === false) return { endpoint, auth: null };
    return { endpoint, auth: file.auth ? await this.#credentials(file.auth, [...at, 'auth']) : ofAccount };
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

  async #credentials(file: FileAccount['auth'], at: Path): Promise<Credentials> {
    return { username: file.username, password: await this.secret(file.password, [...at, 'password']) };
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
