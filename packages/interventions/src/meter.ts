/** Losses and rates of a run, read behind the queue. */
import { type Device, dispose } from "@lenggen/kernels";
import type { StepNumbers, StepResult } from "./step";

/** One line of metrics. */
export interface StepEvent {
  readonly kind: "step";
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  /** What is minimised: the mean over the steps since the last line; of cross-entropy in nats per target. */
  readonly loss: number;
  /** What the loss is the sum of, by name, as means over the same steps; absent for a loss of one term. */
  readonly terms?: Readonly<Record<string, number>>;
  readonly learningRate: number;
  /** Before clipping, of this step, or of the last one that was not skipped. */
  readonly gradientNorm: number;
  /** Tokens trained on so far. */
  readonly tokens: number;
  /** Rate since the last line, without pauses for evaluations and checkpoints. */
  readonly tokensPerSecond: number;
  /** Time spent so far, those of interrupted sessions included. */
  readonly seconds: number;
  /** Most device memory held at a time, in bytes. */
  readonly peakBytes: number;
  /** Steps that were skipped so far, where some were: they are in neither loss nor tokens. */
  readonly skipped?: number;
}

/** A step that was skipped, since its loss or gradient is not finite. */
export interface SkippedEvent {
  readonly kind: "skipped";
  /** Its number; it counts as done. */
  readonly step: number;
  /** What is not finite, in words. */
  readonly why: string;
  /** Steps skipped so far, and without one between them that was not. */
  readonly skipped: number;
  readonly inARow: number;
}

/** How many steps were skipped. */
export interface Skipped {
  readonly total: number;
  readonly inARow: number;
}

export interface Reading {
  readonly step: number;
  /** What is not finite, in words: the loss or the gradient; such a step counts as skipped. */
  readonly bad?: string;
  /** Present when a line of metrics is due. */
  readonly event?: StepEvent;
}

export interface MeterOptions {
  readonly device: Device;
  readonly steps: number;
  readonly logEvery: number;
  /** Where an interrupted run had come to. */
  readonly tokens: number;
  readonly seconds: number;
  readonly skipped?: Skipped;
}

interface Queued {
  readonly step: number;
  readonly learningRate: number;
  readonly tokens: number;
  /** On the device, until they are read. */
  readonly result: StepNumbers;
  readonly numbers: Promise<HostNumbers>;
}

interface HostNumbers {
  readonly loss: number;
  readonly gradientNorm: number;
  readonly terms: Readonly<Record<string, number>>;
}

export class Meter {
  readonly #options: MeterOptions;
  readonly #queue: Queued[] = [];
  #tokens: number;
  /** Of the steps since the last line that were finite. */
  #finite: HostNumbers[] = [];
  #gradientNorm = 0;
  #skipped: Skipped;
  /** Tokens since the last line. */
  #lineTokens = 0;
  readonly #since = performance.now();
  /** When the last line of metrics was due; pauses move it on. */
  #lineSince = this.#since;

  constructor(options: MeterOptions) {
    this.#options = options;
    this.#tokens = options.tokens;
    this.#skipped = options.skipped ?? { total: 0, inARow: 0 };
  }

  get unread(): number {
    return this.#queue.length;
  }

  /** Tokens trained on, up to the last loss read. */
  get tokens(): number {
    return this.#tokens;
  }

  get skipped(): Skipped {
    return this.#skipped;
  }

  get seconds(): number {
    return this.#options.seconds + (performance.now() - this.#since) / 1000;
  }

  /** Takes over the result of a step that has just been queued, and asks for its numbers. */
  queued(step: number, learningRate: number, { numbers: result, tokens }: StepResult): void {
    const numbers = readNumbers(result);
    numbers.catch(() => {}); // whoever reads it sees the error; unread ones must not end the process
    this.#queue.push({ step, learningRate, result, tokens, numbers });
  }

  /** Waits for the oldest unread step. */
  async read(): Promise<Reading> {
    const { step, learningRate, result, tokens, numbers } = this.#queue[0]!;
    const read = await numbers;
    this.#queue.shift();
    dispose(result);
    const { device, steps, logEvery } = this.#options;
    const bad = notFinite(read);
    this.#lineTokens += tokens;
    if (bad === undefined) {
      this.#tokens += tokens;
      this.#finite.push(read);
      this.#gradientNorm = read.gradientNorm;
      this.#skipped = { ...this.#skipped, inARow: 0 };
    } else {
      const { total, inARow } = this.#skipped;
      this.#skipped = { total: total + 1, inARow: inARow + 1 };
    }
    if ((step % logEvery !== 0 && step !== steps) || this.#finite.length === 0) return { step, bad };
    const now = performance.now();
    const event: StepEvent = {
      kind: "step", step, steps,
      ...this.#means(),
      learningRate, gradientNorm: this.#gradientNorm,
      tokens: this.#tokens,
      tokensPerSecond: (this.#lineTokens * 1000) / Math.max(now - this.#lineSince, 1e-3),
      seconds: this.seconds,
      peakBytes: device.memory().peak,
      ...(this.#skipped.total > 0 && { skipped: this.#skipped.total }),
    };
    this.#finite = [];
    this.#lineTokens = 0;
    this.#lineSince = now;
    return { step, bad, event };
  }

  /** Of the steps since the last line that were finite. */
  #means(): Pick<StepEvent, "loss" | "terms"> {
    const steps = this.#finite;
    const mean = (of: (numbers: HostNumbers) => number): number => steps.reduce((sum, numbers) => sum + of(numbers), 0) / steps.length;
    const names = Object.keys(steps[0]!.terms);
    const terms = Object.fromEntries(names.map((name) => [name, mean(({ terms: { [name]: value = Number.NaN } }) => value)]));
    return { loss: mean(({ loss }) => loss), ...(names.length > 0 && { terms }) };
  }

  /** Stops the rate's clock; the returned function starts it again. */
  pause(): () => void {
    const from = performance.now();
    return () => {
      this.#lineSince += performance.now() - from;
    };
  }

  /** Frees what was never read. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#queue.map(({ numbers }) => numbers));
    for (const { result } of this.#queue.splice(0)) dispose(result);
  }
}

async function readNumbers({ loss, gradientNorm, terms }: StepNumbers): Promise<HostNumbers> {
  const numbers = [loss, gradientNorm, ...Object.values(terms)];
  const [lossRead, normRead, ...termsRead] = await Promise.all(numbers.map((number) => number.item()));
  return {
    loss: lossRead!, gradientNorm: normRead!, terms: Object.fromEntries(Object.keys(terms).map((name, i) => [name, termsRead[i]!])),
  };
}

function notFinite({ loss, gradientNorm }: HostNumbers): string | undefined {
  if (!Number.isFinite(loss)) return `the loss is ${loss}`;
  return Number.isFinite(gradientNorm) ? undefined : `the gradient's norm is ${gradientNorm}`;
}
