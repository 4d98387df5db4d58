/**
 * The declarations of all kernels, by family. For those who need them as data: the CPU backend, which passes arguments as they say, the
 * generator of native structs (scripts/signatures.mjs), tests. Nothing that a page loads does.
 */
import { convKernels } from "./ops/conv";
import { memoryKernels } from "./ops/memory";
import { normKernels } from "./ops/norm";
import { ssdKernels } from "./ops/ssd";
import type { Family } from "./signature";

export const FAMILIES = {
  conv: convKernels,
  memory: memoryKernels,
  norm: normKernels,
  ssd: ssdKernels,
} as const satisfies Readonly<Record<string, Family>>;
