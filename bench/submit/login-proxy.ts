import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/**
 * smtp-source cannot log in: this stands before a server, logs each connection in, and hands on every octet from then
 * on, both ways. It stands before the server that needs no login too, so that both are measured alike.
 */
export async function startLoginProxy(
  port: number,
  login: { readonly user: string; readonly password: string } | null,
): Promise<{ readonly port: number; stop(): void }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    void introduce(upstream, login).then(
      (greeting) => {
        client.write(greeting);
        client.pipe(upstream);
        upstream.pipe(client);
      },
      () => client.destroy(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

/** Reads the greeting and logs in; the greeting is the client's then. */
async function introduce(socket: Socket, login: { user: string; password: string } | null): Promise<string> {
  const greeting = await reply(socket);
  if (login === null) return greeting;
  socket.write('EHLO bench.example\r\n');
  await reply(socket);
  socket.write(`AUTH PLAIN ${Buffer.from(`\0${login.user}\0${login.password}`).toString('base64')}\r\n`);
  if (!(await reply(socket)).startsWith('235')) throw new Error('the login was refused');
  return greeting;
}

function reply(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      if (!/^\d{3} [^\n]*\n$/m.test(text)) return;
      socket.off('data', onData);
      socket.pause();
      resolve(text);
    };
    socket.on('data', onData);
    socket.once('close', () => reject(new Error('the server closed the connection')));
    socket.resume();
  });
}
