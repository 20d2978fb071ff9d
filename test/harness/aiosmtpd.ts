import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { accepts, eventually, freePorts } from './net.js';

const SCRIPT = `
import asyncio, base64, json, sys
from aiosmtpd.controller import Controller
class Handler:
    async def handle_DATA(self, server, session, envelope):
        print(json.dumps({'from': envelope.mail_from, 'to': envelope.rcpt_tos,
                          'content': base64.b64encode(envelope.original_content).decode()}), flush=True)
        return '250 2.0.0 taken'
c = Controller(Handler(), hostname='127.0.0.1', port=int(sys.argv[1]), decode_data=False)
c.start()
sys.stdin.read()
c.stop()
`;

export interface TakenMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Dot-stuffing undone. */
  readonly content: Buffer;
}

/** Debian's aiosmtpd as a receiver that keeps what it takes; another python3 in PATH would not have it. */
export async function startAiosmtpd(): Promise<{
  readonly port: number;
  readonly mails: TakenMail[];
  stop(): Promise<void>;
}> {
  const [port = 0] = await freePorts(1);
  const child = spawn('/usr/bin/python3', ['-c', SCRIPT, String(port)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const mails: TakenMail[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { from, to, content } = JSON.parse(line) as { from: string; to: string[]; content: string };
    mails.push({ from, to, content: Buffer.from(content, 'base64') });
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await eventually('aiosmtpd listens', () => accepts(port));
  return {
    port,
    mails,
    stop: async () => {
      child.stdin.end();
      await ended;
    },
  };
}
