/** Measures one case on the devices that a benchmark has open. */
import { type Device, dispose, type KernelTime, type LaunchCounts, scope } from "@lenggen/kernels";
import type { BenchCase } from "./case";
import { bestKernelTimes, bestTime, type Effort, totalMs } from "./timing";

export interface BenchDevices {
  /** Times by the clock, and counts. */
  readonly plain: Device;
  /** Times by timestamps, which slow the clock's time down; absent where the device has none. */
  readonly stamped?: Device;
}

export interface KernelShare {
  readonly kernel: string;
  /** Per run, as is the time: means over all runs on cpu, of the best run on a GPU. */
  readonly calls: number;
  readonly ms: number;
}

export interface Measured {
  readonly ms: number;
  /** Where `ms` comes from: the kernels' own time, or the time that passes for who waits for the result. */
  readonly clock: "timestamps" | "wall";
  /** When asked for: what one run launches, the longest first. */
  readonly profile?: readonly KernelShare[];
  /** What one run asks of the device once it has been warmed up, where that is counted. */
  readonly counts?: LaunchCounts;
}

export interface MeasureOptions {
  readonly seed: number;
  readonly effort: Effort;
  readonly profiled: boolean;
}

/** Whole models are timed by the clock, since so are their tokens per second; kernels by timestamps, where there are any. */
export async function measure({ plain, stamped }: BenchDevices, item: BenchCase,
  { seed, effort, profiled }: MeasureOptions): Promise<Measured> {
  const whole = item.tokens !== undefined;
  const stamps = stamped && (profiled || !whole)
    ? await onDevice(stamped, item, seed, (body) => bestKernelTimes(stamped, body, effort)) : undefined;
  return onDevice(plain, item, seed, async (body) => {
    plain.resetProfile?.();
    let runs = 0;
    const counted = (): unknown => {
      runs++;
      return body();
    };
    const time = stamps && !whole ? { ms: totalMs(stamps), clock: "timestamps" as const }
      : { ms: await bestTime(plain, counted, effort), clock: "wall" as const };
    const profile = !profiled ? undefined : stamps ? shares(stamps, 1) : await plain.profile?.().then((times) => shares(times, runs));
    const counts = await countsOf(plain, body);
    return { ...time, ...(profile === undefined ? {} : { profile }), ...(counts === undefined ? {} : { counts }) };
  });
}

const shares = (times: readonly KernelTime[], runs: number): KernelShare[] =>
  times.map(({ kernel, calls, seconds }) => ({ kernel, calls: calls / runs, ms: (1000 * seconds) / runs }));

async function onDevice<T>(device: Device, item: BenchCase, seed: number, work: (body: () => unknown) => Promise<T>): Promise<T> {
  const run = item.prepare(device, seed);
  try {
    await device.synchronize();
    return await work(run.body);
  } finally {
    run.dispose();
  }
}

async function countsOf(device: Device, body: () => unknown): Promise<LaunchCounts | undefined> {
  if (!device.counts) return undefined;
  for (let i = 0; i < 2; i++) dispose(scope(body));
  await device.synchronize();
  const before = device.counts();
  dispose(scope(body));
  await device.synchronize();
  const after = device.counts();
  const since = (pick: (counts: LaunchCounts) => number): number => pick(after) - pick(before);
  return { dispatches: since((c) => c.dispatches), copies: since((c) => c.copies), submissions: since((c) => c.submissions),
    allocations: since((c) => c.allocations) };
}
