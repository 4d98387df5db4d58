/** The convolution as its definition says: see ops/conv.ts. */
import type { convKernels } from "../../ops/conv";
import type { KernelsOf } from "../../signature";
import type { Tensor } from "../../tensor";
import { data } from "./data";

/** u_i of sequence `item` in channel `ch`: the state's rows, then those of x. */
function padded(args: { x: Tensor; state: Tensor | null; time: number; channels: number; width: number }) {
  const { x, state, time, channels, width } = args;
  const [xs, ss] = [data(x), state && data(state)];
  return (item: number, i: number, ch: number): number =>
    i < width - 1
      ? (ss?.[(item * (width - 1) + i) * channels + ch] ?? 0)
      : xs[(item * time + i - (width - 1)) * channels + ch]!;
}

/** For each channel its block and its place inside. */
function placesOf(split: readonly number[]): { block: number; inside: number; size: number }[] {
  return split.flatMap((size, block) => Array.from({ length: size }, (_, inside) => ({ block, inside, size })));
}

const sigmoid = (z: number) => 1 / (1 + Math.exp(-z));

export const conv: KernelsOf<typeof convKernels> = {
  causalConv({ weight, bias, silu, split, outputs, final, ...args }) {
    const { batch, time, channels, width } = args;
    const u = padded(args);
    const [ws, bs, fs] = [data(weight), bias && data(bias), data(final)];
    const places = placesOf(split);
    const ys = outputs.map(data);
    for (let item = 0; item < batch; item++) {
      for (let ch = 0; ch < channels; ch++) {
        const { block, inside, size } = places[ch]!;
        for (let t = 0; t < time; t++) {
          let z = bs?.[ch] ?? 0;
          for (let j = 0; j < width; j++) z += ws[ch * width + j]! * u(item, t + j, ch);
          ys[block]![(item * time + t) * size + inside] = silu ? z * sigmoid(z) : z;
        }
        for (let j = 0; j < width - 1; j++) fs[(item * (width - 1) + j) * channels + ch] = u(item, time + j, ch);
      }
    }
  },

  causalConvGradient({ weight, bias, silu, split, douts, dfinal, dx, dweight, dbias, dstate, ...args }) {
    const { batch, time, channels, width } = args;
    const u = padded(args);
    const [ws, bs, gf] = [data(weight), bias && data(bias), dfinal && data(dfinal)];
    const [gx, gw, gb, gs] = [data(dx), data(dweight), dbias && data(dbias), dstate && data(dstate)];
    const places = placesOf(split);
    const gys = douts.map((t) => t && data(t));
    gw.fill(0);
    gb?.fill(0);
    for (let item = 0; item < batch; item++) {
      for (let ch = 0; ch < channels; ch++) {
        const { block, inside, size } = places[ch]!;
        const du = new Float64Array(width - 1 + time);
        for (let t = 0; t < time; t++) {
          let z = bs?.[ch] ?? 0;
          for (let j = 0; j < width; j++) z += ws[ch * width + j]! * u(item, t + j, ch);
          const slope = silu ? sigmoid(z) * (1 + z * (1 - sigmoid(z))) : 1;
          const dz = (gys[block]?.[(item * time + t) * size + inside] ?? 0) * slope;
          if (gb) gb[ch] = gb[ch]! + dz;
          for (let j = 0; j < width; j++) {
            du[t + j]! += ws[ch * width + j]! * dz;
            gw[ch * width + j] = gw[ch * width + j]! + dz * u(item, t + j, ch);
          }
        }
        for (let j = 0; j < width - 1; j++) du[time + j]! += gf?.[(item * (width - 1) + j) * channels + ch] ?? 0;
        for (let j = 0; j < width - 1; j++) if (gs) gs[(item * (width - 1) + j) * channels + ch] = du[j]!;
        for (let t = 0; t < time; t++) gx[(item * time + t) * channels + ch] = du[width - 1 + t]!;
      }
    }
  },
};
