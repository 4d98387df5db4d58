/** Losses and rates of a run, read behind the queue. */
import { type Device, dispose } from "@lenggen/kernels";
import type { StepResult } from "./step";

/** One line of metrics. */
export interface StepEvent {
  readonly kind: "step";
  /** Steps done. */
  readonly step: number;
  readonly steps: number;
  /** Mean over the steps since the last line, in nats per target. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping, of this step. */
  readonly gradientNorm: number;
  /** Tokens trained on so far. */
  readonly tokens: number;
  /** Rate since the last line, without pauses for evaluations and checkpoints. */
  readonly tokensPerSecond: number;
  /** Time spent so far, those of interrupted sessions included. */
  readonly seconds: number;
  /** Most device memory held at a time, in bytes. */
  readonly peakBytes: number;
}

export interface Reading {
  readonly step: number;
  readonly loss: number;
  readonly gradientNorm: number;
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
}

interface Queued {
  readonly step: number;
  readonly learningRate: number;
  readonly result: StepResult;
  readonly tokens: number;
  readonly numbers: Promise<[number, number]>;
}

export class Meter {
  readonly #options: MeterOptions;
  readonly #queue: Queued[] = [];
  #tokens: number;
  #losses: number[] = [];
  /** Tokens since the last line. */
  #lineTokens = 0;
  readonly #since = performance.now();
  /** When the last line of metrics was due; pauses move it on. */
  #lineSince = this.#since;

  constructor(options: MeterOptions) {
    this.#options = options;
    this.#tokens = options.tokens;
  }

  get unread(): number {
    return this.#queue.length;
  }

  /** Tokens trained on, up to the last loss read. */
  get tokens(): number {
    return this.#tokens;
  }

  get seconds(): number {
    return this.#options.seconds + (performance.now() - this.#since) / 1000;
  }

  /** Takes over the result of a step on so many tokens that has just been queued, and asks for its numbers. */
  queued(step: number, learningRate: number, { result, tokens }: { result: StepResult; tokens: number }): void {
    const numbers = Promise.all([result.loss.item(), result.gradientNorm.item()]);
    numbers.catch(() => {}); // whoever reads it sees the error; unread ones must not end the process
    this.#queue.push({ step, learningRate, result, tokens, numbers });
  }

  /** Waits for the oldest unread step. */
  async read(): Promise<Reading> {
    const { step, learningRate, result, tokens, numbers } = this.#queue[0]!;
    const [loss, gradientNorm] = await numbers;
    this.#queue.shift();
    dispose(result);
    const { device, steps, logEvery } = this.#options;
    this.#tokens += tokens;
    this.#lineTokens += tokens;
    this.#losses.push(loss);
    if (step % logEvery !== 0 && step !== steps) return { step, loss, gradientNorm };
    const now = performance.now();
    const event: StepEvent = {
      kind: "step", step, steps,
      loss: this.#losses.reduce((sum, value) => sum + value, 0) / this.#losses.length,
      learningRate, gradientNorm,
      tokens: this.#tokens,
      tokensPerSecond: (this.#lineTokens * 1000) / Math.max(now - this.#lineSince, 1e-3),
      seconds: this.seconds,
      peakBytes: device.memory().peak,
    };
    this.#losses = [];
    this.#lineTokens = 0;
    this.#lineSince = now;
    return { step, loss, gradientNorm, event };
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
