import type { LayerNormKernels } from "../../ops/layerNorm";
import type { Launch } from "./launch";

export const layerNorm = (launch: Launch): LayerNormKernels => ({
  layerNorm({ x, weight, bias, y, mean, rstd, rows, width, eps }) {
    launch("layerNorm", [x, weight, bias, y, mean, rstd], [rows, width, eps]);
  },
  layerNormGradient({ x, weight, mean, rstd, dy, dx, dweight, dbias, rows, width }) {
    launch("layerNormGradient", [x, weight, mean, rstd, dy, dx, dweight, dbias], [rows, width]);
  },
});
