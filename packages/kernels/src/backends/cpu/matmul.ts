import type { MatmulKernels } from "../../ops/matmul";
import type { Launch } from "./launch";

export const matmul = (launch: Launch): MatmulKernels => ({
  matmul({ a, b, out, batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate }) {
    launch("matmul", [a, b, out], [batch, m, n, k, Number(transposeA), Number(transposeB), aStride, bStride, outStride, Number(accumulate)]);
  },
});
