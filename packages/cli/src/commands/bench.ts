import { availableParallelism } from "node:os";
import { type Ceiling, type Device, type DeviceKind, devices } from "@lenggen/kernels";
import { COMPOSED, runComposed } from "@lenggen/kernels/composed";
import type { BenchCase } from "../bench/case";
import { ceilingOf } from "../bench/ceiling";
import { type BenchDevices, measure, type Measured, type MeasureOptions } from "../bench/measure";
import { HOST_CASES } from "../bench/hostCases";
import { GPU_MODEL_CASES, LARGE_CASES, MODEL_CASES } from "../bench/modelCases";
import { GPU_OP_CASES, OP_CASES } from "../bench/opCases";
import { type BenchResult, resultLines, resultOf } from "../bench/result";
import { LEAST_EFFORT } from "../bench/timing";
import type { CommandSpec, Context } from "../command";
import { count } from "../format";
import { oneOf } from "../parse";
import { Progress } from "../progress";

/** What `lenggen bench --json` prints. */
export interface BenchDocument {
  readonly device: string;
  /** Whether this is a GPU that is software, whose times say nothing: only operations, bytes and counts do. */
  readonly software: boolean;
  readonly ceiling: Ceiling;
  readonly results: readonly BenchResult[];
}

const CASES = [...OP_CASES, ...MODEL_CASES, ...HOST_CASES];
/** The sizes that a GPU needs to show what it can do are too much for a processor, and for an adapter that is one. */
const GPU_CASES = [...CASES, ...GPU_OP_CASES, ...GPU_MODEL_CASES];
/** A kernel's name without what a shell would want quoted. */
const argumentOf = (kernel: string): string => kernel.replaceAll(" ", "-");
const ARGUMENTS = [...new Set([...CASES, ...LARGE_CASES].map(({ kernel }) => argumentOf(kernel)))];
const LARGE = LARGE_CASES.map(({ kernel }) => argumentOf(kernel)).join(", ");

export const bench: CommandSpec = {
  name: "bench",
  summary: "Time the kernels and whole training steps, as shares of what the device can do, measured in the same run.",
  examples: ["lenggen bench", "lenggen bench matmul ssd --threads 1 --json", "lenggen bench training-step --device webgpu --profile"],
  define: (command) =>
    command.argument("[kernels...]", `only these: ${ARGUMENTS.join(", ")}; all but ${LARGE} unless given`)
      .option("--profile", "show which kernels the time goes to")
      .option("--composed", "time ops also as other ops say them, as a device without their kernels runs them"),
  async run(context, args, options) {
    const { out, common, signal } = context;
    const wanted = args.map((name) => oneOf("kernel", ARGUMENTS)(argumentOf(name)));
    const about = await lookAt(context);
    const usual = about.gpu ? GPU_CASES : CASES;
    const cases = wanted.length === 0 ? usual : [...usual, ...LARGE_CASES].filter(({ kernel }) => wanted.includes(argumentOf(kernel)));
    // Only the cpu device has threads.
    const threadCounts = about.kind !== "cpu" ? [1] : common.threads === undefined ? [...new Set([1, availableParallelism()])]
      : [common.threads];
    const profiled = options["profile"] === true;
    const composed = options["composed"] === true;
    if (profiled && !about.profiles)
      out.note(`lenggen: --profile shows nothing: ${about.description} does not tell which kernels its time goes to`);
    if (about.software) out.note(
      "lenggen: this adapter is software: its times and shares say nothing of a GPU; operations, bytes and counts are the same on any");
    const how: MeasureOptions = { seed: common.seed, profiled, effort: about.software ? { ...LEAST_EFFORT, signal } : { signal } };
    const shorter = composed ? [...new Set(cases.flatMap(({ kernel, composed: form }) => (form ? [kernel] : [])))] : [];
    if (shorter.length > 0) out.note(`lenggen: the composed form of ${shorter.join(", ")} is timed with fewer steps (T in the table): it `
      + "takes them one by one, in ops of their own, thousands of them minutes and gigabytes");
    const progress = new Progress("bench", cases.length * threadCounts.length, { unit: "cases", alike: false });
    const timings: { item: BenchCase; threads: number; measured: Measured }[] = [];
    // Measured before, between and after, and the best of each counts: a processor's clock is not the same all the time.
    const ceilings: Ceiling[] = [];
    const measureCeilings = async (): Promise<void> => {
      progress.update(timings.length, "the device's ceiling");
      ceilings.push(await withDevice(context, { threads: Math.max(...threadCounts), profile: about.gpu }, ceilingOf));
    };
    for (const threads of threadCounts) {
      await measureCeilings();
      const open: BenchDevices = {
        plain: await context.openDevice({ threads }),
        ...(about.gpu || (about.software && profiled) ? { stamped: await context.openDevice({ profile: true }) } : {}),
      };
      const other = composed ? await context.openDevice({ threads }) : undefined;
      if (other) runComposed(other);
      for (const item of cases) {
        signal.throwIfAborted();
        progress.update(timings.length, `${item.kernel} ${item.shape}`);
        timings.push({ item, threads, measured: await measure(open, item, how) });
        if (!other || !COMPOSED.some(({ op }) => op.name === item.kernel.split("+")[0])) continue;
        const { composed: same = item } = item;
        const twin = { ...same, kernel: `${item.kernel} composed` };
        timings.push({ item: twin, threads, measured: await measure({ plain: other }, twin,
          { ...how, effort: { ...LEAST_EFFORT, signal } }) });
      }
      open.plain.close();
      other?.close();
      open.stamped?.close();
    }
    if (!about.software) await measureCeilings();
    progress.finish();
    const ceiling = bestOf(ceilings);
    const results = timings.map(({ item, threads, measured }) => resultOf(item, threads, measured, ceiling));
    out.print(`${about.description}; ${ceilingLine(about.kind, ceiling)}${clockLine(results)}`);
    for (const line of resultLines(results)) out.print(line);
    out.document({ device: about.description, software: about.software, ceiling, results } satisfies BenchDocument);
  },
};

