/** Recurrent sequence models in the layout of their published checkpoints. */
export type { FlaLayerState, FlaState } from "./fla/decoder";
export type { FlaSettings } from "./fla/settings";
export { type GatedDeltaNetConfig, gatedDeltaNetJson, type GatedDeltaNetJson, parseGatedDeltaNetConfig } from "./gatedDeltaNet/config";
export { type GatedDeltaNet, gatedDeltaNet, gatedDeltaNetParameterCount, type LoadedGatedDeltaNet,
  loadGatedDeltaNet } from "./gatedDeltaNet/model";
export { GATED_DELTANET_PRESETS, type GatedDeltaNetPreset } from "./gatedDeltaNet/presets";
export { type GlaConfig, glaJson, type GlaJson, parseGlaConfig } from "./gla/config";
export { type Gla, gla, glaParameterCount, type LoadedGla, loadGla } from "./gla/model";
export { GLA_PRESETS, type GlaPreset } from "./gla/presets";
export { type BlockConfig, type BlockJson, type HybridConfig, type HybridJson, hybridJson, type LayerJson,
  parseHybridConfig } from "./hybrid/config";
export type { BlockType } from "./hybrid/kinds";
export { type Hybrid, hybrid, type HybridLayerState, hybridParameterCount, type HybridState, loadHybrid } from "./hybrid/model";
export { HYBRID_PRESETS, type HybridPreset } from "./hybrid/presets";
export { type MambaConfig, mambaJson, type MambaJson, parseMambaConfig } from "./mamba/config";
export { type LoadedMamba, loadMamba, saveMamba } from "./mamba/files";
export { type Mamba, mamba, type MambaLayerState, type MambaOptions, mambaParameterCount,
  type MambaState } from "./mamba/model";
export { MAMBA_PRESETS, type MambaPreset } from "./mamba/presets";
export type { MambaLayout, MambaLayouts } from "./mambaFiles";
export { type Mamba2Config, type Mamba2Json, mamba2Json, parseMamba2Config } from "./mamba2/config";
export { type LoadedMamba2, loadMamba2, saveMamba2 } from "./mamba2/files";
export { type Mamba2, mamba2, type Mamba2LayerState, type Mamba2Options, mamba2ParameterCount,
  type Mamba2State } from "./mamba2/model";
export { MAMBA2_PRESETS, type Mamba2Preset } from "./mamba2/presets";
export { type Mamba3Config, type Mamba3Json, mamba3Json, parseMamba3Config } from "./mamba3/config";
export { loadMamba3, type Mamba3, mamba3, mamba3ParameterCount, type Mamba3State } from "./mamba3/model";
export { MAMBA3_PRESETS, type Mamba3Preset } from "./mamba3/presets";
export type { Mamba3LayerState } from "./mamba3/scan";
export { parseRwkv6Config, type Rwkv6Config, type Rwkv6Json, rwkv6Json } from "./rwkv6/config";
export { type LoadedRwkv6, loadRwkv6 } from "./rwkv6/files";
export { type Rwkv6, rwkv6, type Rwkv6LayerState, type Rwkv6Options, rwkv6ParameterCount, type Rwkv6State } from "./rwkv6/model";
export { RWKV6_PRESETS, type Rwkv6Preset } from "./rwkv6/presets";
export { parseRwkv7Config, type Rwkv7Config, type Rwkv7Json, rwkv7Json } from "./rwkv7/config";
export { type LoadedRwkv7, loadRwkv7 } from "./rwkv7/files";
export { type Rwkv7, rwkv7, type Rwkv7LayerState, type Rwkv7Options, rwkv7ParameterCount, type Rwkv7State } from "./rwkv7/model";
export type { RwkvLayout } from "./rwkv/layouts";
export { RWKV7_PRESETS, type Rwkv7Preset } from "./rwkv7/presets";
export { RECURRENT_FAMILIES } from "./families";
export { generate, type GenerateOptions } from "@lenggen/kernels";
