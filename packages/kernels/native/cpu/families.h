// The kernel families of the CPU device, one a line. X(name) stands for name.cpp, which defines `nameKernels`.
// The build script reads this list too, and may give a shorter one on the command line.
#pragma once
#include "kernel.h"

#ifndef LENGGEN_FAMILIES
#define LENGGEN_FAMILIES(X) \
  X(attention) \
  X(attentionGradient) \
  X(chunkAttention) \
  X(chunkAttentionGradient) \
  X(conv) \
  X(crossEntropy) \
  X(cumulativeSum) \
  X(deltaRule) \
  X(deltaRuleGradient) \
  X(elementwise) \
  X(embedding) \
  X(gatedLinearAttention) \
  X(gatedLinearAttentionGradient) \
  X(gates) \
  X(gatedDeltaRule) \
  X(gatedDeltaRuleGradient) \
  X(gather) \
  X(layerNorm) \
  X(lerp) \
  X(matmul) \
  X(memory) \
  X(norm) \
  X(optimizer) \
  X(random) \
  X(reduce) \
  X(retrieve) \
  X(rope) \
  X(selectiveScan) \
  X(selectiveScanGradient) \
  X(ssd) \
  X(ssdGradient) \
  X(turn) \
  X(view) \
  X(where)
#endif

#ifdef LENGGEN_ISA
namespace lenggen::LENGGEN_ISA {
#define LENGGEN_DECLARE(name) extern const Kernel name##Kernels[];
LENGGEN_FAMILIES(LENGGEN_DECLARE)
#undef LENGGEN_DECLARE
}  // namespace lenggen::LENGGEN_ISA
#endif
