/**
 * The table of kernels: what every backend must provide, one interface per op family. A kernel takes named
 * tensors and numbers, checks nothing (the op's shape rule has), writes its outputs whole unless it says that it
 * accumulates, and returns at once. Adding a kernel here makes the compiler name each backend that lacks it.
 */
import type { AttentionKernels } from "./ops/attention";
import type { ChunkAttentionKernels } from "./ops/chunkAttention";
import type { ConvKernels } from "./ops/conv";
import type { CrossEntropyKernels } from "./ops/crossEntropy";
import type { ElementwiseKernels } from "./ops/elementwise";
import type { EmbeddingKernels } from "./ops/embedding";
import type { GateKernels } from "./ops/gates";
import type { LayerNormKernels } from "./ops/layerNorm";
import type { MatmulKernels } from "./ops/matmul";
import type { MemoryKernels } from "./ops/memory";
import type { NormKernels } from "./ops/norm";
import type { OptimizerKernels } from "./ops/optimizer";
import type { RandomKernels } from "./ops/random";
import type { ReduceKernels } from "./ops/reduce";
import type { RetrieveKernels } from "./ops/retrieve";
import type { RopeKernels } from "./ops/rope";
import type { SsdKernels } from "./ops/ssd";
import type { ViewKernels } from "./ops/view";

/** All kernels that a backend must have, from the families' own interfaces. */
export interface Kernels
  extends MemoryKernels,
    MatmulKernels,
    ElementwiseKernels,
    ReduceKernels,
    ViewKernels,
    EmbeddingKernels,
    NormKernels,
    LayerNormKernels,
    ConvKernels,
    GateKernels,
    SsdKernels,
    ChunkAttentionKernels,
    AttentionKernels,
    RopeKernels,
    CrossEntropyKernels,
    OptimizerKernels,
    RetrieveKernels,
    RandomKernels {}
