import type { matmulKernels } from "../../ops/matmul";
import type { KernelsOf } from "../../signature";
import { data } from "./data";

export const matmul: KernelsOf<typeof matmulKernels> = {
  matmul({ a, b, out, batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate }) {
    const [as, bs, o] = [data(a), data(b), data(out)];
    if (!accumulate) o.fill(0);
    for (let s = 0; s < batch; s++) {
      for (let i = 0; i < m; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let l = 0; l < k; l++) {
            const x = as[s * aStride + (transposeA ? l * m + i : i * k + l)]!;
            const y = bs[s * bStride + (transposeB ? j * k + l : l * n + j)]!;
            sum += x * y;
          }
          const at = s * outStride + i * n + j;
          o[at] = o[at]! + sum;
        }
      }
    }
  },
};
