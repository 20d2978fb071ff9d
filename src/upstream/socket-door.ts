import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream';

/**
 * A way into a connection that stands already, for a library that insists on connecting by itself (imapflow's own
 * SOCKS client loses a greeting that comes with the proxy's answer). One caller is let in through a socket in a
 * directory that only this user can enter; what it says goes to `socket` and back, octet for octet.
 */
export class SocketDoor {
  readonly path: string;
  readonly #dir: string;
  readonly #server: Server;
  readonly #socket: Socket;
  #entered = false;

  private constructor(dir: string, socket: Socket) {
    this.#dir = dir;
    this.path = join(dir, 'door');
    this.#socket = socket;
    // What breaks it before anybody came in shows as its end.
    socket.on('error', () => undefined);
    this.#server = createServer((caller) => this.#enter(caller));
    this.#server.maxConnections = 1;
  }

  static async open(socket: Socket): Promise<SocketDoor> {
    // sockaddr_un has room for 107 octets.
    const base = Buffer.byteLength(tmpdir()) < 80 ? tmpdir() : '/tmp';
    const door = new SocketDoor(await mkdtemp(join(base, 'mergebox-')), socket);
    try {
      await new Promise<void>((resolve, reject) => {
        door.#server.once('error', reject);
        door.#server.listen(door.path, resolve);
      });
      return door;
    } catch (error) {
      await door.close();
      throw error;
    }
  }

  /** Shuts the door behind whoever came in; when nobody did, the connection ends. */
  async close(): Promise<void> {
    if (!this.#entered) this.#socket.destroy();
    this.#server.close();
    await rm(this.#dir, { recursive: true, force: true });
  }

  #enter(caller: Socket): void {
    if (this.#entered) {
      caller.destroy();
      return;
    }
    this.#entered = true;
    // Either end's failure is the other's end, which is what its owner hears.
    pipeline(caller, this.#socket, () => caller.destroy());
    pipeline(this.#socket, caller, () => this.#socket.destroy());
  }
}
