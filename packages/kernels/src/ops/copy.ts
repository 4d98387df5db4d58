/** Copies between strided places: what all rearranging is made of. Not recorded. */
import { kernelsOf } from "../kernels";
import { type Shape, sizeOf } from "../shape";
import type { Family } from "../signature";
import type { Tensor } from "../tensor";
import { collapse } from "./layout";

export const viewKernels = {
  /**
   * out[outOffset + Σ iₖ·strides[1][k]] = x[xOffset + Σ iₖ·strides[0][k]] for all i below the sizes. One
   * element type; the rest of `out` stays as it is. Offsets count elements. No two steps write to one place.
   */
  copyStrided: { numbers: { xOffset: "size", outOffset: "size", layout: "nest" }, reads: { x: "any[*]" }, writes: { out: "any[*]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof viewKernels>;

/** Copies a box of `sizes` between two strided places. */
export function copyBox(
  x: Tensor, out: Tensor, sizes: Shape, xStrides: readonly number[], outStrides: readonly number[], xOffset = 0, outOffset = 0,
): void {
  if (sizeOf(sizes) === 0) return;
  kernels(x).copyStrided({ x, out, xOffset, outOffset, layout: collapse({ sizes, strides: [xStrides, outStrides] }) });
}
