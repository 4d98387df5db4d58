/** Filling and summing buffers: the two kernels that the tape itself needs. */
import type { Tensor } from "../tensor";

export interface MemoryKernels {
  /** out[i] = value */
  fill(args: { out: Tensor; value: number }): void;
  /** out[i] += scale · x[i]; same shape and type. */
  accumulate(args: { out: Tensor; x: Tensor; scale: number }): void;
}
