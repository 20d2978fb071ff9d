import { Counter, Gauge, Histogram, type OpenMetricsContentType, Registry } from 'prom-client';

export type Labels = Readonly<Record<string, string>>;

/** The numbers of one running instance, in a registry of its own. Names are those of OpenMetrics, without `_total`. */
export class Metrics {
  readonly #registry: Registry<OpenMetricsContentType> = new Registry<OpenMetricsContentType>();

  constructor() {
    this.#registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
  }

  /** The media type of `text`. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Everything as OpenMetrics text. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** A number that only rises. */
  counter(name: string, help: string, labelNames: readonly string[] = []): { add(by: number, labels?: Labels): void } {
    const counter = new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
    return { add: (by, labels = {}) => counter.inc({ ...labels }, by) };
  }

  /** A number that is set. */
  gauge(name: string, help: string, labelNames: readonly string[] = []): { set(to: number, labels?: Labels): void } {
    const gauge = new Gauge({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
    return { set: (to, labels = {}) => gauge.set({ ...labels }, to) };
  }

  /** A number that is asked for whenever somebody reads the metrics. */
  observed(name: string, help: string, read: () => number): void {
    const gauge: Gauge = new Gauge({ name, help, registers: [this.#registry], collect: () => gauge.set(read()) });
  }

  /** How often a quantity fell into each of the buckets (upper bounds, ascending). */
  histogram(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly string[] = [],
  ): { observe(value: number, labels?: Labels): void } {
    const histogram = new Histogram({
      name,
      help,
      buckets: [...buckets],
      labelNames: [...labelNames],
      registers: [this.#registry],
    });
    return { observe: (value, labels = {}) => histogram.observe({ ...labels }, value) };
  }
}
