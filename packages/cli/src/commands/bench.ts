import { availableParallelism } from "node:os";
import type { Ceiling, Device } from "@lenggen/kernels";
import type { BenchCase, Pass } from "../bench/case";
import { ceilingOf } from "../bench/ceiling";
import { MODEL_CASES } from "../bench/modelCases";
import { OP_CASES } from "../bench/opCases";
import { bestTime } from "../bench/timing";
import type { CommandSpec, Context } from "../command";
import { count, percent } from "../format";
import { oneOf } from "../parse";
import { Progress } from "../progress";
import { table } from "../table";

export interface BenchResult {
  readonly kernel: string;
  readonly shape: string;
  readonly pass: Pass;
  readonly threads: number;
  readonly ms: number;
  /** Arithmetic reached, in 10⁹ operations a second. */
  readonly gflops: number;
  /** Bytes that must move at least, in 10⁹ a second. */
  readonly gbs: number;
  /** Time that the binding ceiling allows over the time taken. */
  readonly share: number;
  readonly bound: "arithmetic" | "bandwidth";
  readonly tokensPerSecond?: number;
}

/** What `lenggen bench --json` prints. */
export interface BenchDocument {
  readonly device: string;
  readonly ceiling: Ceiling;
  readonly results: readonly BenchResult[];
}

const CASES = [...OP_CASES, ...MODEL_CASES];

export const bench: CommandSpec = {
  name: "bench",
  summary: "Time the kernels and whole training steps, as shares of what the device can do, measured in the same run.",
  examples: ["lenggen bench", "lenggen bench matmul ssd --threads 1 --json"],
  define: (command) => command.argument("[kernels...]", `only these: ${kernelNames().join(", ")}`),
  async run(context, args) {
    const { out, common } = context;
    const wanted = args.map(oneOf("kernel", kernelNames()));
    const cases = CASES.filter(({ kernel }) => wanted.length === 0 || wanted.includes(kernel));
    const threadCounts = common.threads === undefined ? [...new Set([1, availableParallelism()])] : [common.threads];
    const results: BenchResult[] = [];
    const whole = await context.openDevice({ threads: Math.max(...threadCounts) });
    const { description } = whole;
    const ceiling = await ceilingOf(whole);
    whole.close();
    const progress = new Progress("bench", cases.length * threadCounts.length, { unit: "cases" });
    for (const threads of threadCounts) {
      const device = await context.openDevice({ threads });
      for (const item of cases) {
        context.signal.throwIfAborted();
        progress.update(results.length, `${item.kernel} ${item.shape}`);
        results.push(await measure(device, item, threads, ceiling, context));
      }
      device.close();
    }
    progress.finish();
    out.print(`${description}; ceiling ${count(ceiling.gflopsOneThread)} Gflop/s on one thread, ${count(ceiling.gflopsAllThreads)} on all; copy ${count(ceiling.copyGBs)} GB/s`);
    for (const line of table(["kernel", "shape", "pass", "threads", "ms", "Gflop/s", "GB/s", "share", "of", "tokens/s"], results.map(row))) out.print(line);
    out.document({ device: description, ceiling, results } satisfies BenchDocument);
  },
};

function kernelNames(): string[] {
  return [...new Set(CASES.map(({ kernel }) => kernel))];
}

async function measure(device: Device, item: BenchCase, threads: number, ceiling: Ceiling, { common, signal }: Context): Promise<BenchResult> {
  const run = item.prepare(device, common.seed);
  try {
    const ms = await bestTime(device, () => run.body(), { signal });
    // Operations in 10⁹ a second are 10⁶ a millisecond.
    const arithmeticMs = item.operations / (1e6 * arithmeticCeiling(ceiling, threads));
    const bandwidthMs = item.bytes / (1e6 * ceiling.copyGBs);
    return {
      kernel: item.kernel,
      shape: item.shape,
      pass: item.pass,
      threads,
      ms,
      gflops: item.operations / (1e6 * ms),
      gbs: item.bytes / (1e6 * ms),
      share: Math.max(arithmeticMs, bandwidthMs) / ms,
      bound: arithmeticMs >= bandwidthMs ? "arithmetic" : "bandwidth",
      ...(item.tokens === undefined ? {} : { tokensPerSecond: (1000 * item.tokens) / ms }),
    };
  } finally {
    run.dispose();
  }
}

function arithmeticCeiling({ gflopsOneThread, gflopsAllThreads }: Ceiling, threads: number): number {
  return threads === 1 ? gflopsOneThread : Math.min(gflopsAllThreads, threads * gflopsOneThread);
}

function row({ kernel, shape, pass, threads, ms, gflops, gbs, share, bound, tokensPerSecond }: BenchResult): (string | number)[] {
  return [
    kernel, shape, pass, threads, count(ms), count(gflops), gbs > 0 ? count(gbs) : "", percent(share), bound, tokensPerSecond ? count(tokensPerSecond) : "",
  ];
}
