/** Filling and summing buffers: the two kernels that the tape itself needs. */
import type { Device } from "../device";
import type { DType } from "../dtype";
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import type { Shape } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";

export const memoryKernels = {
  /** out[i] = value */
  fill: { numbers: { value: "number" }, reads: {}, writes: { out: "any[*]" } },
  /** out[i] += scale · x[i]; same shape and type. */
  accumulate: { numbers: { scale: "number" }, reads: { x: "any[*]" }, writes: { out: "any[*]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof memoryKernels>;

/** A tensor of zeros. */
export function zeros(device: Device, shape: Shape, dtype: DType = "f32"): Tensor {
  return full(device, shape, 0, dtype);
}

/** A tensor filled with one value. */
export function full(device: Device, shape: Shape, value: number, dtype: DType = "f32"): Tensor {
  check(dtype !== "f16", "E_DTYPE", () => "full: f16 tensors are made from numbers, by `tensor` or by loading");
  const out = Tensor.empty(device, shape, dtype);
  if (out.size > 0) kernels(out).fill({ out, value });
  return out;
}
