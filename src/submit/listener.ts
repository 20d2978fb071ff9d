import type { AddressInfo } from 'node:net';
import {
  SMTPServer,
  type SMTPServerAddress,
  type SMTPServerAuthentication,
  type SMTPServerDataStream,
  type SMTPServerSession,
} from 'smtp-server';
import { addressKey } from '../auth/address.js';
import { errorText, isMergeboxError } from '../util/errors.js';
import { Client } from './client.js';
import { withContent } from './content.js';
import { SUBMIT_LIMITS } from './limits.js';
import { mailRequest, ownKeywords, recipientRequest } from './mail-parameters.js';
import type { Certificate, SubmissionListener, SubmissionParts } from './parts.js';
import type { Outcome } from './queue/ticket.js';
import { oneLine, Refusal, upstreamRefusal } from './reply.js';
import { Transaction } from './transaction.js';

/** One listening socket of the submission service (RFC 6409) on smtp-server, which knows the protocol; the rules are ours. */
export class Listener {
  readonly #config: SubmissionListener;
  readonly #parts: SubmissionParts;
  readonly #server: SMTPServer;
  readonly #clients = new WeakMap<SMTPServerSession, Client>();
  readonly #open = new Set<Client>();
  readonly #perAddress = new Map<string, number>();

  constructor(config: SubmissionListener, parts: SubmissionParts, certificate: Certificate) {
    this.#config = config;
    this.#parts = parts;
    this.#server = new SMTPServer({
      ...serverOptions(config, parts),
      ...certificate,
      onConnect: (session, done) => answer(done, this.#connected(session)),
      onSecure: (_socket, session, done) => {
        session.disabledCommands = [];
        done();
      },
      onAuth: (auth, session, done) => void this.#login(auth, session).then((user) => done(null, { user }), done),
      onMailFrom: (address, session, done) => answer(done, this.#sender(address, session)),
      onRcptTo: (address, session, done) => answer(done, this.#recipient(address, session)),
      onData: (stream, session, done) => void this.#data(stream, session).then((text) => done(null, text), done),
      onClose: (session) => this.#closed(session),
    });
    // Broken handshakes and resets of single clients; the server itself goes on.
    this.#server.on('error', (error) => parts.log.debug({ error: errorText(error) }, 'submission connection failed'));
  }

  /** Resolves to the address it listens on; rejects when that is taken. */
  listen(): Promise<{ readonly host: string; readonly port: number; readonly tls: SubmissionListener['tls'] }> {
    return new Promise((resolve, reject) => {
      const { server } = this.#server;
      server.once('error', reject);
      this.#server.listen(this.#config.port, this.#config.host, () => {
        server.removeListener('error', reject);
        resolve({ host: this.#config.host, port: (server.address() as AddressInfo).port, tls: this.#config.tls });
      });
    });
  }

  /** Takes a new certificate for later connections. */
  setCertificate(certificate: Certificate): void {
    this.#server.updateSecureContext({ ...certificate });
  }

  /** Stops listening and sends clients away; messages that are being delivered are waited for, `graceMs` at most. */
  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      for (const client of this.#open) {
        client.answerNow();
        if (!client.delivering) client.dismiss('the server is closing');
      }
    });
  }

  async #connected(session: SMTPServerSession): Promise<void> {
    const connection = [...this.#server.connections].find((each) => each.session === session);
    if (connection === undefined) throw new Refusal(421, '4.3.0', 'the connection is gone');
    const client = new Client(connection, () => ownKeywords(this.#parts.clock.now()));
    this.#clients.set(session, client);
    this.#open.add(client);
    const address = addressKey(session.remoteAddress);
    const count = (this.#perAddress.get(address) ?? 0) + 1;
    this.#perAddress.set(address, count);
    // RFC 6409 §4.3, RFC 4954 §4: no password in clear, so AUTH does not exist before STARTTLS.
    session.disabledCommands = this.#config.tls === 'starttls' ? ['AUTH'] : [...this.#server.options.disabledCommands];
    if (count > SUBMIT_LIMITS.clientsPerAddress) throw new Refusal(421, '4.7.0', 'too many connections from there');
  }

  async #login(auth: SMTPServerAuthentication, session: SMTPServerSession): Promise<string> {
    const { username = '', password, authzid = '' } = auth;
    const peer = session.remoteAddress;
    // RFC 4616 §2: logging in to act as somebody else.
    const allowed = authzid === '' || authzid === username;
    const ok = allowed && (await this.#check(username, password ?? '', peer));
    if (ok && this.#parts.submitter(username) !== null) {
      this.#clients.get(session)?.loggedIn();
      return username;
    }
    // Without the name: people type passwords there.
    this.#parts.log.info({ peer }, 'submission login refused');
    const again = this.#clients.get(session)?.failedLogin() ?? false;
    throw new Refusal(again ? 535 : 421, again ? '5.7.8' : '4.7.0', 'user name or password is wrong');
  }

  async #check(user: string, password: string, peer: string): Promise<boolean> {
    try {
      return await this.#parts.authenticate(user, password, peer);
    } catch (error) {
      // RFC 4954 §6: a temporary failure, so that the mail program does not ask for another password.
      if (isMergeboxError(error)) throw new Refusal(454, '4.7.0', error.message);
      throw error;
    }
  }

  async #sender(address: SMTPServerAddress, session: SMTPServerSession): Promise<void> {
    const { hostname, clock } = this.#parts;
    const client = this.#clients.get(session);
    const submitter = typeof session.user === 'string' ? this.#parts.submitter(session.user) : null;
    if (client === undefined || submitter === null) {
      const text = session.secure ? 'log in first' : 'send STARTTLS and log in first';
      throw new Refusal(530, '5.7.0', text);
    }
    client.transaction = new Transaction({ hostname, clock, ...submitter }, mailRequest(address, clock.now()));
  }

  async #recipient(address: SMTPServerAddress, session: SMTPServerSession): Promise<void> {
    const transaction = this.#clients.get(session)?.transaction;
    if (!transaction) throw new Refusal(503, '5.5.1', 'give MAIL FROM first');
    transaction.recipient(address.address, recipientRequest(address));
  }

  async #data(stream: SMTPServerDataStream, session: SMTPServerSession): Promise<string> {
    const { messageBytes, budget, metrics, log } = this.#parts;
    const client = this.#clients.get(session);
    const { transaction } = client ?? {};
    if (!client || !transaction) throw new Refusal(503, '5.5.1', 'give MAIL FROM first');
    const user = String(session.user);
    client.startDelivery();
    try {
      const options = { most: messageBytes, budget, createFile: () => transaction.createFile() };
      const ticket = await withContent(stream, options, (content) => {
        client.contentRead();
        return transaction.submit(content, {
          helo: session.hostNameAppearsAs || 'unknown',
          peer: session.remoteAddress,
          protocol: session.transmissionType,
          id: `${session.id}.${session.transaction}`,
        });
      });
      // From here on the mail is safe; what the client waits for is to hear where it went.
      const outcome = await client.outcome(ticket, this.#parts.waitMs);
      const text = answerTo(outcome);
      metrics.messages(outcome.kind === 'delivered' ? 'delivered' : 'queued');
      return text;
    } catch (error) {
      if (error instanceof Refusal) metrics.messages(error.temporary ? 'deferred' : 'refused');
      else if (stream.destroyed) log.debug({ user, error: errorText(error) }, 'the client left within its message');
      else log.error({ user, error: errorText(error) }, 'submitting a message failed');
      throw error instanceof Refusal ? error : new Refusal(451, '4.3.0', 'something failed here; try again later');
    } finally {
      client.endDelivery();
    }
  }

  #closed(session: SMTPServerSession): void {
    const client = this.#clients.get(session);
    if (client === undefined) return;
    this.#clients.delete(session);
    this.#open.delete(client);
    client.end();
    const address = addressKey(session.remoteAddress);
    const left = (this.#perAddress.get(address) ?? 1) - 1;
    if (left > 0) this.#perAddress.set(address, left);
    else this.#perAddress.delete(address);
  }
}

