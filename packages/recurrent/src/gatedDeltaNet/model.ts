/**
 * Gated DeltaNet (Yang et al. 2025, "Gated Delta Networks: Improving Mamba2 with Delta Rule"), as flash-linear-attention has it. q, k and v
 * of u go through short convolutions and SiLU, and q and k of each head are made as long as 1; with q scaled by K^-½:
 *
 *   a   = -exp(A_log) softplus(W_a u + dt_bias),   β = σ(W_b u)         per value head; β = 2σ(...) with negative eigenvalues
 *   S'  = exp(a_t) S_{t-1},   S_t = S' + k_t (β_t (v_t - S'ᵀ k_t))ᵀ      [K,V]
 *   y_t = S_tᵀ q_t
 *   out = W_o (RMSNorm(y) · silu(W_g u))                               the norm of each head by itself
 *
 * exp(A_log) begins uniform between 0 and 16, dt log-uniform between 0.001 and 0.1, stored as the inverse of softplus; neither decays.
 */
import {
  type CheckpointForm, type Device, type DType, full, gatedDeltaRule, linear, type LoadedModel, loadParameters, parameterCount, rmsNorm,
  type Safetensors, scale, type SequenceModel, sigmoid, silu, ssmGates, type Tensor,
} from "@lenggen/kernels";
import { type Block, type ConfigOptions, constantInit, elementsInit, matrix, normalInit, parameter } from "@lenggen/kernels/nn";
import { convolutions, flaCheckpoint, flaDecoder, type FlaState, type FlaStateParts, headNorm, inHeads } from "../fla/decoder";
import { aboutModel, headsOf, layersOfWidth } from "../layouts";
import { inverseSoftplus, logUniform } from "../init";
import { type GatedDeltaNetConfig, gatedDeltaNetJson, parseGatedDeltaNetConfig } from "./config";

/** Added to the sum of squares, so that no vector is divided by 0. */
const LENGTH_EPS = 1e-6;

const [LARGEST_A, DT_FLOOR] = [16, 1e-4];
const DT_RANGE = [1e-3, 0.1] as const;

/** Gated DeltaNet as a {@link SequenceModel}; made by {@link gatedDeltaNet}. */
export interface GatedDeltaNet extends SequenceModel<FlaState> {
  readonly family: "gated_deltanet";
  readonly settings: GatedDeltaNetConfig;
  /** The program that its checkpoints are for. */
  readonly layout: "fla";
  readonly checkpoint: CheckpointForm;
}

/** A model from its configuration (see config.ts). Throws `E_CONFIG`. */
export function gatedDeltaNet(json: unknown, options: ConfigOptions = {}): GatedDeltaNet {
  const settings = parseGatedDeltaNetConfig(json, options);
  const { parameters, ...parts } = flaDecoder(settings, gatedDeltaNetMixer(settings));
  const config = { ...gatedDeltaNetJson(settings) };
  const { valueHeads, keySize, valueSize } = settings;
  const about = aboutModel("Gated DeltaNet", "fla", [layersOfWidth(settings), headsOf(valueHeads, keySize, valueSize)]);
  const checkpoint = flaCheckpoint(config, parameters, json);
  return { family: "gated_deltanet", settings, config, layout: "fla", checkpoint, about, ...parts };
}

/** Number of parameters. */
export function gatedDeltaNetParameterCount(c: GatedDeltaNetConfig): number {
  return parameterCount(flaDecoder(c, gatedDeltaNetMixer(c)));
}

/** A model with its parameters, which are the caller's to dispose. */
export interface LoadedGatedDeltaNet extends LoadedModel {
  readonly model: GatedDeltaNet;
}

/** Loads a checkpoint onto a device; throws as `loadMamba2` does. */
export async function loadGatedDeltaNet(config: unknown, weights: Safetensors, device: Device,
  dtype: DType = "f32"): Promise<LoadedGatedDeltaNet> {
  const model = gatedDeltaNet(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}

/** What the rate of decay is made of besides its projection: exp(A_log) · softplus(dt_bias). */
function decayParameters({ valueHeads, decayRange }: GatedDeltaNetConfig) {
  const [range, floor] = decayRange === null ? [DT_RANGE, DT_FLOOR] : [decayRange, 0];
  return {
    // Of the two ends of a draw from [0, 1), 1 - u leaves out the one whose logarithm is infinite.
    aLog: parameter("A_log", [valueHeads], {
      init: decayRange === null ? elementsInit((random) => Math.log(LARGEST_A * (1 - random.uniform()))) : constantInit(0),
    }),
    dtBias: parameter("dt_bias", [valueHeads], {
      init: elementsInit((random) => inverseSoftplus(Math.max(floor, logUniform(range, random.uniform())))),
    }),
  };
}

/** The mixer alone, for stacks of several kinds. */
export function gatedDeltaNetMixer(c: GatedDeltaNetConfig) {
  const normal = normalInit(c.initStd);
  const { heads, valueHeads, keySize, valueSize, width } = c;
  const [keys, values] = [heads * keySize, valueHeads * valueSize];
  const convolution = convolutions(c, { q: keys, k: keys, v: values });
  const parameters = {
    ...decayParameters(c),
    q: matrix("q_proj.weight", [keys, width], normal),
    k: matrix("k_proj.weight", [keys, width], normal),
    v: matrix("v_proj.weight", [values, width], normal),
    decay: matrix("a_proj.weight", [valueHeads, width], normal),
    beta: matrix("b_proj.weight", [valueHeads, width], normal),
    convolution: convolution.parameters,
    gate: c.gated ? matrix("g_proj.weight", [values, width], normal) : null,
    norm: parameter("o_norm.weight", [valueSize], { init: constantInit(1) }),
    out: matrix("o_proj.weight", [width, values], normal),
  };
  const block: Block<typeof parameters, FlaStateParts> = {
    parameters,
    state: { s: { shape: [valueHeads, keySize, valueSize], kind: "recurrent", headAxis: 1 }, ...convolution.state },
    forward(p, u, before) {
      const projected = { q: linear(u, p.q), k: linear(u, p.k), v: linear(u, p.v) };
      const { outputs, state } = convolution.forward(p.convolution, projected, before);
      // Without convolutions, SiLU follows all the same.
      const { q, k, v } = c.convolution === null ? { q: silu(outputs.q), k: silu(outputs.k), v: silu(outputs.v) } : outputs;
      const beta = sigmoid(linear(u, p.beta));
      const { y, state: s } = gatedDeltaRule(
        {
          q: ofLengthOne(inHeads(q, heads)),
          k: ofLengthOne(inHeads(k, heads)),
          v: inHeads(v, valueHeads),
          a: ssmGates(linear(u, p.decay), p.dtBias, p.aLog).a,
          beta: c.negativeEigenvalues ? scale(beta, 2) : beta,
          state: before?.s ?? null,
        },
        { scale: keySize ** -0.5 },
      );
      return { out: linear(headNorm(y, p.gate && linear(u, p.gate), p.norm, c.normEps), p.out), state: { s, ...state } };
    },
  };
  return block;
}

/** x / √(Σx² + eps) over the last axis: an RMS norm by another name, with its mean of squares for the sum. */
function ofLengthOne(x: Tensor): Tensor {
  const size = x.shape.at(-1)!;
  return rmsNorm(x, full(x.device, [size], size ** -0.5, x.dtype), { eps: LENGTH_EPS / size });
}
