import { availableParallelism } from "node:os";
import { type Ceiling, type Device, type DeviceKind, devices, dispose, type LaunchCounts, scope } from "@lenggen/kernels";
import type { BenchCase, Pass } from "../bench/case";
import { ceilingOf } from "../bench/ceiling";
import { GPU_MODEL_CASES, MODEL_CASES } from "../bench/modelCases";
import { GPU_OP_CASES, OP_CASES } from "../bench/opCases";
import { bestKernelTime, bestTime } from "../bench/timing";
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
  /** Wall time; on a GPU with timestamps, for all but training steps, the kernels' own time. */
  readonly ms: number;
  /** What one run needs at least: operations (a multiply-add is two), and bytes read and written. */
  readonly operations: number;
  readonly bytes: number;
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
  /** What one run asks of the device, where that is counted. */
  readonly counts?: LaunchCounts;
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

/** The sizes that a GPU needs to show what it can do are too much for a processor, and for an adapter that is one. */
async function casesFor(device: Device): Promise<readonly BenchCase[]> {
  const hardware = device.kind === "webgpu" && (await devices({ fallback: false })).some(({ name, available }) => name === "webgpu" && available);
  return hardware ? [...CASES, ...GPU_OP_CASES, ...GPU_MODEL_CASES] : CASES;
}

export const bench: CommandSpec = {
  name: "bench",
  summary: "Time the kernels and whole training steps, as shares of what the device can do, measured in the same run.",
  examples: ["lenggen bench", "lenggen bench matmul ssd --threads 1 --json", "lenggen bench training-step --profile"],
  define: (command) =>
    command.argument("[kernels...]", `only these: ${ARGUMENTS.join(", ")}`).option("--profile", "show which kernels the time goes to"),
  async run(context, args, options) {
    const { out, common } = context;
    const wanted = args.map((name) => oneOf("kernel", ARGUMENTS)(argumentOf(name)));
    const profiled = options["profile"] === true;
    const first = await context.openDevice();
    const { kind, description } = first;
    const cases = (await casesFor(first)).filter(({ kernel }) => wanted.length === 0 || wanted.includes(argumentOf(kernel)));
    first.close();
    // Only the cpu device has threads.
    const threadCounts = kind !== "cpu" ? [1] : common.threads === undefined ? [...new Set([1, availableParallelism()])] : [common.threads];
    const timings: Timing[] = [];
    // Measured before, between and after, and the best of each counts: a processor's clock is not the same all the time.
    const ceilings: Ceiling[] = [];
    const progress = new Progress("bench", cases.length * threadCounts.length, { unit: "cases" });
    const measureCeilings = async (): Promise<void> => {
      const device = await context.openDevice({ threads: Math.max(...threadCounts) });
      ceilings.push(await ceilingOf(device));
      device.close();
    };
    for (const threads of threadCounts) {
      await measureCeilings();
      const device = await context.openDevice({ threads, profile: profiled });
      // Timestamps slow a GPU's wall time down, so that they come from a device of their own.
      const stamped = kind === "webgpu" ? await context.openDevice({ profile: true }) : undefined;
      for (const item of cases) {
        context.signal.throwIfAborted();
        progress.update(timings.length, `${item.kernel} ${item.shape}`);
        timings.push({ item, threads, ...(await time(device, stamped, item, context, profiled)) });
      }
      device.close();
      stamped?.close();
    }
    await measureCeilings();
    const ceiling = bestOf(ceilings);
    const results = timings.map((timing) => resultOf(timing, ceiling));
    progress.finish();
    out.print(`${description}; ${ceilingLine(kind, ceiling)}`);
    for (const line of table(["kernel", "shape", "pass", "threads", "ms", "Gflop/s", "GB/s", "share", "of", "tokens/s"], results.map(row))) out.print(line);
    for (const result of results) {
      if (result.pass === "step" && result.counts) out.print(countsLine(result, result.counts));
      if (result.profile) for (const line of profileLines(result)) out.print(line);
    }
    out.document({ device: description, ceiling, results } satisfies BenchDocument);
  },
};

type Measured = Pick<BenchResult, "ms" | "profile" | "counts">;

interface Timing extends Measured {
  readonly item: BenchCase;
  readonly threads: number;
}

