import { type Ceiling, type Device, measureCeiling } from "@lenggen/kernels";

/** The ceilings of a device, measured on it; with plain JavaScript loops on reference, which is plain JavaScript. */
export async function ceilingOf(device: Device): Promise<Ceiling> {
  return device.kind === "reference" ? javascriptCeiling() : measureCeiling(device);
}

const ROUNDS = 5;
const LOOP = 4_000_000;
const COPIED = 1 << 24;

function javascriptCeiling(): Ceiling {
  const gflops = best(() => multiplyAdds(LOOP), 16 * LOOP);
  const from = new Float32Array(COPIED).fill(1);
  const to = new Float32Array(COPIED);
  const gexp = best(() => exponentials(LOOP), LOOP);
  return { gflopsOneThread: gflops, gflopsAllThreads: gflops, gexpOneThread: gexp, gexpAllThreads: gexp,
    copyGBs: best(() => to.set(from), 8 * COPIED) };
}

/** The best of a few runs, in 10⁹ a second. */
function best(body: () => unknown, amount: number): number {
  let ms = Infinity;
  for (let round = 0; round < ROUNDS; round++) {
    const started = performance.now();
    body();
    ms = Math.min(ms, performance.now() - started);
  }
  return amount / (1e6 * ms);
}

/** Eight independent multiply-adds per turn: enough to hide their latency. */
function multiplyAdds(turns: number): number {
  let [a, b, c, d, e, f, g, h] = [1, 2, 3, 4, 5, 6, 7, 8];
  for (let i = 0; i < turns; i++) {
    a = a * 0.999 + 0.1; b = b * 0.999 + 0.1; c = c * 0.999 + 0.1; d = d * 0.999 + 0.1;
    e = e * 0.999 + 0.1; f = f * 0.999 + 0.1; g = g * 0.999 + 0.1; h = h * 0.999 + 0.1;
  }
  return a + b + c + d + e + f + g + h;
}

function exponentials(turns: number): number {
  let sum = 0;
  for (let i = 0; i < turns; i++) sum += Math.exp(-(i & 63));
  return sum;
}
