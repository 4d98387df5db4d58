/**
 * Uniform and normal random tensors. Element i comes from word i of the key (random.ts), and all arithmetic after
 * that is a fixed order of correctly rounded float32 operations (+, -, ·, /, √, no fused multiply-add), so that
 * every device gives the same bits. f64 tensors hold the same numbers, widened.
 *
 *   uniform   u = ⌊word / 2⁸⌋ · 2⁻²⁴,                     out = low + u · (high - low)
 *   normal    p = (2·(⌊word / 2⁸⌋ mod 2²³) + 1) · 2⁻²⁵,   out = mean + std · (±Φ⁻¹(p)),   minus when word < 2³¹
 *
 * p in (0, ½) is exact. Φ⁻¹ is PPND7 of Wichura's algorithm AS 241 (Applied Statistics 37, 1988), with relative
 * error about 10⁻⁷; |Φ⁻¹(2⁻²⁵)| = 5.42 is the largest value. A device that does not round so computes in integers
 * (backends/webgpu/softFloat.ts).
 */
import type { Device } from "../device";
import type { DType } from "../dtype";
import { check } from "../errors";
import { kernelsOf } from "../kernels";
import type { Key } from "../random";
import type { Shape } from "../shape";
import type { Family } from "../signature";
import { Tensor } from "../tensor";

export const randomKernels = {
  /** out[i] = low + u_i · range, with u_i in [0, 1); low and range are float32 numbers. */
  randomUniform: { numbers: { low: "number", range: "number", key: "key" }, reads: {}, writes: { out: "[*]" } },
  /** out[i] = mean + std · z_i; mean and std are float32 numbers. */
  randomNormal: { numbers: { mean: "number", std: "number", key: "key" }, reads: {}, writes: { out: "[*]" } },
} as const satisfies Family;

const kernels = kernelsOf<typeof randomKernels>;

/** Uniform numbers in [low, high) ([0, 1) unless given); rounding may give `high` itself when low is not 0. */
export function uniform(
  key: Key,
  device: Device,
  shape: Shape,
  options: { low?: number; high?: number; dtype?: DType } = {},
): Tensor {
  const { low = 0, high = 1 } = options;
  const range = Math.fround(high - low);
  check(Number.isFinite(Math.fround(low)) && Number.isFinite(range) && range >= 0, "E_ARGUMENT", () =>
    `uniform: low ${low} and high ${high} must be finite float32 numbers with low <= high`);
  const out = Tensor.empty(device, shape, floating("uniform", options.dtype));
  if (out.size > 0) kernels(out).randomUniform({ out, key, low: Math.fround(low), range });
  return out;
}

/** Normal numbers with the given mean and standard deviation (0 and 1 unless given). */
export function normal(
  key: Key,
  device: Device,
  shape: Shape,
  options: { mean?: number; std?: number; dtype?: DType } = {},
): Tensor {
  const mean = Math.fround(options.mean ?? 0);
  const std = Math.fround(options.std ?? 1);
  check(Number.isFinite(mean) && Number.isFinite(std) && std >= 0, "E_ARGUMENT", () =>
    `normal: mean ${options.mean ?? 0} and std ${options.std ?? 1} must be finite float32 numbers with std >= 0`);
  const out = Tensor.empty(device, shape, floating("normal", options.dtype));
  if (out.size > 0) kernels(out).randomNormal({ out, key, mean, std });
  return out;
}

function floating(op: string, dtype: DType = "f32"): DType {
  check(dtype === "f32" || dtype === "f64", "E_DTYPE", () => `${op}: gives f32 or f64 tensors, not ${dtype}`);
  return dtype;
}
