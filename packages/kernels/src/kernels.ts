import type { Device } from "./device";
import type { Family, KernelsOf } from "./signature";

/**
 * A family's kernels on the device that a tensor is on. An op's file makes it its own, `const kernels = kernelsOf<typeof normKernels>`, so
 * that the declarations are of no weight in a bundle. A kernel checks nothing (the op's shape rule has) and returns at once.
 */
export function kernelsOf<F extends Family>({ device }: { readonly device: Device }): KernelsOf<F> {
  return device.kernels as unknown as KernelsOf<F>;
}
