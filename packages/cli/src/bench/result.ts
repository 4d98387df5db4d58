/** What a benchmark says of one case, to programs and to people. */
import type { Ceiling, LaunchCounts } from "@lenggen/kernels";
import { count, percent } from "../format";
import { table } from "../table";
import type { BenchCase, Pass } from "./case";
import type { Measured } from "./measure";

/** One timing, with the share of the ceiling that binds. */
export interface BenchResult extends Measured {
  readonly kernel: string;
  readonly shape: string;
  readonly pass: Pass;
  /** 1 on devices that have no threads to count. */
  readonly threads: number;
  /** What one run needs at least: operations (a multiply-add is two), and bytes read and written; 0 bytes where nobody counted. */
  readonly operations: number;
  readonly bytes: number;
  readonly exponentials?: number;
  /** Arithmetic reached, in 10⁹ operations a second. */
  readonly gflops: number;
  /** Bytes that must move at least, in 10⁹ a second. */
  readonly gbs: number;
  /** Time that the binding ceiling allows over the time taken. */
  readonly share: number;
  readonly bound: "arithmetic" | "exponentials" | "bandwidth";
  readonly tokensPerSecond?: number;
}

export function resultOf(item: BenchCase, threads: number, measured: Measured, ceiling: Ceiling): BenchResult {
  const { kernel, shape, pass, operations, bytes, exponentials = 0, tokens } = item;
  const { ms } = measured;
  // 10⁹ a second are 10⁶ a millisecond.
  const least = {
    arithmetic: operations / (1e6 * ofThreads(ceiling.gflopsOneThread, ceiling.gflopsAllThreads, threads)),
    exponentials: exponentials / (1e6 * ofThreads(ceiling.gexpOneThread, ceiling.gexpAllThreads, threads)),
    bandwidth: bytes / (1e6 * ceiling.copyGBs),
  };
  const bound = (["arithmetic", "exponentials", "bandwidth"] as const).reduce((a, b) => (least[b] > least[a] ? b : a));
  return {
    kernel, shape, pass, threads, operations, bytes, ...(exponentials > 0 ? { exponentials } : {}), ...measured,
    gflops: operations / (1e6 * ms),
    gbs: bytes / (1e6 * ms),
    share: least[bound] / ms,
    bound,
    ...(tokens === undefined ? {} : { tokensPerSecond: (1000 * tokens) / ms }),
  };
}

/** What so many threads can do, by what one and all can. */
function ofThreads(one: number, all: number, threads: number): number {
  return threads === 1 ? one : Math.min(all, threads * one);
}

/** Head and cell of each column. One that is empty in every row is left out. */
const COLUMNS: Readonly<Record<string, (result: BenchResult) => string>> = {
  "kernel": ({ kernel }) => kernel,
  "shape": ({ shape }) => shape,
  "pass": ({ pass }) => pass,
  "threads": ({ threads, counts }) => (counts ? "" : String(threads)),
  "ms": ({ ms }) => count(ms),
  "Gflop": ({ operations }) => count(operations / 1e9),
  "Gexp": ({ exponentials }) => (exponentials ? count(exponentials / 1e9) : ""),
  "MB": ({ bytes }) => (bytes > 0 ? count(bytes / 1e6) : ""),
  "Gflop/s": ({ gflops }) => count(gflops),
  "GB/s": ({ gbs }) => (gbs > 0 ? count(gbs) : ""),
  "share": ({ share }) => percent(share),
  "of": ({ bound }) => bound,
  "tokens/s": ({ tokensPerSecond }) => (tokensPerSecond ? count(tokensPerSecond) : ""),
  "dispatches": ({ counts }) => (counts ? String(counts.dispatches) : ""),
};

/** The table of all results, then for training steps what they ask of the device, then the profiles. */
export function resultLines(results: readonly BenchResult[]): string[] {
  const columns = Object.entries(COLUMNS).filter(([, cell]) => results.some((result) => cell(result) !== ""));
  const steps = results.filter(({ pass, counts }) => pass === "step" && counts);
  return [
    ...table(columns.map(([head]) => head), results.map((result) => columns.map(([, cell]) => cell(result)))),
    ...(steps.length > 0 ? [""] : []),
    ...steps.map((result) => countsLine(result, result.counts!)),
    ...results.flatMap((result) => (result.profile ? profileLines(result, result.profile) : [])),
  ];
}

function countsLine({ kernel, shape }: BenchResult, { dispatches, copies, submissions, allocations }: LaunchCounts): string {
  return `${kernel} ${shape}: ${dispatches} dispatches, ${copies} copies, ${submissions} submissions, ${allocations} buffer allocations`;
}

function profileLines({ kernel, shape, pass, threads, counts }: BenchResult, profile: NonNullable<BenchResult["profile"]>): string[] {
  const total = profile.reduce((sum, { ms }) => sum + ms, 0);
  const rows = profile.map((part) => [part.kernel, count(part.calls), count(part.ms), percent(part.ms / total)]);
  const how = counts ? "the best run, by timestamps" : `${threads} ${threads === 1 ? "thread" : "threads"}: mean of all runs`;
  return ["", `${kernel} ${shape}, ${pass}, ${how}`, ...table(["kernel", "calls", "ms", "share"], rows)];
}
