import { type ChildProcess, spawn } from 'node:child_process';
import { accepts, eventually, freePorts } from '../../test/harness/net.js';

const ENV = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };

/** Postfix's smtp-sink, which takes mail, counts it and throws it away. */
export class Sink {
  readonly port: number;
  readonly #child: ChildProcess;
  #messages = 0;

  constructor(port: number, child: ChildProcess) {
    this.port = port;
    this.#child = child;
    child.stdout?.on('data', (chunk: Buffer) => {
      for (const match of chunk.toString('latin1').matchAll(/mesg=(\d+)/g)) this.#messages = Number(match[1]);
    });
  }

  /** Messages taken so far. */
  get messages(): number {
    return this.#messages;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill();
    await ended;
  }
}

export async function startSink(): Promise<Sink> {
  const [port = 0] = await freePorts(1);
  const user = process.getuid?.() === 0 ? ['-u', 'root'] : [];
  const child = spawn('smtp-sink', [...user, '-c', `127.0.0.1:${port}`, '200'], { env: ENV });
  const sink = new Sink(port, child);
  await eventually('smtp-sink listens', () => accepts(port));
  return sink;
}

export interface Load {
  readonly mails: number;
  readonly octets: number;
  readonly connections: number;
  readonly from: string;
}

/** Hands in mails by Postfix's smtp-source over connections that stay open; resolves when all were answered. */
export function runSource(port: number, { mails, octets, connections, from }: Load): Promise<void> {
  const args = ['-d', '-s', connections, '-m', mails, '-l', octets, '-f', from, '-t', 'bob@far.example'].map(String);
  const child = spawn('smtp-source', [...args, `127.0.0.1:${port}`], { env: ENV, stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`smtp-source ended with ${code}: ${errors}`)),
    );
  });
}
