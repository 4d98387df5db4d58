/**
 * The declarations of all kernels, by family. For those who need them as data: the CPU backend, which passes arguments as they say, the
 * generator of native structs (scripts/signatures.mjs), tests. Nothing that a page loads does.
 */
import { attentionKernels } from "./ops/attention";
import { chunkAttentionKernels } from "./ops/chunkAttention";
import { convKernels } from "./ops/conv";
import { crossEntropyKernels } from "./ops/crossEntropy";
import { cumulativeSumKernels } from "./ops/cumulativeSum";
import { deltaRuleKernels } from "./ops/deltaRule";
import { elementwiseKernels } from "./ops/elementwise";
import { embeddingKernels } from "./ops/embedding";
import { gatedDeltaRuleKernels } from "./ops/gatedDeltaRule";
import { gatedLinearAttentionKernels } from "./ops/gatedLinearAttention";
import { gatesKernels } from "./ops/gates";
import { gatherKernels } from "./ops/gather";
import { layerNormKernels } from "./ops/layerNorm";
import { lerpKernels } from "./ops/lerp";
import { matmulKernels } from "./ops/matmul";
import { memoryKernels } from "./ops/memory";
import { normKernels } from "./ops/norm";
import { optimizerKernels } from "./ops/optimizer";
import { randomKernels } from "./ops/random";
import { rowKernels } from "./ops/reduce";
import { retrieveKernels } from "./ops/retrieve";
import { ropeKernels } from "./ops/rope";
import { selectiveScanKernels } from "./ops/selectiveScan";
import { ssdKernels } from "./ops/ssd";
import { passKernels } from "./ops/sums";
import { turnKernels } from "./ops/turn";
import { viewKernels } from "./ops/copy";
import { whereKernels } from "./ops/where";
import type { Family } from "./signature";

export const FAMILIES = {
  attention: attentionKernels,
  chunkAttention: chunkAttentionKernels,
  conv: convKernels,
  crossEntropy: crossEntropyKernels,
  cumulativeSum: cumulativeSumKernels,
  deltaRule: deltaRuleKernels,
  elementwise: elementwiseKernels,
  embedding: embeddingKernels,
  gatedDeltaRule: gatedDeltaRuleKernels,
  gatedLinearAttention: gatedLinearAttentionKernels,
  gates: gatesKernels,
  gather: gatherKernels,
  layerNorm: layerNormKernels,
  lerp: lerpKernels,
  matmul: matmulKernels,
  memory: memoryKernels,
  norm: normKernels,
  optimizer: optimizerKernels,
  random: randomKernels,
  reduce: { ...passKernels, ...rowKernels },
  retrieve: retrieveKernels,
  rope: ropeKernels,
  selectiveScan: selectiveScanKernels,
  ssd: ssdKernels,
  turn: turnKernels,
  view: viewKernels,
  where: whereKernels,
} as const satisfies Readonly<Record<string, Family>>;
