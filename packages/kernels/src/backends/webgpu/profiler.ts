/** Time by kernel from timestamp queries, where the device has them: each dispatch then runs in a pass of its own. */
import type { KernelTime } from "../../device";
import { USAGE } from "./pool";

/** Queries of one set; WebGPU allows 4,096. */
const MOST_QUERIES = 1024;

export class Profiler {
  readonly #gpu: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #times = new Map<string, { calls: number; seconds: number }>();
  #names: string[] = [];
  #staged: GPUBuffer | undefined;
  #pending: Promise<unknown> = Promise.resolve();
  #generation = 0;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
    this.#queries = gpu.createQuerySet({ type: "timestamp", count: MOST_QUERIES });
    this.#resolved = gpu.createBuffer({ size: MOST_QUERIES * 8, usage: USAGE.queryResolve | USAGE.copySource });
  }

  /** The pass of the next dispatch, with its two timestamps. */
  describe(name: string): GPUComputePassDescriptor {
    const first = this.#names.length * 2;
    this.#names.push(name);
    return { label: name, timestampWrites: { querySet: this.#queries, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 } };
  }

  /** Copies a batch's timestamps to where they can be mapped. */
  resolve(encoder: GPUCommandEncoder): void {
    const count = this.#names.length * 2;
    if (count === 0) return;
    this.#staged = this.#gpu.createBuffer({ size: count * 8, usage: USAGE.mapRead | USAGE.copyTarget });
    encoder.resolveQuerySet(this.#queries, 0, count, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staged, 0, count * 8);
  }

  /** After the submission: reads them when they are there. */
  collect(): void {
    const names = this.#names;
    const staged = this.#staged;
    this.#names = [];
    this.#staged = undefined;
    if (!staged) return;
    const generation = this.#generation;
    const read = async (): Promise<void> => {
      await staged.mapAsync(1);
      const stamps = new BigUint64Array(staged.getMappedRange().slice(0));
      staged.destroy();
      if (generation !== this.#generation) return;
      names.forEach((name, i) => {
        const time = this.#times.get(name) ?? { calls: 0, seconds: 0 };
        time.calls++;
        time.seconds += Number(stamps[2 * i + 1]! - stamps[2 * i]!) / 1e9;
        this.#times.set(name, time);
      });
    };
    // A lost device has no times to tell.
    this.#pending = Promise.all([this.#pending, read().catch(() => {})]);
  }

  /** Resolves when the times of all submissions so far are in. */
  async settled(): Promise<void> {
    await this.#pending;
  }

  times(): KernelTime[] {
    return [...this.#times].map(([kernel, { calls, seconds }]) => ({ kernel, calls, seconds })).sort((a, b) => b.seconds - a.seconds);
  }

  reset(): void {
    this.#generation++;
    this.#times.clear();
  }
}
