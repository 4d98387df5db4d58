/**
 * What flash-linear-attention's decoders are made of beside their mixers, with its names in files: pre-norm layers with a SwiGLU, short
 * convolutions on q, k and v, and the norm of each head before the gate.
 *
 *   x += attn(RMSNorm(x)),   x += mlp(RMSNorm(x))
 *
 * All matrices, embeddings and convolutions begin normal with one deviation, biases with 0 and norms with 1, as in its `_init_weights`.
 * Weight decay touches matrices and convolutions.
 */
import { type CheckpointForm, mul, reshape, rmsNorm, silu, type Tensor } from "@lenggen/kernels";
import {
  type Block, type Bound, decoder, matrix, normalInit, parameter, prefixed, rmsNormBlock, type ShortConvolution, shortConvolution, type
  StateOf, type StatePart, swiGluOfThree,
} from "@lenggen/kernels/nn";
import { keptFields, withKept } from "../layouts";
import type { FlaSettings } from "./settings";

/** The state of a layer: the mixer's matrix of keys and values, and the last inputs of the short convolutions where there are any. */
export interface FlaStateParts {
  readonly [part: string]: StatePart;
  /** [H, K, V] */
  readonly s: StatePart;
}

/** One layer's state. */
export interface FlaLayerState extends StateOf<FlaStateParts> {
  /** The sum over the past, keys first: [B, H, K, V]. */
  readonly s: Tensor;
}

/** The state after a prefix, one entry for each layer. */
export interface FlaState {
  readonly [leaf: string]: readonly FlaLayerState[];
  readonly layers: readonly FlaLayerState[];
}

/** A decoder with this mixer in every layer. */
export function flaDecoder<P extends Parameters<typeof prefixed>[1]["parameters"]>(c: FlaSettings, mixer: Block<P, FlaStateParts>) {
  const normal = normalInit(c.initStd);
  const rows = [c.vocabulary, c.width] as const;
  const mlp = swiGluOfThree({ gate: "gate_proj.weight", up: "up_proj.weight", out: "down_proj.weight" },
    { width: c.width, intermediateSize: c.intermediateSize, init: { in: normal, out: normal } });
  const layer = {
    mixer: { norm: rmsNormBlock("attn_norm", c.width, c.normEps), block: prefixed("attn", mixer) },
    feedForward: { norm: rmsNormBlock("mlp_norm", c.width, c.normEps), block: prefixed("mlp", mlp) },
  };
  return decoder({
    embedding: parameter("model.embeddings.weight", rows,
      { init: normal, decay: true, half: true, copies: c.tieEmbeddings ? ["lm_head.weight"] : [] }),
    layers: Array.from({ length: c.layers }, () => layer),
    layerNames: "model.layers",
    norm: rmsNormBlock("model.norm", c.width, c.normEps),
    head: c.tieEmbeddings ? null : matrix("lm_head.weight", rows, normal),
    vocabulary: c.vocabulary,
    stateName: "layers",
  });
}

/**
 * Its files: a tied output matrix is stored once, and read under either name. `json`: the configuration that the model came with, whose
 * special tokens and the like are kept, and whose norms may not be fused with what follows, which has another name for one.
 */
export function flaCheckpoint(
  config: Readonly<Record<string, unknown>>, parameters: ReturnType<typeof flaDecoder>["parameters"], json: unknown,
): CheckpointForm {
  const kept = keptFields(json);
  return {
    config: `${JSON.stringify(withKept(config, kept), null, 2)}\n`,
    ...parameters.files(kept["fuse_norm"] === false ? UNFUSED : "fla", { copies: false }),
  };
}

/** The layout of flash-linear-attention where norms are modules of their own. */
export const UNFUSED = "unfused";

/** q, k and v, each [B,T,D]. */
export interface Projected {
  readonly q: Tensor;
  readonly k: Tensor;
  readonly v: Tensor;
}

interface Convolved {
  readonly outputs: Projected;
  readonly state: { readonly [part: string]: Tensor };
}

/** The short convolutions of q, k and v without bias, each followed by SiLU; nothing where the configuration has none. */
export function convolutions({ convolution: kernel, initStd }: FlaSettings, channels: { q: number; k: number; v: number }) {
  const of = (name: "q" | "k" | "v"): ShortConvolution | null => kernel === null ? null
    : shortConvolution(`${name}_conv1d`, { channels: channels[name], kernel, init: normalInit(initStd), bias: null });
  const all = { q: of("q"), k: of("k"), v: of("v") };
  const parameters = { q: all.q && all.q.parameters, k: all.k && all.k.parameters, v: all.v && all.v.parameters };
  const parts = { q: "convQ", k: "convK", v: "convV" } as const;
  const names = ["q", "k", "v"] as const;
  return {
    parameters,
    state: Object.fromEntries(names.flatMap((name) => (all[name] ? [[parts[name], all[name].state]] : []))) as Record<string, StatePart>,
    forward(p: Bound<typeof parameters>, inputs: Projected, before: { readonly [part: string]: Tensor } | undefined): Convolved {
      const [outputs, state]: [Record<string, Tensor>, Record<string, Tensor>] = [{ ...inputs }, {}];
      for (const name of names) {
        if (!all[name]) continue;
        const convolved = all[name].forward(p[name]!, inputs[name], before?.[parts[name]], { silu: true });
        [outputs[name], state[parts[name]]] = [convolved.outputs[0]!, convolved.state];
      }
      return { outputs: outputs as unknown as Projected, state };
    },
  };
}

/** Heads side by side: [B,T,H·K] -> [B,T,H,K]. */
export function inHeads(x: Tensor, heads: number): Tensor {
  const [batch, time, width] = x.shape as [number, number, number];
  return reshape(x, [batch, time, heads, width / heads]);
}

/** RMSNorm(y) · silu(gate), the norm of each head by itself and before the gate: y [B,T,H,V], gate [B,T,H·V] or null -> [B,T,H·V]. */
export function headNorm(y: Tensor, gate: Tensor | null, weight: Tensor, eps: number): Tensor {
  const [batch, time, heads, size] = y.shape as [number, number, number, number];
  const normed = reshape(rmsNorm(y, weight, { eps }), [batch, time, heads * size]);
  return gate ? mul(normed, silu(gate)) : normed;
}
