import type { NormKernels } from "../../ops/norm";
import { data } from "./data";

export const norm: NormKernels = {
  rmsNorm({ x, weight, y, rstd, rows, width, eps }) {
    const [xs, w, ys, r] = [data(x), data(weight), data(y), data(rstd)];
    for (let i = 0; i < rows; i++) {
      let squares = 0;
      for (let j = 0; j < width; j++) squares += xs[i * width + j]! ** 2;
      r[i] = 1 / Math.sqrt(squares / width + eps);
      for (let j = 0; j < width; j++) ys[i * width + j] = xs[i * width + j]! * r[i]! * w[j]!;
    }
  },
  rmsNormGradient({ x, weight, rstd, dy, dx, dweight, rows, width }) {
    const [xs, w, r, g, gx, gw] = [data(x), data(weight), data(rstd), data(dy), data(dx), data(dweight)];
    gw.fill(0);
    for (let i = 0; i < rows; i++) {
      let projection = 0; // mean(g · x̂)
      for (let j = 0; j < width; j++) projection += (g[i * width + j]! * w[j]! * xs[i * width + j]! * r[i]!) / width;
      for (let j = 0; j < width; j++) {
        const normed = xs[i * width + j]! * r[i]!;
        gx[i * width + j] = r[i]! * (g[i * width + j]! * w[j]! - normed * projection);
        gw[j] = gw[j]! + g[i * width + j]! * normed;
      }
    }
  },
};
