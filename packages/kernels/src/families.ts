/**
 * The declarations of all kernels, by family. For those who need them as data: the CPU backend, which passes arguments as they say, the
 * generator of native structs (scripts/signatures.mjs), tests. Nothing that a page loads does.
 */
import { attentionKernels } from "./ops/attention";
import { convKernels } from "./ops/conv";
import { embeddingKernels } from "./ops/embedding";
import { memoryKernels } from "./ops/memory";
import { normKernels } from "./ops/norm";
import { ropeKernels } from "./ops/rope";
import { ssdKernels } from "./ops/ssd";
import { crossEntropyKernels } from "./ops/crossEntropy";
import { layerNormKernels } from "./ops/layerNorm";
import { optimizerKernels } from "./ops/optimizer";
import { randomKernels } from "./ops/random";
import { cumulativeSumKernels } from "./ops/cumulativeSum";
import { gatherKernels } from "./ops/gather";
import { whereKernels } from "./ops/where";
import type { Family } from "./signature";

export const FAMILIES = {
  attention: attentionKernels,
  conv: convKernels,
  embedding: embeddingKernels,
  memory: memoryKernels,
  norm: normKernels,
  rope: ropeKernels,
  ssd: ssdKernels,
  crossEntropy: crossEntropyKernels,
  layerNorm: layerNormKernels,
  optimizer: optimizerKernels,
  random: randomKernels,
  cumulativeSum: cumulativeSumKernels,
  gather: gatherKernels,
  where: whereKernels,
} as const satisfies Readonly<Record<string, Family>>;
