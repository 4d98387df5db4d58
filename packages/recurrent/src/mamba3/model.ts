/**
 * Mamba-3 (arXiv 2603.15569), SISO and MIMO, as the published checkpoints have it.
 *
 * A block is   residual += mixer(RMSNorm(residual)),   residual += mlp(RMSNorm(residual)),   and the mixer of u [B,T,D]
 *   z, x, B, C, dd_dt, dd_A, trap, angle = in_proj(u)
 *   B, C        = RMSNorm(B), RMSNorm(C)                    within each rank and group
 *   dt          = softplus(dd_dt + dt_bias)
 *   A           = -max(f(dd_A), A_floor)                    f(x) = 1 + x above 0, 1 / (1 - x) below; in flash-linear-attention, softplus
 *   y           = the recurrence of scan.ts on v = x, k = B, q = C and a = A dt; MIMO has R inputs mimo_x_r · x
 *   out         = out_proj(Σ_r y_r · SiLU(z · mimo_z_r) · mimo_o_r), or out_proj(y · SiLU(z)); y normed per head before it where asked
 *
 * mlp is SwiGLU with its gate in the second half of fc1. There is no convolution, and no A of the heads' own.
 *
 * Parameters begin as in the published code (mamba_ssm, modules/mamba3.py and models/mixer_seq_simple.py): embeddings N(0, 0.02²); matrices
 * uniform in ±1/√fan-in, those back into the residual stream divided by √layers; dt log-uniform in its range, stored as the inverse of
 * softplus; the biases of B and C, D, the norms and mimo_z 1; mimo_x and mimo_o 1/R. Weight decay touches matrices alone.
 */
import {
  add, addScalar, type CheckpointForm, type Device, div, type DType, full, linear, linearSplit, type LoadedModel, loadParameters, mul, neg,
  parameterCount, relu, reshape, rmsNorm, type Safetensors, type SequenceModel, silu, softplus, sum, type Tensor, transpose,
} from "@lenggen/kernels";
import {
  type Block, constantInit, type ConfigOptions, decoder, elementsInit, type Layer, matrix, normalInit, parameter, prefixed, rmsNormBlock,
  type StatePart, type StateParts, swiGlu, uniformInit,
} from "@lenggen/kernels/nn";
import { inverseSoftplus, logUniform } from "../init";
import { aboutModel, checkLayout, headsOf, layersOfWidth, type LayoutOption } from "../layouts";
import { EMBEDDING, HEAD } from "../mambaFiles";
import { MAMBA3_LAYOUTS, type Mamba3Config, mamba3Json, type Mamba3Layout, mamba3LayoutOf, parseMamba3Config } from "./config";
import { checkpointForm, reasonAgainst } from "./layout";
import { type Mamba3LayerState, mamba3Scan } from "./scan";

/** Longest chunk that `ssd` takes. */
const LONGEST_CHUNK = 256;

/** The state after a prefix, one entry for each layer. */
export interface Mamba3State {
  readonly [leaf: string]: readonly Mamba3LayerState[];
  readonly layers: readonly Mamba3LayerState[];
}

/** Mamba-3 as a {@link SequenceModel}; made by {@link mamba3}. */
export interface Mamba3 extends SequenceModel<Mamba3State> {
  readonly family: "mamba3";
  readonly settings: Mamba3Config;
  /** The program that its checkpoints are for. */
  readonly layout: Mamba3Layout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link mamba3}. */
export interface Mamba3Options extends LayoutOption<Mamba3Layout>, ConfigOptions {}

