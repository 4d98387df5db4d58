import type { TypedArray } from "../../dtype";
import type { crossEntropyKernels } from "../../ops/crossEntropy";
import type { KernelsOf } from "../../signature";
import { Tensor } from "../../tensor";
import { data } from "./data";

/** Logits of one row into `z`: z[v] = hidden[row] · weight[v]. */
function logitsOfRow(z: Float64Array, hidden: TypedArray, weight: TypedArray, row: number, width: number): void {
  for (let v = 0; v < z.length; v++) {
    let dot = 0;
    for (let j = 0; j < width; j++) dot += hidden[row * width + j]! * weight[v * width + j]!;
    z[v] = dot;
  }
}

export const crossEntropy: KernelsOf<typeof crossEntropyKernels> = {
  crossEntropy({ hidden, weight, targets, losses, rows, width, vocabulary }) {
    const logsumexp = Tensor.empty(hidden.device, [rows], hidden.dtype);
    const [h, w, t, loss, lse] = [data(hidden), data(weight), data(targets), data(losses), data(logsumexp)];
    const z = new Float64Array(vocabulary);
    for (let i = 0; i < rows; i++) {
      loss[i] = lse[i] = 0;
      if (t[i]! < 0) continue;
      logitsOfRow(z, h, w, i, width);
      const max = z.reduce((a, b) => Math.max(a, b), -Infinity);
      const s = max + Math.log(z.reduce((sum, x) => sum + Math.exp(x - max), 0));
      lse[i] = s;
      loss[i] = s - z[Math.min(t[i]!, vocabulary - 1)]!;
    }
    return { logsumexp };
  },
  crossEntropyGradient({ hidden, weight, targets, saved: { logsumexp }, dlosses, dhidden, dweight, rows, width, vocabulary }) {
    const [h, w, t, lse, g] = [data(hidden), data(weight), data(targets), data(logsumexp), data(dlosses)];
    const gh = dhidden && data(dhidden);
    const gw = dweight && data(dweight);
    gh?.fill(0);
    gw?.fill(0);
    const z = new Float64Array(vocabulary);
    for (let i = 0; i < rows; i++) {
      if (t[i]! < 0) continue;
      logitsOfRow(z, h, w, i, width);
      const target = Math.min(t[i]!, vocabulary - 1);
      for (let v = 0; v < vocabulary; v++) {
        const dz = g[i]! * (Math.exp(z[v]! - lse[i]!) - (v === target ? 1 : 0));
        for (let j = 0; j < width; j++) {
          if (gh) gh[i * width + j] = gh[i * width + j]! + dz * w[v * width + j]!;
          if (gw) gw[v * width + j] = gw[v * width + j]! + dz * h[i * width + j]!;
        }
      }
    }
  },
};
