import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Mergebox } from '../harness/mergebox.js';
import { startDante, startSquid } from '../harness/proxies.js';
import { SmtpUpstream } from '../harness/smtp-upstream.js';
import { held, startWorld } from '../harness/world.js';

interface FileAccount {
  host: string;
  port: number;
  proxy?: unknown;
  smtp?: unknown;
}

async function reconfigure(
  box: Mergebox,
  change: (config: Record<string, unknown>, accounts: [FileAccount, FileAccount]) => void,
): Promise<void> {
  const config = await box.readConfig();
  const [user] = config['users'] as { accounts: [FileAccount, FileAccount] }[];
  change(config, user!.accounts);
  await box.writeConfig(config);
}

t.test('accounts sync, send and stay private through squid and dante', async (t) => {
  const login = { user: 'box', password: 'tunnel&pass:1' };
  const squid = await startSquid({ login });
  t.teardown(() => squid.stop());
  const dante = await startDante();
  t.teardown(() => dante.stop());
  const { work, home, box, mails } = await startWorld(t, { mails: 12, common: 2, start: false });
  const certificate = {
    cert: await readFile(join(work.dir, 'server.pem'), 'utf8'),
    key: await readFile(join(work.dir, 'server.key'), 'utf8'),
  };
  const [implicit, starttls] = [
    new SmtpUpstream({ tls: 'implicit', certificate }),
    new SmtpUpstream({ tls: 'starttls', certificate }),
  ];
  for (const smtp of [implicit, starttls]) {
    await smtp.listen();
    t.teardown(() => smtp.stop());
  }
  const http = {
    type: 'http',
    host: '127.0.0.1',
    port: squid.port,
    auth: { username: login.user, password: login.password },
    except: [],
  };
  const socks = { type: 'socks5', host: '127.0.0.1', port: dante.port, except: [] };
  await reconfigure(box, (config, [first, second]) => {
    config['proxy'] = http;
    second.proxy = socks;
    first.smtp = { host: 'localhost', port: implicit.port, tls: 'implicit', ca: work.ca, auth: false };
    second.smtp = { host: 'localhost', port: starttls.port, tls: 'starttls', ca: work.ca, auth: false };
  });
  const { code, stdout } = await box.command(['check']);
  t.equal(code, 0, stdout);
  t.equal(stdout.match(/logged in; offers|connected; offers/g)?.length, 4, stdout);
  await box.start();
  await box.sync();
  t.equal((await box.list()).length, held(mails, 0).length + held(mails, 1).length - held(mails, 0, true).length);
  const [viaSquid, viaDante] = [await squid.log(), await dante.log()];
  for (const port of [work.port, implicit.port]) t.match(viaSquid, `CONNECT localhost:${port}`, 'by name, to squid');
  for (const port of [home.port, starttls.port]) t.match(viaDante, new RegExp(`\\.${port}\\b`), 'to dante');
  t.notMatch(viaSquid, new RegExp(`localhost:${home.port}\\b`), 'an account of its own proxy goes nowhere else');
  t.notMatch(box.log(), /tunnel&pass/, 'no password in the log');
});

t.test('what is wrong with a proxy is told, and TLS is with the upstream behind it', async (t) => {
  const squid = await startSquid({
    login: { user: 'box', password: 'right' },
    hosts: { 'imap.behind.example': '127.0.0.1' },
  });
  t.teardown(() => squid.stop());
  const dante = await startDante('username');
  t.teardown(() => dante.stop());
  const { box, work, home } = await startWorld(t, { mails: 4, common: 0, start: false });
  const proxy = (password: string, port = squid.port): object => ({
    type: 'http',
    host: '127.0.0.1',
    port,
    auth: { username: 'box', password },
    except: [],
  });
  const check = async (change: (account: [FileAccount, FileAccount]) => void): Promise<string> => {
    await reconfigure(box, (_, accounts) => change(accounts));
    const { code, stdout } = await box.command(['check']);
    t.equal(code, 1);
    return stdout;
  };
  const wrong = await check(([first, second]) => {
    first.proxy = proxy('wrong');
    second.proxy = { type: 'socks5', host: '127.0.0.1', port: dante.port, auth: { username: 'nobody', password: 'x' } };
    second.proxy = { ...(second.proxy as object), except: [] };
  });
  t.match(wrong, /work: FAILED: http proxy 127\.0\.0\.1:\d+: it refuses the login of "proxy\.auth": .*407/);
  t.match(wrong, /home: FAILED: socks5 proxy 127\.0\.0\.1:\d+: it refuses the login of "proxy\.auth"/);
  const elsewhere = await check(([first, second]) => {
    first.proxy = proxy('right');
    // Only the proxy knows this name, and the server there has a certificate for another.
    first.host = 'imap.behind.example';
    second.proxy = proxy('right', 1);
  });
  t.match(elsewhere, /work: FAILED: .*(imap\.behind\.example is not in the cert|altnames|certificate)/i);
  t.match(elsewhere, /home: FAILED: http proxy 127\.0\.0\.1:1: .*ECONNREFUSED/);
  t.match(await squid.log(), `CONNECT imap.behind.example:${work.port}`);
  // Excepted hosts need no proxy.
  await reconfigure(box, (_, [first, second]) => {
    first.host = 'localhost';
    first.proxy = { ...proxy('right', 1), except: ['localhost'] };
    second.proxy = { ...proxy('right', 1), except: [`127.0.0.0/8:${home.port}`, `localhost:${home.port}`] };
  });
  const { code, stdout } = await box.command(['check']);
  t.equal(code, 0, stdout);
});
