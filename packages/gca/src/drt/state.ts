/** The state of a DRT after a prefix. */
import { type Device, type DType, type StateLeaf, type Tensor, zeros } from "@lenggen/kernels";
import { emptyWindow, type WindowState } from "../layer/layer";
import { decoderLayers, type DrtConfig } from "./config";
import { type ChunkMemory, emptyMemory } from "./memory";
import { nothingRetrieved, type Retrieved } from "./retrieval";

/** The state after a prefix. Sizes that grow are told by shapes. */
export interface DrtState {
  readonly [part: string]: Tensor | readonly WindowState[] | readonly Retrieved[] | ChunkMemory;
  /** One per decoder layer, lower ones first. */
  readonly windows: readonly WindowState[];
  /** [B,r,D]: hidden states under the encoder of the running chunk's r tokens. */
  readonly pending: Tensor;
  /** What each group retrieved for the running chunk. */
  readonly retrieved: readonly Retrieved[];
  readonly memory: ChunkMemory;
}

export function stateLeaves(c: DrtConfig): StateLeaf[] {
  const layers = decoderLayers(c);
  return [
    ...Array.from({ length: layers }, (_, layer): StateLeaf[] =>
      ["k", "v"].map((name) => ({ path: `windows.${layer}.${name}`, kind: "window", layer, headAxis: 2 }))).flat(),
    { path: "pending", kind: "window", layer: c.lower },
    ...c.groups.flatMap((_, group): StateLeaf[] =>
      ["indices", "weights"].map((name) => ({ path: `retrieved.${group}.${name}`, kind: "memory", layer: c.lower }))),
    ...["lengths", "landmarks", "keys", "values"].map((name): StateLeaf => ({ path: `memory.${name}`, kind: "memory", layer: c.lower })),
  ];
}

export function emptyState(c: DrtConfig, batch: number, device: Device, dtype: DType): DrtState {
  const like = { device, dtype };
  return {
    windows: Array.from({ length: decoderLayers(c) }, () => emptyWindow(c, batch, device, dtype)),
    pending: zeros(device, [batch, 0, c.width], dtype),
    retrieved: c.groups.map(() => nothingRetrieved(c, batch, like)),
    memory: emptyMemory(c, batch, like),
  };
}
