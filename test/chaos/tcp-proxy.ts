import { type AddressInfo, createServer, connect as tcpConnect, type Server, type Socket } from 'node:net';

type Mode = 'pass' | 'stall' | 'refuse';

interface Pair {
  readonly near: Socket;
  readonly far: Socket;
}

/** Told of every connection: returns what is to see the octets of both sides, and the end. */
export type Observer = () => {
  readonly near: (chunk: Buffer) => void;
  readonly far: (chunk: Buffer) => void;
  readonly end: () => void;
};

/** A TCP relay on loopback that can cut what flows through it, hold it up, and turn away new connections. */
export class TcpProxy {
  readonly #server: Server;
  readonly #target: number;
  readonly #observe: Observer;
  readonly #pairs = new Set<Pair>();
  #mode: Mode = 'pass';

  private constructor(target: number, observe: Observer) {
    this.#target = target;
    this.#observe = observe;
    this.#server = createServer((near) => this.#accept(near));
  }

  /** Listens on a free port and relays to the loopback port `target`. */
  static async start(target: number, observe: Observer): Promise<TcpProxy> {
    const proxy = new TcpProxy(target, observe);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject);
      proxy.#server.listen(0, '127.0.0.1', resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends every connection at once, with whatever was on its way. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** `stall` keeps connections but moves nothing, `refuse` also cuts them and closes new ones, `pass` heals both. */
  set(mode: Mode): void {
    this.#mode = mode;
    if (mode === 'refuse') this.cut();
    for (const pair of this.#pairs) flow(pair, mode !== 'stall');
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(near: Socket): void {
    near.on('error', () => undefined);
    if (this.#mode === 'refuse') {
      near.resetAndDestroy();
      return;
    }
    const far = tcpConnect({ host: '127.0.0.1', port: this.#target });
    const pair = { near, far };
    this.#pairs.add(pair);
    const saw = this.#observe();
    const end = (): void => {
      if (this.#pairs.delete(pair)) saw.end();
      near.destroy();
      far.destroy();
    };
    far.on('error', () => undefined);
    near.on('close', end);
    far.on('close', end);
    near.on('data', (chunk: Buffer) => {
      if (far.writable) far.write(chunk);
      saw.near(chunk);
    });
    far.on('data', (chunk: Buffer) => {
      if (near.writable) near.write(chunk);
      saw.far(chunk);
    });
    near.on('end', () => far.end());
    far.on('end', () => near.end());
    flow(pair, this.#mode !== 'stall');
  }
}

function flow({ near, far }: Pair, open: boolean): void {
  for (const socket of [near, far]) {
    if (open) socket.resume();
    else socket.pause();
  }
}
