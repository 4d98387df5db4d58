import { check } from "../errors";
import { kernelsOf } from "../kernels";
import { sameShape, showShape } from "../shape";
import { isRecorded } from "../tape";
import type { Tensor } from "../tensor";
import type { memoryKernels } from "./memory";

const kernels = kernelsOf<typeof memoryKernels>;

/**
 * Adds factor · x to `target` in place, in queue order; no gradient knows of it. For sums of gradients and for updates. Throws `E_SHAPE`
 * and `E_DTYPE` unless both have one shape and one floating type of 32 bits or more, `E_DEVICE` when they are on two devices, `E_SCOPE`
 * when a tape is recording either.
 */
export function addInto(target: Tensor, x: Tensor, factor = 1): void {
  check(target.device === x.device, "E_DEVICE",
    () => `addInto: x is on ${x.device.kind}, the target on another device, ${target.device.kind}`);
  check(sameShape(target.shape, x.shape), "E_SHAPE",
    () => `addInto: x ${showShape(x.shape)} must have the target's shape ${showShape(target.shape)}`);
  check(target.dtype === x.dtype && (x.dtype === "f32" || x.dtype === "f64"), "E_DTYPE", () =>
    `addInto: x is ${x.dtype} and the target ${target.dtype}; both must be f32, or both f64`);
  check(!isRecorded(target, x), "E_SCOPE", () => "addInto: a tape is recording; write in place outside of it, or use add");
  kernels(target).accumulate({ out: target, x, scale: factor });
}
