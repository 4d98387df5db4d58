/**
 * Gated Linear Attention (Yang et al. 2024, "Gated Linear Attention Transformers with Hardware-Efficient Training"), as
 * flash-linear-attention has it. Per head, with q scaled by K^-½:
 *
 *   a   = log σ(W₂ W₁ u + b) / 16               log decay, per channel of the key
 *   S_t = diag(exp a_t) S_{t-1} + k_t v_tᵀ       [K,V]
 *   y_t = S_tᵀ q_t
 *   out = W_o (RMSNorm(y) · silu(W_g u))         the norm of each head by itself
 *
 * The low rank of W₁ and the divisor are 16 in every published model, and no fields of its configuration.
 */
import {
  add, type CheckpointForm, type Device, type DType, gatedLinearAttention, linear, type LoadedModel, loadParameters, neg, parameterCount,
  type Parameters, type Safetensors, scale, type SequenceModel, softplus,
} from "@lenggen/kernels";
import { type Block, type ConfigOptions, constantInit, elementsInit, type Init, matrix, normalInit, parameter } from "@lenggen/kernels/nn";
import { convolutions, flaCheckpoint, flaDecoder, type FlaState, type FlaStateParts, headNorm, inHeads, UNFUSED } from "../fla/decoder";
import { aboutModel, headsOf, layersOfWidth } from "../layouts";
import { inverseSoftplus, logUniform } from "../init";
import { type GlaConfig, glaJson, parseGlaConfig } from "./config";

/** Rank of the projection that the decay is made by, and what its logarithm is divided by. */
const [GATE_RANK, GATE_DIVISOR] = [16, 16];

/** Gated Linear Attention as a {@link SequenceModel}; made by {@link gla}. */
export interface Gla extends SequenceModel<FlaState> {
  readonly family: "gla";
  readonly settings: GlaConfig;
  /** The program that its checkpoints are for. */
  readonly layout: "fla";
  readonly checkpoint: CheckpointForm;
}

/** A model from its configuration (see config.ts). Throws `E_CONFIG`. */
export function gla(json: unknown, options: ConfigOptions = {}): Gla {
  const settings = parseGlaConfig(json, options);
  const { parameters, ...parts } = flaDecoder(settings, glaMixer(settings));
  const config = { ...glaJson(settings) };
  const about = aboutModel("GLA", "fla", [layersOfWidth(settings), headsOf(settings.heads, settings.keySize, settings.valueSize)]);
  return { family: "gla", settings, config, layout: "fla", checkpoint: flaCheckpoint(config, parameters, json), about, ...parts };
}

/** Number of parameters. */
export function glaParameterCount(c: GlaConfig): number {
  return parameterCount(flaDecoder(c, glaMixer(c)));
}

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedGla extends LoadedModel {
  readonly model: Gla;
}

/**
 * Loads a checkpoint onto a device. With `f16` its matrices take half the memory, and it can't be trained. Throws `E_CONFIG` for a
 * configuration that makes no model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or
 * infinity among the numbers. Fields of the configuration that lenggen does not know are reported by `console.warn`.
 */
export async function loadGla(config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32"): Promise<LoadedGla> {
  const model = gla(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) satisfies Parameters };
}

/** b with log σ(b) / 16 = -rate. */
function decayBiasInit({ decayRange }: GlaConfig): Init {
  return decayRange === null ? constantInit(0)
    : elementsInit((random) => -inverseSoftplus(GATE_DIVISOR * logUniform(decayRange, random.uniform())));
}

/** The mixer alone, for stacks of several kinds. */
export function glaMixer(c: GlaConfig) {
  const normal = normalInit(c.initStd);
  const { heads, width } = c;
  const [keys, values] = [heads * c.keySize, heads * c.valueSize];
  const convolution = convolutions(c, { q: keys, k: keys, v: values });
  const parameters = {
    q: matrix("q_proj.weight", [keys, width], normal),
    k: matrix("k_proj.weight", [keys, width], normal),
    v: matrix("v_proj.weight", [values, width], normal),
    gate: matrix("g_proj.weight", [values, width], normal),
    convolution: convolution.parameters,
    decayIn: matrix("gk_proj.0.weight", [GATE_RANK, width], normal),
    decayOut: matrix("gk_proj.1.weight", [keys, GATE_RANK], normal),
    decayBias: parameter("gk_proj.1.bias", [keys], { init: decayBiasInit(c) }),
    out: matrix("o_proj.weight", [width, values], normal),
    norm: parameter({ own: "g_norm_swish_gate.weight", [UNFUSED]: "g_norm.weight" }, [c.valueSize], { init: constantInit(1) }),
  };
  const block: Block<typeof parameters, FlaStateParts> = {
    parameters,
    state: { s: { shape: [heads, c.keySize, c.valueSize], kind: "recurrent", headAxis: 1 }, ...convolution.state },
    forward(p, u, before) {
      const projected = { q: linear(u, p.q), k: linear(u, p.k), v: linear(u, p.v) };
      const { outputs: { q, k, v }, state } = convolution.forward(p.convolution, projected, before);
      const raw = add(linear(linear(u, p.decayIn), p.decayOut), p.decayBias);
      const a = scale(softplus(neg(raw)), -1 / GATE_DIVISOR);
      const { y, state: s } = gatedLinearAttention(
        { q: inHeads(q, heads), k: inHeads(k, heads), v: inHeads(v, heads), a: inHeads(a, heads), bonus: null, state: before?.s ?? null },
        { scale: c.keySize ** -0.5 },
      );
      return { out: linear(headNorm(y, linear(u, p.gate), p.norm, c.normEps), p.out), state: { s, ...state } };
    },
  };
  return block;
}