/** Times a case on `device`; on a GPU, kernels (not whole steps) by the timestamps of `stamped`, where it has them. */
async function time(device: Device, stamped: Device | undefined, item: BenchCase, { common, signal }: Context, profiled: boolean): Promise<Measured> {
  const run = item.prepare(device, common.seed);
  try {
    await device.synchronize();
    device.resetProfile?.();
    let runs = 0;
    const body = (): unknown => {
      runs++;
      return run.body();
    };
    const ms = (item.pass === "step" ? undefined : await kernelTime(stamped, item, common.seed, signal)) ?? (await bestTime(device, body, { signal }));
    const counts = await countsOf(device, run.body);
    const kernels = profiled ? await device.profile?.() : undefined;
    return {
      ms,
      ...(counts === undefined ? {} : { counts }),
      ...(kernels === undefined ? {} : { profile: kernels.map(({ kernel, calls, seconds }) => ({ kernel, calls: calls / runs, ms: (1000 * seconds) / runs })) }),
    };
  } finally {
    run.dispose();
  }
}

async function kernelTime(device: Device | undefined, item: BenchCase, seed: number, signal: AbortSignal): Promise<number | undefined> {
  if (!device?.profile) return undefined;
  const run = item.prepare(device, seed);
  try {
    return await bestKernelTime(device, run.body, { signal });
  } finally {
    run.dispose();
  }
}

/** What one run asks of the device once it has been warmed up. */
async function countsOf(device: Device, body: () => unknown): Promise<LaunchCounts | undefined> {
  if (!device.counts) return undefined;
  for (let i = 0; i < 2; i++) dispose(scope(body));
  await device.synchronize();
  const before = device.counts();
  dispose(scope(body));
  await device.synchronize();
  const after = device.counts();
  const since = (pick: (counts: LaunchCounts) => number): number => pick(after) - pick(before);
  return { dispatches: since((c) => c.dispatches), copies: since((c) => c.copies), submissions: since((c) => c.submissions), allocations: since((c) => c.allocations) };
}

function bestOf(ceilings: readonly Ceiling[]): Ceiling {
  const most = (pick: (ceiling: Ceiling) => number): number => Math.max(...ceilings.map(pick));
  return { gflopsOneThread: most((c) => c.gflopsOneThread), gflopsAllThreads: most((c) => c.gflopsAllThreads), copyGBs: most((c) => c.copyGBs) };
}

function ceilingLine(kind: DeviceKind, { gflopsOneThread, gflopsAllThreads, copyGBs }: Ceiling): string {
  const arithmetic = kind === "cpu" ? `${count(gflopsOneThread)} Gflop/s on one thread, ${count(gflopsAllThreads)} on all` : `${count(gflopsAllThreads)} Gflop/s`;
  return `ceiling ${arithmetic}; copy ${count(copyGBs)} GB/s`;
}

function countsLine({ kernel, shape }: BenchResult, { dispatches, copies, submissions, allocations }: LaunchCounts): string {
  return `${kernel} ${shape}: ${dispatches} dispatches, ${copies} copies, ${submissions} submissions, ${allocations} buffer allocations`;
}

function resultOf({ item, threads, ms, profile, counts }: Timing, ceiling: Ceiling): BenchResult {
  // Operations in 10⁹ a second are 10⁶ a millisecond.
  const arithmeticMs = item.operations / (1e6 * arithmeticCeiling(ceiling, threads));
  const bandwidthMs = item.bytes / (1e6 * ceiling.copyGBs);
  return {
    kernel: item.kernel,
    shape: item.shape,
    pass: item.pass,
    threads,
    ms,
    operations: item.operations,
    bytes: item.bytes,
    gflops: item.operations / (1e6 * ms),
    gbs: item.bytes / (1e6 * ms),
    share: Math.max(arithmeticMs, bandwidthMs) / ms,
    bound: arithmeticMs >= bandwidthMs ? "arithmetic" : "bandwidth",
    ...(item.tokens === undefined ? {} : { tokensPerSecond: (1000 * item.tokens) / ms }),
    ...(profile === undefined ? {} : { profile }),
    ...(counts === undefined ? {} : { counts }),
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