/** A model from its configuration. Throws `E_CONFIG`. */
export function mamba3(json: unknown, { layout: wanted, ...reading }: Mamba3Options = {}): Mamba3 {
  const settings = parseMamba3Config(json, reading);
  if (wanted !== undefined) checkLayout(wanted, MAMBA3_LAYOUTS, (program) => reasonAgainst(settings, program));
  const layout = wanted ?? mamba3LayoutOf(json);
  const { parameters, ...parts } = mamba3Decoder(settings);
  return {
    family: "mamba3",
    settings,
    config: { ...mamba3Json(settings) },
    layout,
    about: aboutModel("Mamba-3", layout, [layersOfWidth(settings), headsOf(settings.heads, settings.headSize, settings.stateSize)]),
    checkpoint: checkpointForm(settings, parameters, layout, layout === mamba3LayoutOf(json) ? json : undefined),
    ...parts,
  };
}

/** Number of parameters. */
export function mamba3ParameterCount(c: Mamba3Config): number {
  return parameterCount(mamba3Decoder(c));
}

/**
 * Loads a checkpoint of mamba_ssm's form or flash-linear-attention's onto a device. Throws `E_CONFIG` for a configuration that makes no
 * model, `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors and for NaN or infinity among the numbers.
 */
export async function loadMamba3(
  config: unknown, weights: Safetensors, device: Device, dtype: DType = "f32",
): Promise<LoadedModel & { readonly model: Mamba3 }> {
  const model = mamba3(config, { unknownFields: "report" });
  return { model, parameters: await loadParameters(model, weights, device, { dtype }) };
}

function mamba3Decoder(c: Mamba3Config) {
  const rows = [c.paddedVocabulary, c.width] as const;
  const embedding = { init: normalInit(0.02), decay: true, half: true, copies: c.tieEmbeddings ? [HEAD] : [] };
  const layer = {
    mixer: { norm: rmsNormBlock("norm", c.width, c.normEps), block: prefixed("mixer", mamba3Mixer(c)) },
    ...(c.intermediateSize > 0 && {
      feedForward: {
        norm: rmsNormBlock("norm2", c.width, c.normEps),
        block: swiGlu({ in: "mlp.fc1.weight", out: "mlp.fc2.weight" }, {
          width: c.width, intermediateSize: c.intermediateSize,
          init: { in: withinFanIn(c.width), out: withinFanIn(c.intermediateSize * c.layers) },
        }, { gateFirst: false }),
      },
    }),
  } satisfies Layer;
  return decoder({
    embedding: parameter(EMBEDDING, rows, embedding),
    layers: Array.from({ length: c.layers }, () => layer),
    layerNames: "backbone.layers",
    norm: rmsNormBlock("backbone.norm_f", c.width, c.normEps),
    head: c.tieEmbeddings ? null : matrix(HEAD, rows, normalInit(0.02)),
    vocabulary: c.vocabulary,
    stateName: "layers",
  });
}

const withinFanIn = (fanIn: number) => uniformInit(1 / Math.sqrt(fanIn));