function serverOptions({ tls }: SubmissionListener, { hostname, messageBytes, graceMs }: SubmissionParts) {
  return {
    name: hostname,
    banner: 'Mergebox',
    secure: tls === 'implicit',
    disabledCommands: tls === 'starttls' ? [] : ['STARTTLS'],
    allowInsecureAuth: tls === 'none',
    minVersion: 'TLSv1.2' as const,
    authMethods: ['PLAIN', 'LOGIN'],
    disableReverseLookup: true,
    hideENHANCEDSTATUSCODES: false,
    hideDSN: false,
    hideREQUIRETLS: false,
    size: messageBytes,
    rejectOversized: true,
    maxClients: SUBMIT_LIMITS.clients,
    maxRecipients: SUBMIT_LIMITS.recipients,
    socketTimeout: SUBMIT_LIMITS.idleMs,
    closeTimeout: graceMs,
    logger: false,
  };
}

/** The text of 250; throws the upstream's refusal. */
function answerTo(outcome: Outcome): string {
  switch (outcome.kind) {
    case 'delivered':
      return /^\d{3} [245]\.\d/.test(outcome.reply) ? outcome.reply.slice(4) : `2.0.0 ${outcome.reply.slice(4)}`;
    case 'queued':
      return `2.0.0 queued: ${oneLine(outcome.why)}`;
    case 'refused':
      throw upstreamRefusal(outcome.verdict);
  }
}

function answer(done: (error?: Error | null) => void, work: Promise<void>): void {
  work.then(
    () => done(),
    (error: Error) => done(error instanceof Refusal ? error : new Refusal(451, '4.3.0', 'something failed here')),
  );
}
