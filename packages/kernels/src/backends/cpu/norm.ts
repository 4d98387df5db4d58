import type { NormKernels } from "../../ops/norm";
import type { Launch } from "./launch";

export const norm = (launch: Launch): NormKernels => ({
  rmsNorm({ x, residual, weight, y, sum, rstd, rows, width, eps }) {
    launch("rmsNorm", [x, residual, weight, y, sum, rstd], [rows, width, eps]);
  },
  rmsNormGradient({ x, weight, rstd, dy, dsum, dx, dresidual, dweight, rows, width }) {
    launch("rmsNormGradient", [x, weight, rstd, dy, dsum, dx, dresidual, dweight], [rows, width]);
  },
  gatedRmsNorm({ y, gate, weight, out, rstd, rows, width, groups, eps }) {
    launch("gatedRmsNorm", [y, gate, weight, out, rstd], [rows, width, groups, eps]);
  },
  gatedRmsNormGradient({ y, gate, weight, rstd, dout, dy, dgate, dweight, rows, width, groups }) {
    launch("gatedRmsNormGradient", [y, gate, weight, rstd, dout, dy, dgate, dweight], [rows, width, groups]);
  },
});
