/** Scans whose state holds nothing, as a size is 0: outputs and gradients are 0, so that kernels need not know of such sizes. */
import { kernelsOf } from "../kernels";
import type { Tensor } from "../tensor";
import { type memoryKernels, zeros } from "./memory";

const kernels = kernelsOf<typeof memoryKernels>;

/** Writes zeros. */
export function clear(out: Tensor): void {
  if (out.size > 0) kernels(out).fill({ out, value: 0 });
}

/** Zeros as the gradient of each wanted input. */
export function zeroGradients<I extends Readonly<Record<string, Tensor | null>>>(
  inputs: I, wanted: { readonly [N in keyof I]: boolean },
): { [N in keyof I]: Tensor | null } {
  const entries = Object.entries(inputs).map(([name, t]) => [name, t && wanted[name] ? zeros(t.device, t.shape, t.dtype) : null]);
  return Object.fromEntries(entries) as { [N in keyof I]: Tensor | null };
}
