import type { rowKernels } from "../../ops/reduce";
import type { passKernels } from "../../ops/sums";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

/** NaN wins, also against what came before. */
const larger = (a: number, b: number) => b > a || Number.isNaN(b);

export const reduce: KernelsOf<typeof passKernels & typeof rowKernels> = {
  reduceSum({ x, out, outer, length, inner, scale }) {
    const [xs, o] = [data(x), data(out)];
    for (let i = 0; i < outer; i++) {
      for (let j = 0; j < inner; j++) {
        let total = 0;
        for (let k = 0; k < length; k++) total += xs[(i * length + k) * inner + j]!;
        o[i * inner + j] = total * scale;
      }
    }
  },
  reduceMax({ x, out, outer, length, inner }) {
    const [xs, o] = [data(x), data(out)];
    for (let i = 0; i < outer; i++) {
      for (let j = 0; j < inner; j++) {
        let most = -Infinity;
        for (let k = 0; k < length; k++) {
          const value = xs[(i * length + k) * inner + j]!;
          if (larger(most, value)) most = value;
        }
        o[i * inner + j] = most;
      }
    }
  },
  softmax({ x, y, rows, width, logarithm }) {
    const [xs, ys] = [data(x), data(y)];
    for (let i = 0; i < rows; i++) {
      const row = Array.from(xs.subarray(i * width, (i + 1) * width));
      const most = row.reduce((a, b) => Math.max(a, b), -Infinity);
      const total = row.reduce((sum, value) => sum + Math.exp(value - most), 0);
      for (let j = 0; j < width; j++) {
        ys[i * width + j] = logarithm ? row[j]! - most - Math.log(total) : Math.exp(row[j]! - most) / total;
      }
    }
  },
  softmaxGradient({ y, dy, dx, rows, width, logarithm }) {
    const [ys, g, gx] = [data(y), data(dy), data(dx)];
    for (let i = 0; i < rows; i++) {
      let total = 0;
      for (let j = i * width; j < (i + 1) * width; j++) total += logarithm ? g[j]! : g[j]! * ys[j]!;
      for (let j = i * width; j < (i + 1) * width; j++) {
        gx[j] = logarithm ? g[j]! - Math.exp(ys[j]!) * total : ys[j]! * (g[j]! - total);
      }
    }
  },
  argmax({ x, out, rows, width }) {
    const [xs, o] = [data(x), data(out)];
    for (let i = 0; i < rows; i++) {
      let best = 0;
      for (let j = 1; j < width; j++) {
        const most = xs[i * width + best]!;
        if (!Number.isNaN(most) && larger(most, xs[i * width + j]!)) best = j;
      }
      o[i] = best;
    }
  },
};
