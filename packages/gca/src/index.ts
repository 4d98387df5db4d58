/** Grouped Cross Attention (Hu et al., ICML 2025): the model, its chunk memory, and baselines from the same parts. */
export { type DrtConfig, type DrtJson, drtJson, parseDrtConfig } from "./drt/config";
export type { AttentionState } from "@lenggen/kernels/nn";
export { type ChunkMemory } from "./drt/memory";
export { type Drt, drt } from "./drt/model";
export { DRT_PRESETS, type DrtPreset } from "./drt/presets";
export { type Retrieved } from "./drt/retrieval";
export { type DrtState } from "./drt/state";
export { type LoadedDrt, loadDrt, type LoadedTransformer, loadTransformer } from "./files";
export { GCA_FAMILIES } from "./families";
export { hostStore, type HostStoreOptions } from "./memory/hostStore";
export type { ChunkStore, StoreDType, StoreSize, StreamFormat } from "./memory/store";
export { type TransformerConfig, type TransformerJson, parseTransformerConfig, transformerJson } from "./transformer/config";
export { type Transformer, transformer, type TransformerState } from "./transformer/model";
export { TRANSFORMER_PRESETS, type TransformerPreset } from "./transformer/presets";
