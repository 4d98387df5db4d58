/**
 * The table of kernels: what every backend must provide, one interface per op family. A kernel takes named
 * tensors and numbers, checks nothing (the op's shape rule has), writes its outputs whole unless it says that it
 * accumulates, and returns at once. Adding a kernel here makes the compiler name each backend that lacks it.
 */
import type { Device } from "./device";
import type { attentionKernels } from "./ops/attention";
import type { chunkAttentionKernels } from "./ops/chunkAttention";
import type { convKernels } from "./ops/conv";
import type { crossEntropyKernels } from "./ops/crossEntropy";
import type { elementwiseKernels } from "./ops/elementwise";
import type { embeddingKernels } from "./ops/embedding";
import type { gatesKernels } from "./ops/gates";
import type { layerNormKernels } from "./ops/layerNorm";
import type { matmulKernels } from "./ops/matmul";
import type { memoryKernels } from "./ops/memory";
import type { normKernels } from "./ops/norm";
import type { optimizerKernels } from "./ops/optimizer";
import type { randomKernels } from "./ops/random";
import type { reduceKernels } from "./ops/reduce";
import type { retrieveKernels } from "./ops/retrieve";
import type { ropeKernels } from "./ops/rope";
import type { ssdKernels } from "./ops/ssd";
import type { viewKernels } from "./ops/view";
import type { cumulativeSumKernels } from "./ops/cumulativeSum";
import type { gatherKernels } from "./ops/gather";
import type { whereKernels } from "./ops/where";
import type { Family, KernelsOf } from "./signature";

/** All kernels that a backend must have, from the families' own interfaces. */
export interface Kernels
  extends KernelsOf<typeof memoryKernels>,
    KernelsOf<typeof whereKernels>,
    KernelsOf<typeof gatherKernels>,
    KernelsOf<typeof cumulativeSumKernels>,
    KernelsOf<typeof matmulKernels>,
    KernelsOf<typeof elementwiseKernels>,
    KernelsOf<typeof reduceKernels>,
    KernelsOf<typeof viewKernels>,
    KernelsOf<typeof embeddingKernels>,
    KernelsOf<typeof normKernels>,
    KernelsOf<typeof layerNormKernels>,
    KernelsOf<typeof convKernels>,
    KernelsOf<typeof gatesKernels>,
    KernelsOf<typeof ssdKernels>,
    KernelsOf<typeof chunkAttentionKernels>,
    KernelsOf<typeof attentionKernels>,
    KernelsOf<typeof ropeKernels>,
    KernelsOf<typeof crossEntropyKernels>,
    KernelsOf<typeof optimizerKernels>,
    KernelsOf<typeof retrieveKernels>,
    KernelsOf<typeof randomKernels> {}

/**
 * A family's kernels of a device, or of the device that a tensor is on. An op file makes it its own: `const kernels =
 * kernelsOf<typeof normKernels>`, so that the declarations are of no weight in a bundle.
 */
export function kernelsOf<F extends Family>({ device }: { readonly device: Device }): KernelsOf<F> {
  return device.kernels as unknown as KernelsOf<F>;
}