/** The mixer alone, for stacks of several kinds. */
export function mamba3Mixer(c: Mamba3Config) {
  const { heads, headSize, stateSize, rank, groups, angles, innerWidth } = c;
  const scanned = rank * groups * stateSize;
  const parts = [innerWidth, innerWidth, scanned, scanned, heads, heads, heads, angles];
  const one = { init: constantInit(1) };
  const perRank = (name: string, value: number) =>
    (c.mimo ? parameter(name, [heads, rank, headSize], { init: constantInit(value) }) : null);
  const parameters = {
    dtBias: parameter("dt_bias", [heads], {
      init: elementsInit((random) => inverseSoftplus(Math.max(c.dtFloor, logUniform(c.dtRange, random.uniform())))),
    }),
    bBias: parameter("B_bias", [heads, rank, stateSize], one),
    cBias: parameter("C_bias", [heads, rank, stateSize], one),
    mimoX: perRank("mimo_x", 1 / rank),
    mimoZ: perRank("mimo_z", 1),
    mimoO: perRank("mimo_o", 1 / rank),
    d: parameter("D", [heads], one),
    inProj: matrix("in_proj.weight", [parts.reduce((a, b) => a + b), c.width], withinFanIn(c.width)),
    bNorm: parameter("B_norm.weight", [stateSize], one),
    cNorm: parameter("C_norm.weight", [stateSize], one),
    norm: c.outputNorm ? parameter("norm.weight", [innerWidth], one) : null,
    outProj: matrix("out_proj.weight", [c.width, innerWidth], withinFanIn(innerWidth * c.layers)),
  };
  const state = {
    angle: { shape: [heads, angles], kind: "angle", headAxis: 1 },
    ssm: { shape: [heads, headSize, stateSize], kind: "recurrent", headAxis: 1 },
    k: { shape: [rank, heads, stateSize], kind: "window", headAxis: 2 },
    v: { shape: [heads, headSize], kind: "window", headAxis: 1 },
  } satisfies StateParts as { angle: StatePart; ssm: StatePart; k: StatePart; v: StatePart };
  const chunk = Math.min(c.chunk * rank, LONGEST_CHUNK);
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const [batch, time] = u.shape as [number, number, number];
      const [z, x, b, cc, rawDt, rawA, trap, angle] = linearSplit(u, p.inProj, parts) as Eight;
      const normed = (t: Tensor, weight: Tensor) => rmsNorm(reshape(t, [batch, time, rank, groups, stateSize]), weight, { eps: NORM_EPS });
      const dt = softplus(add(rawDt, p.dtBias));
      const scan = mamba3Scan({
        q: normed(cc, p.cNorm),
        k: normed(b, p.bNorm),
        v: reshape(x, [batch, time, heads, headSize]),
        dt,
        a: mul(c.softplusDecay ? softplusRate(rawA, c.aFloor) : decayRate(rawA, c.aFloor), dt),
        trap,
        angles: reshape(angle, [batch, time, 1, angles]),
        qBias: rankFirst(p.cBias),
        kBias: rankFirst(p.bBias),
        d: p.d,
        mimoX: p.mimoX && rankFirst(p.mimoX),
        state: before,
      }, { chunk, halves: c.mimo });
      const y = p.norm ? normedPerHead(scan.y, p.norm) : scan.y; // [B,T,R,H,P]
      const gate = reshape(z, [batch, time, 1, heads, headSize]);
      const gated = p.mimoZ && p.mimoO
        ? sum(mul(mul(y, silu(mul(gate, rankFirst(p.mimoZ)))), rankFirst(p.mimoO)), { axes: 2 })
        : mul(y, silu(gate));
      return { out: linear(reshape(gated, [batch, time, innerWidth]), p.outProj), state: scan.state };
    },
  };
  return block;
}

type Eight = [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];

/** Of the norms in the mixer, whatever the configuration says of those before it. */
const NORM_EPS = 1e-5;

/** [H,R,N] -> [R,H,N] */
function rankFirst(x: Tensor): Tensor {
  const [heads, rank, size] = x.shape as [number, number, number];
  return rank === 1 ? reshape(x, [1, heads, size]) : transpose(x, [1, 0, 2]);
}

/** A = -max(f(x), floor), where f is 1 + x above 0 and 1 / (1 - x) below: positive, and slow to reach 0. */
function decayRate(x: Tensor, floor: number): Tensor {
  const below = div(full(x.device, [1], 1, x.dtype), addScalar(relu(neg(x)), 1));
  return addScalar(neg(relu(addScalar(add(relu(x), below), -floor))), -floor);
}

/** A = -max(softplus(x), floor). */
function softplusRate(x: Tensor, floor: number): Tensor {
  return addScalar(neg(relu(addScalar(softplus(x), -floor))), -floor);
}

/** RMSNorm over each head of [B,T,R,H,P], with a weight [H·P]. */
function normedPerHead(y: Tensor, weight: Tensor): Tensor {
  const [, , , heads, headSize] = y.shape as [number, number, number, number, number];
  const plain = rmsNorm(y, full(y.device, [headSize], 1, y.dtype), { eps: NORM_EPS });
  return mul(plain, reshape(weight, [heads, headSize]));
}
