import type { layerNormKernels } from "../../ops/layerNorm";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { data } from "./data";

export const layerNorm: KernelsOf<typeof layerNormKernels> = {
  layerNorm({ x, weight, bias, y, rows, width, eps }) {
    const [mean, rstd] = [Tensor.empty(x.device, [rows], x.dtype), Tensor.empty(x.device, [rows], x.dtype)];
    const [xs, w, ys, m, r] = [data(x), data(weight), data(y), data(mean), data(rstd)];
    const b = bias ? data(bias) : null;
    for (let i = 0; i < rows; i++) {
      let sum = 0;
      for (let j = 0; j < width; j++) sum += xs[i * width + j]!;
      m[i] = sum / width;
      let squares = 0;
      for (let j = 0; j < width; j++) squares += (xs[i * width + j]! - m[i]!) ** 2;
      r[i] = 1 / Math.sqrt(squares / width + eps);
      for (let j = 0; j < width; j++) ys[i * width + j] = (xs[i * width + j]! - m[i]!) * r[i]! * w[j]! + (b ? b[j]! : 0);
    }
    return { mean, rstd };
  },
  layerNormGradient({ x, weight, saved: { mean, rstd }, dy, dx, dweight, dbias, rows, width }) {
    const [xs, w, m, r, g, gx, gw] = [data(x), data(weight), data(mean), data(rstd), data(dy), data(dx), data(dweight)];
    const gb = dbias ? data(dbias) : null;
    gw.fill(0);
    gb?.fill(0);
    for (let i = 0; i < rows; i++) {
      const normed = (j: number) => (xs[i * width + j]! - m[i]!) * r[i]!;
      let [level, projection] = [0, 0]; // mean(g) and mean(g · x̂)
      for (let j = 0; j < width; j++) {
        level += (g[i * width + j]! * w[j]!) / width;
        projection += (g[i * width + j]! * w[j]! * normed(j)) / width;
      }
      for (let j = 0; j < width; j++) {
        const at = i * width + j;
        gx[at] = r[i]! * (g[at]! * w[j]! - level - normed(j) * projection);
        gw[j] = gw[j]! + g[at]! * normed(j);
        if (gb) gb[j] = gb[j]! + g[at]!;
      }
    }
  },
};
