import type { MatmulKernels } from "../../ops/matmul";
import type { Launch } from "./launch";

export const matmul = (launch: Launch): MatmulKernels => ({
  matmul({ a, b, out, batch, m, n, k, transposeA, transposeB, aStride, bStride, outStride, accumulate }) {
    if (b.dtype === "f16") return launch("matmul.f16", [a, b, out], [m, n, k]);
    launch("matmul", [a, b, out], [batch, m, n, k, Number(transposeA), Number(transposeB), aStride, bStride, outStride, Number(accumulate)]);
  },
});
