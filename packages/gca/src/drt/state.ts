/** The state of a DRT after a prefix. */
import { type Device, type DType, type StateLeaf, type Tensor, zeros } from "@lenggen/kernels";
import { type AttentionState, leavesOf, zeroState } from "@lenggen/kernels/nn";
import { decoderLayers } from "./config";
import { type ChunkMemory, emptyMemory } from "./memory";
import type { DrtParts } from "./parts";
import { nothingRetrieved, type Retrieved } from "./retrieval";

/** The state after a prefix. Sizes that grow follow from shapes. */
export interface DrtState {
  readonly [part: string]: Tensor | readonly AttentionState[] | readonly Retrieved[] | ChunkMemory;
  /** One per decoder layer, lower ones first. */
  readonly windows: readonly AttentionState[];
  /** [B,r,D]: hidden states under the encoder of the running chunk's r tokens. */
  readonly pending: Tensor;
  /** What each group retrieved for the running chunk. */
  readonly retrieved: readonly Retrieved[];
  readonly memory: ChunkMemory;
}

export function stateLeaves({ config: c, layer: { mixer } }: DrtParts): StateLeaf[] {
  return [
    ...Array.from({ length: decoderLayers(c) }, (_, layer) => leavesOf(mixer.block.state, `windows.${layer}`, layer)).flat(),
    { path: "pending", kind: "window", layer: c.lower },
    ...c.groups.flatMap((_, group): StateLeaf[] =>
      ["indices", "weights"].map((name) => ({ path: `retrieved.${group}.${name}`, kind: "memory", layer: c.lower }))),
    ...["lengths", "landmarks", "keys", "values"].map((name): StateLeaf => ({ path: `memory.${name}`, kind: "memory", layer: c.lower })),
  ];
}

export function emptyState({ config: c, layer: { mixer } }: DrtParts, batch: number, device: Device, dtype: DType): DrtState {
  const like = { device, dtype };
  return {
    windows: Array.from({ length: decoderLayers(c) }, () => zeroState(mixer.block.state, batch, device, dtype)),
    pending: zeros(device, [batch, 0, c.width], dtype),
    retrieved: c.groups.map(() => nothingRetrieved(c, batch, like)),
    memory: emptyMemory(c, batch, like),
  };
}