async function withDevice<T>({ openDevice }: Context, options: Parameters<Context["openDevice"]>[0],
  work: (device: Device) => T | Promise<T>): Promise<T> {
  const device = await openDevice(options);
  try {
    return await work(device);
  } finally {
    device.close();
  }
}

interface About {
  readonly kind: DeviceKind;
  readonly description: string;
  /** A GPU, or WebGPU's imitation of one. */
  readonly gpu: boolean;
  readonly software: boolean;
  readonly profiles: boolean;
}

async function lookAt(context: Context): Promise<About> {
  const { kind, description, profiles } = await withDevice(context, { profile: true }, (device) => ({
    kind: device.kind, description: device.description, profiles: device.profile !== undefined,
  }));
  const webgpu = kind === "webgpu" ? (await devices()).find(({ name }) => name === kind) : undefined;
  const software = webgpu?.details["type"] === "software";
  return { kind, description, profiles, gpu: kind === "webgpu" && !software, software };
}

function bestOf(ceilings: readonly Ceiling[]): Ceiling {
  const most = (pick: (ceiling: Ceiling) => number): number => Math.max(...ceilings.map(pick));
  return { gflopsOneThread: most((c) => c.gflopsOneThread), gflopsAllThreads: most((c) => c.gflopsAllThreads),
    gexpOneThread: most((c) => c.gexpOneThread), gexpAllThreads: most((c) => c.gexpAllThreads), copyGBs: most((c) => c.copyGBs) };
}

function ceilingLine(kind: DeviceKind, { gflopsOneThread, gflopsAllThreads, gexpAllThreads, copyGBs }: Ceiling): string {
  const arithmetic = kind === "cpu" ? `${count(gflopsOneThread)} Gflop/s on one thread, ${count(gflopsAllThreads)} on all`
    : `${count(gflopsAllThreads)} Gflop/s`;
  return `ceiling ${arithmetic}; ${count(gexpAllThreads)} Gexp/s; copy ${count(copyGBs)} GB/s`;
}

/** Which clock the times are by, where that is not plain. */
function clockLine(results: readonly BenchResult[]): string {
  const clocks = new Set(results.map(({ clock }) => clock));
  if (!clocks.has("timestamps")) return "";
  return clocks.size === 1 ? "; times by timestamps" : "; times of kernels by timestamps, of whole models by the clock";
}
