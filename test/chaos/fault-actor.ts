import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../bench/mail/random.js';
import type { Scene } from './client-actor.js';
import type { Upstream } from './upstreams.js';

/** How much goes wrong: nothing; the network; the servers as well; the daemon too. */
export type FaultLevel = 'none' | 'network' | 'servers' | 'all';

const NETWORK = { cut: 10, stall: 4, refuse: 3 };
const SERVERS = { ...NETWORK, restart: 3, power: 2, reset: 1 };
const ALL = { ...SERVERS, kill: 8, terminate: 1 };
const WEIGHTS: Readonly<Record<Exclude<FaultLevel, 'none'>, Readonly<Record<string, number>>>> = {
  network: NETWORK,
  servers: SERVERS,
  all: ALL,
};

/** Breaks things for a moment; whatever it broke works again when `act` resolves. */
export class FaultActor {
  readonly name = 'fault';
  readonly #scene: Scene;
  readonly #upstreams: readonly Upstream[];
  readonly #level: Exclude<FaultLevel, 'none'>;

  constructor(scene: Scene, upstreams: readonly Upstream[], level: Exclude<FaultLevel, 'none'>) {
    this.#scene = scene;
    this.#upstreams = upstreams;
    this.#level = level;
  }

  async act(random: Random): Promise<void> {
    // The moment is by chance, not by the pace of the machine alone.
    await delay(random.logInt(5, 700));
    const kind = random.weighted(WEIGHTS[this.#level]);
    const at = random.pick(this.#upstreams);
    const pause = random.logInt(50, 3_000);
    await this.#run(kind, at, pause);
    const what = kind === 'kill' || kind === 'terminate' ? '' : at.id;
    this.#scene.journal.did(this.name, kind, what, 'OK');
  }

  async #run(kind: string, at: Upstream, pause: number): Promise<void> {
    switch (kind) {
      case 'cut':
        return at.proxy.cut();
      case 'stall':
      case 'refuse':
        at.proxy.set(kind);
        await delay(pause);
        return at.proxy.set('pass');
      case 'restart':
        return at.server.restart();
      case 'power':
        await at.server.kill();
        await delay(pause);
        return at.server.start();
      case 'reset':
        return this.#resetUidValidity(at);
      default:
        this.#scene.stops += 1;
        this.#scene.journal.say(`fault: ${kind}`);
        this.#scene.up = this.#restart(kind === 'kill');
        await this.#scene.up;
    }
  }

  async #restart(kill: boolean): Promise<void> {
    const { box } = this.#scene;
    if (kill) await box.kill();
    else await box.terminate();
    await box.start();
  }

  async #resetUidValidity({ server, forgetUids }: Upstream): Promise<void> {
    await server.pause();
    await forgetUids?.();
    await server.start();
  }
}
