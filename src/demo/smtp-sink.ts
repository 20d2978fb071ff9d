import { timingSafeEqual } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { SMTPServer, type SMTPServerDataStream, type SMTPServerSession } from 'smtp-server';
import { errorText } from '../util/errors.js';
import type { Log } from '../util/log.js';

/** A mail that the sink has taken. */
export interface SunkMail {
  /** The login that handed it in. */
  readonly login: string;
  /** Envelope sender; empty for the null sender. */
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly helo: string;
  readonly bytes: Buffer;
}

export interface SmtpSinkOptions {
  readonly name: string;
  /** Passwords by login. */
  readonly logins: ReadonlyMap<string, string>;
  /** Octets of the largest mail. */
  readonly maxBytes: number;
  /** Takes a mail; the client gets its OK when this returns. */
  readonly take: (mail: SunkMail) => void;
  readonly log: Log;
}

/** The SMTP server of the sample accounts, on loopback and without TLS: takes any mail for any address from a login. */
export class SmtpSink {
  readonly #server: SMTPServer;
  readonly #options: SmtpSinkOptions;

  constructor(options: SmtpSinkOptions) {
    this.#options = options;
    this.#server = new SMTPServer({
      name: options.name,
      size: options.maxBytes,
      disabledCommands: ['STARTTLS'],
      allowInsecureAuth: true,
      disableReverseLookup: true,
      maxClients: 100,
      closeTimeout: 1_000,
      onAuth: ({ username, password }, _session, done) =>
        this.#known(username ?? '', password ?? '')
          ? done(null, { user: username })
          : done(refusal(535, 'no such login')),
      onData: (stream, session, done) =>
        void this.#data(stream, session).then(
          () => done(null, 'taken'),
          (error: unknown) => done(error instanceof Error ? error : new Error(errorText(error))),
        ),
    });
    // Broken connections of single clients; the server itself goes on.
    this.#server.on('error', (error) => options.log.debug({ err: error }, 'sample SMTP connection failed'));
  }

  /** Resolves to the port it listens on. */
  listen(host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      const { server } = this.#server;
      server.once('error', reject);
      this.#server.listen(0, host, () => {
        server.removeListener('error', reject);
        resolve((server.address() as AddressInfo).port);
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#server.close(() => resolve()));
  }

  #known(login: string, password: string): boolean {
    const expected = Buffer.from(this.#options.logins.get(login) ?? '');
    const given = Buffer.from(password);
    return expected.length > 0 && expected.length === given.length && timingSafeEqual(expected, given);
  }

  async #data(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) {
      // smtp-server only marks what is too large; the rest is read and dropped, as the protocol wants.
      if (!stream.sizeExceeded) chunks.push(chunk as Buffer);
    }
    if (stream.sizeExceeded) throw refusal(552, `at most ${this.#options.maxBytes} octets`);
    const { mailFrom, rcptTo } = session.envelope;
    this.#options.take({
      login: session.user ?? '',
      sender: mailFrom === false ? '' : mailFrom.address,
      recipients: rcptTo.map(({ address }) => address),
      helo: session.hostNameAppearsAs || 'unknown',
      bytes: Buffer.concat(chunks),
    });
  }
}

/** An error whose code smtp-server answers with. */
function refusal(responseCode: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode });
}
