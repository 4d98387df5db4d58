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

/** One timing, with the share of the ceiling that binds. */
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
  /** With --profile: what one run launches, the longest first. */
  readonly profile?: readonly KernelShare[];
}

export interface KernelShare {
  readonly kernel: string;
  /** Per run, as is the time: means over all runs. */
  readonly calls: number;
  readonly ms: number;
}

/** What `lenggen bench --json` prints. */
export interface BenchDocument {
  readonly device: string;
  readonly ceiling: Ceiling;
  readonly results: readonly BenchResult[];
}

const CASES = [...OP_CASES, ...MODEL_CASES];
/** A kernel's name without what a shell would want quoted. */
const argumentOf = (kernel: string): string => kernel.replaceAll(" ", "-");
const ARGUMENTS = [...new Set(CASES.map(({ kernel }) => argumentOf(kernel)))];

export const bench: CommandSpec = {
  name: "bench",
  summary: "Time the kernels and whole training steps, as shares of what the device can do, measured in the same run.",
  examples: ["lenggen bench", "lenggen bench matmul ssd --threads 1 --json", "lenggen bench training-step --profile"],
  define: (command) =>
    command.argument("[kernels...]", `only these: ${ARGUMENTS.join(", ")}`).option("--profile", "show which kernels the time goes to"),
  async run(context, args, options) {
    const { out, common } = context;
    const wanted = args.map((name) => oneOf("kernel", ARGUMENTS)(argumentOf(name)));
    const cases = CASES.filter(({ kernel }) => wanted.length === 0 || wanted.includes(argumentOf(kernel)));
    const threadCounts = common.threads === undefined ? [...new Set([1, availableParallelism()])] : [common.threads];
    const timings: Timing[] = [];
    // Measured before, between and after, and the best of each counts: a processor's clock is not the same all the time.
    const ceilings: Ceiling[] = [];
    let description = "";
    const progress = new Progress("bench", cases.length * threadCounts.length, { unit: "cases" });
    const measureCeilings = async (): Promise<void> => {
      const device = await context.openDevice({ threads: Math.max(...threadCounts) });
      description = device.description;
      ceilings.push(await ceilingOf(device));
      device.close();
    };
    for (const threads of threadCounts) {
      await measureCeilings();
      const device = await context.openDevice({ threads });
      for (const item of cases) {
        context.signal.throwIfAborted();
        progress.update(timings.length, `${item.kernel} ${item.shape}`);
        timings.push({ item, threads, ...(await time(device, item, context, options["profile"] === true)) });
      }
      device.close();
    }
    await measureCeilings();
    const ceiling = bestOf(ceilings);
    const results = timings.map((timing) => resultOf(timing, ceiling));
    progress.finish();
    out.print(`${description}; ceiling ${count(ceiling.gflopsOneThread)} Gflop/s on one thread, ${count(ceiling.gflopsAllThreads)} on all; copy ${count(ceiling.copyGBs)} GB/s`);
    for (const line of table(["kernel", "shape", "pass", "threads", "ms", "Gflop/s", "GB/s", "share", "of", "tokens/s"], results.map(row))) out.print(line);
    for (const result of results.filter(({ profile }) => profile !== undefined)) for (const line of profileLines(result)) out.print(line);
    out.document({ device: description, ceiling, results } satisfies BenchDocument);
  },
};

interface Timing {
  readonly item: BenchCase;
  readonly threads: number;
  readonly ms: number;
  readonly profile?: readonly KernelShare[];
}

async function time(device: Device, item: BenchCase, { common, signal }: Context, profiled: boolean): Promise<Pick<Timing, "ms" | "profile">> {
  const run = item.prepare(device, common.seed);
  try {
    await device.synchronize();
    device.resetProfile?.();
    let runs = 0;
    const body = (): unknown => {
      runs++;
      return run.body();
    };
    const ms = await bestTime(device, body, { signal });
    const kernels = profiled ? device.profile?.() : undefined;
    if (kernels === undefined) return { ms };
    return { ms, profile: kernels.map(({ kernel, calls, seconds }) => ({ kernel, calls: calls / runs, ms: (1000 * seconds) / runs })) };
  } finally {
    run.dispose();
  }
}

function bestOf(ceilings: readonly Ceiling[]): Ceiling {
  const most = (pick: (ceiling: Ceiling) => number): number => Math.max(...ceilings.map(pick));
  return { gflopsOneThread: most((c) => c.gflopsOneThread), gflopsAllThreads: most((c) => c.gflopsAllThreads), copyGBs: most((c) => c.copyGBs) };
}

function resultOf({ item, threads, ms, profile }: Timing, ceiling: Ceiling): BenchResult {
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
    ...(profile === undefined ? {} : { profile }),
  };
}

function arithmeticCeiling({ gflopsOneThread, gflopsAllThreads }: Ceiling, threads: number): number {
  return threads === 1 ? gflopsOneThread : Math.min(gflopsAllThreads, threads * gflopsOneThread);
}

function profileLines({ kernel, shape, pass, threads, profile = [] }: BenchResult): string[] {
  const total = profile.reduce((sum, { ms }) => sum + ms, 0);
  const rows = profile.map((part) => [part.kernel, count(part.calls), count(part.ms), percent(part.ms / total)]);
  return ["", `${kernel} ${shape}, ${pass}, ${threads} ${threads === 1 ? "thread" : "threads"}: mean of all runs`, ...table(["kernel", "calls", "ms", "share"], rows)];
}

function row({ kernel, shape, pass, threads, ms, gflops, gbs, share, bound, tokensPerSecond }: BenchResult): (string | number)[] {
  return [
    kernel, shape, pass, threads, count(ms), count(gflops), gbs > 0 ? count(gbs) : "", percent(share), bound, tokensPerSecond ? count(tokensPerSecond) : "",
  ];
}
