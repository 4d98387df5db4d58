import type { normKernels } from "../../ops/norm";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { data } from "./data";

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

export const norm: KernelsOf<typeof normKernels> = {
  rmsNorm({ x, residual, weight, y, sum, rows, width, eps }) {
    const rstd = Tensor.empty(x.device, [rows], x.dtype);
    const [xs, w, ys, r] = [data(x), data(weight), data(y), data(rstd)];
    const h = sum ? data(sum) : xs;
    if (residual) data(residual).forEach((value, i) => (h[i] = xs[i]! + value));
    for (let i = 0; i < rows; i++) {
      let squares = 0;
      for (let j = 0; j < width; j++) squares += h[i * width + j]! ** 2;
      r[i] = 1 / Math.sqrt(squares / width + eps);
      for (let j = 0; j < width; j++) ys[i * width + j] = h[i * width + j]! * r[i]! * w[j]!;
    }
    return { rstd };
  },
  rmsNormGradient({ x, weight, saved: { rstd }, dy, dsum, dx, dresidual, dweight, rows, width }) {
    const [xs, w, r, g, gx, gw] = [data(x), data(weight), data(rstd), data(dy), data(dx), data(dweight)];
    const extra = dsum ? data(dsum) : null;
    gw.fill(0);
    for (let i = 0; i < rows; i++) {
      let projection = 0; // mean(g · x̂)
      for (let j = 0; j < width; j++) projection += (g[i * width + j]! * w[j]! * xs[i * width + j]! * r[i]!) / width;
      for (let j = 0; j < width; j++) {
        const at = i * width + j;
        const normed = xs[at]! * r[i]!;
        gx[at] = r[i]! * (g[at]! * w[j]! - normed * projection) + (extra ? extra[at]! : 0);
        gw[j] = gw[j]! + g[at]! * normed;
      }
    }
    if (dresidual) data(dresidual).set(gx);
  },
  gatedRmsNorm({ y, gate, weight, out, rows, width, groups, eps }) {
    const rstd = Tensor.empty(y.device, [rows, groups], y.dtype);
    const [ys, z, w, o, r] = [data(y), data(gate), data(weight), data(out), data(rstd)];
    const size = width / groups;
    for (let block = 0; block < rows * groups; block++) {
      const u = (j: number) => ys[block * size + j]! * z[block * size + j]! * sigmoid(z[block * size + j]!);
      let squares = 0;
      for (let j = 0; j < size; j++) squares += u(j) ** 2;
      r[block] = 1 / Math.sqrt(squares / size + eps);
      for (let j = 0; j < size; j++) o[block * size + j] = u(j) * r[block]! * w[(block % groups) * size + j]!;
    }
    return { rstd };
  },
  gatedRmsNormGradient({ y, gate, weight, saved: { rstd }, dout, dy, dgate, dweight, rows, width, groups }) {
    const [ys, z, w, r, g] = [data(y), data(gate), data(weight), data(rstd), data(dout)];
    const [gy, gz, gw] = [data(dy), data(dgate), data(dweight)];
    const size = width / groups;
    gw.fill(0);
    for (let block = 0; block < rows * groups; block++) {
      const column = (block % groups) * size; // where the group's weights start
      const normed = (at: number) => ys[at]! * z[at]! * sigmoid(z[at]!) * r[block]!;
      let projection = 0; // mean(g · û)
      for (let j = 0; j < size; j++) {
        const at = block * size + j;
        projection += (g[at]! * w[column + j]! * normed(at)) / size;
      }
      for (let j = 0; j < size; j++) {
        const at = block * size + j;
        const s = sigmoid(z[at]!);
        const du = r[block]! * (g[at]! * w[column + j]! - normed(at) * projection);
        gy[at] = du * z[at]! * s;
        gz[at] = du * ys[at]! * s * (1 + z[at]! * (1 - s));
        gw[column + j] = gw[column + j]! + g[at]! * normed(at);
      }
    }
  },
};
