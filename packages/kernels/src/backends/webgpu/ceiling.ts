/** What an adapter can do at most: multiply-adds and exponentials in registers alone, and a copy much larger than the caches. */
import type { Ceiling, Device } from "../../device";
import { kernelsOf } from "../../kernels";
import type { memoryKernels } from "../../ops/memory";
import { Tensor } from "../../tensor";
import type { Launcher } from "./launcher";
import { program } from "./program";

type WebGpuDevice = Device & { readonly launcher: Launcher };

/** Shortest run that a clock is trusted for, and how long runs are repeated for the best one. */
const ENOUGH_SECONDS = 0.02;
const BUDGET_SECONDS = 0.7;

const WORKGROUP = 256;
const GROUPS = 2048;
/** Independent chains of vec4f in a lane, and steps of each in a turn of the loop. */
const CHAINS = 8;
const STEPS = 4;
const chains = (line: (i: number) => string): string => Array.from({ length: CHAINS }, (_, i) => line(i)).join(" ");

const multiplyAdds = program({
  name: "ceiling.multiplyAdds",
  reads: {},
  writes: { out: "f32" },
  params: { turns: "u32", factor: "f32", term: "f32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let first = vec4f(0.0, 0.25, 0.5, 0.75) + f32(lane);
  let factor = vec4f(params.factor);
  let term = vec4f(params.term);
  ${chains((i) => `var c${i} = first + ${i}.0;`)}
  for (var turn = 0u; turn < params.turns; turn++) {
    ${Array.from({ length: STEPS }, () => chains((i) => `c${i} = fma(c${i}, factor, term);`)).join("\n    ")}
  }
  out[group * WORKGROUP + lane] = dot(${Array.from({ length: CHAINS }, (_, i) => `c${i}`).join(" + ")}, vec4f(1.0));
}`,
});

const exponentials = program({
  name: "ceiling.exponentials",
  reads: {},
  writes: { out: "f32" },
  params: { turns: "u32", factor: "f32" },
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let first = vec4f(0.0, 0.25, 0.5, 0.75) + f32(lane % 16u);
  ${chains((i) => `var c${i} = first + ${i}.0;`)}
  for (var turn = 0u; turn < params.turns; turn++) {
    ${Array.from({ length: STEPS }, () => chains((i) => `c${i} = exp(c${i} * params.factor);`)).join("\n    ")}
  }
  out[group * WORKGROUP + lane] = dot(${Array.from({ length: CHAINS }, (_, i) => `c${i}`).join(" + ")}, vec4f(1.0));
}`,
});

/** Quads that a lane copies, WORKGROUP apart. */
const EACH = 4;
const LEAST_COPIED = 1 << 24;
const MOST_COPIED = 1 << 28;

const copy = program({
  name: "ceiling.copy",
  reads: { x: "vec4f" },
  writes: { out: "vec4f" },
  params: {},
  workgroup: WORKGROUP,
  code: `
fn run(group: u32, lane: u32) {
  let at = group * ${EACH}u * WORKGROUP + lane;
  ${Array.from({ length: EACH }, (_, i) => `let x${i} = x[at + ${i}u * WORKGROUP];`).join(" ")}
  ${Array.from({ length: EACH }, (_, i) => `out[at + ${i}u * WORKGROUP] = x${i};`).join(" ")}
}`,
});

/**
 * Measures a device's ceilings, in 10⁹ operations, exponentials and bytes (read and written) a second, in about three seconds, by
 * its timestamps if it was opened with `profile` and has them, else by the clock. Takes at most 512 MiB meanwhile. Throws `E_MEMORY`
 * where there is no room for that.
 */
export async function webGpuCeiling(device: WebGpuDevice): Promise<Ceiling> {
  const { launcher: gpu } = device;
  using out = Tensor.empty(device, [GROUPS * WORKGROUP]);
  const perTurn = GROUPS * WORKGROUP * CHAINS * 4 * STEPS;
  const turns = await best(device, (count) => gpu.run(multiplyAdds, { out }, { turns: count, factor: 0.999, term: 0.1 }, GROUPS));
  const expTurns = await best(device, (count) => gpu.run(exponentials, { out }, { turns: count, factor: -0.5 }, GROUPS));

  // Whole groups, so that the shader has no bounds to look at.
  const block = WORKGROUP * EACH * 16;
  const most = Math.max(block, Math.floor(Math.min(MOST_COPIED, gpu.maxBinding / 2) / block) * block);
  // What is slow has small caches, and would take long.
  let bytes = Math.min(most, LEAST_COPIED);
  while (bytes < most && (await copied(device, bytes, once)) < ENOUGH_SECONDS) bytes = Math.min(most, 4 * bytes);
  const gflops = (2 * perTurn * turns) / 1e9;
  const gexp = (perTurn * expTurns) / 1e9;
  return { gflopsOneThread: gflops, gflopsAllThreads: gflops, gexpOneThread: gexp, gexpAllThreads: gexp,
    copyGBs: (2 * bytes * (await copied(device, bytes, best))) / 1e9 };
}

/** Measures copies of so many bytes. */
async function copied(device: WebGpuDevice, bytes: number, measure: typeof best): Promise<number> {
  using source = Tensor.empty(device, [bytes / 4]);
  using target = Tensor.empty(device, [bytes / 4]);
  kernelsOf<typeof memoryKernels>(source).fill({ out: source, value: 1 });
  // Awaited here, so that the tensors live until then.
  return await measure(device, (count) => {
    for (let i = 0; i < count; i++) device.launcher.run(copy, { x: source, out: target }, {}, bytes / (WORKGROUP * EACH * 16));
  });
}

/** Seconds of one unit of work. */
async function once(device: WebGpuDevice, work: (count: number) => void): Promise<number> {
  await secondsOf(device, () => work(1));
  return secondsOf(device, () => work(1));
}

/** The most units of work a second: as many at once as take long enough to be timed, again and again. */
async function best(device: WebGpuDevice, work: (count: number) => void): Promise<number> {
  let count = 1;
  // The first run compiles.
  await secondsOf(device, () => work(count));
  let seconds = await secondsOf(device, () => work(count));
  while (seconds < ENOUGH_SECONDS) {
    // By and by: a GPU at rest is slow at first, and no run may last for seconds.
    count = Math.ceil(count * Math.min(8, Math.max(1.5, (1.2 * ENOUGH_SECONDS) / Math.max(seconds, 1e-6))));
    seconds = await secondsOf(device, () => work(count));
  }
  const end = performance.now() + 1000 * BUDGET_SECONDS;
  for (let round = 0; round < 3 || performance.now() < end; round++)
    seconds = Math.min(seconds, await secondsOf(device, () => work(count)));
  return count / seconds;
}

async function secondsOf(device: WebGpuDevice, work: () => void): Promise<number> {
  if (!device.profile) {
    await device.synchronize();
    const started = performance.now();
    work();
    await device.synchronize();
    return (performance.now() - started) / 1000;
  }
  await device.profile();
  device.resetProfile?.();
  work();
  return (await device.profile()).reduce((sum, { seconds }) => sum + seconds, 0);
}
