/**
 * Mamba-2 (Dao & Gu 2024, "Transformers are SSMs"), as the published checkpoints have it.
 *
 * A block is   residual += mixer(RMSNorm(residual)),   and the mixer of u [B,T,D]
 *   z, xBC, dt  = in_proj(u)                       gate, convolution's input, step size
 *   x, B, C     = SiLU(conv(xBC))                  causal, depthwise
 *   dt          = softplus(dt + dt_bias),   A = -exp(A_log)
 *   S_t         = exp(dt_t A) S_{t-1} + dt_t x_t ⊗ B_t          per head, [P,N]
 *   y_t         = S_t C_t + D x_t
 *   out         = out_proj(RMSNorm(y · SiLU(z)))   the norm within each of the G groups, as in mamba_ssm and llama.cpp
 *
 * transformers norms over the whole width, which is another function where G > 1; published models of that kind were trained per group.
 *
 * Parameters begin as in the published code: embeddings N(0, 0.02²); matrices and convolutions uniform in ±1/√fan-in; the projection back
 * into the residual stream divided by √layers; -A uniform in its range; dt log-uniform in its range, stored as the inverse of softplus; D
 * and the norms 1. Weight decay touches matrices alone: decaying dt_bias and A_log would push heads to forget faster.
 */
import { type CheckpointForm, gatedRmsNorm, linear, linearSplit, parameterCount, reshape, type SequenceModel, ssd, ssmGates,
  type Tensor } from "@lenggen/kernels";
import {
  type Block, constantInit, type ConfigOptions, elementsInit, matrix, parameter, shortConvolution, type StatePart, type StateParts,
  uniformInit,
} from "@lenggen/kernels/nn";
import { inverseSoftplus, logUniform } from "../init";
import { aboutModel, checkLayout, headsOf, layersOfWidth } from "../layouts";
import { checkpointForm, layoutOf, MAMBA_LAYOUTS, mambaDecoder, type MambaLayout, type MambaLayouts } from "../mambaFiles";
import { type Mamba2Config, mamba2Json, parseMamba2Config } from "./config";
import { formsOf, reasonAgainst } from "./layout";

/** Longest chunk that `ssd` takes. A checkpoint may name a longer one, for other hardware; results are the same. */
const LONGEST_CHUNK = 256;

/** One layer's state: the scan's sum over the past, and the convolution's last inputs (oldest first). */
export interface Mamba2LayerState {
  readonly [leaf: string]: Tensor;
  /** [B, H, P, N] */
  readonly ssm: Tensor;
  /** [B, K - 1, innerWidth + 2·G·N]: inputs of the convolution, before it. */
  readonly conv: Tensor;
}

/** The state after a prefix, one entry for each layer. */
export interface Mamba2State {
  readonly [leaf: string]: readonly Mamba2LayerState[];
  readonly layers: readonly Mamba2LayerState[];
}

/** Mamba-2 (Dao & Gu 2024, "Transformers are SSMs", section 7) as a {@link SequenceModel}; made by {@link mamba2}. */
export interface Mamba2 extends SequenceModel<Mamba2State> {
  readonly family: "mamba2";
  readonly settings: Mamba2Config;
  /** The program that its checkpoints are for. */
  readonly layout: MambaLayout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link mamba2}. */
export interface Mamba2Options extends MambaLayouts, ConfigOptions {}

/**
 * A model from a configuration in any published form (see config.ts). The gated norm is per group (`ngroups`, `n_groups`), as in
 * mamba_ssm and llama.cpp, whichever form it is in. Throws `E_CONFIG`.
 */
export function mamba2(json: unknown, { layout: wanted, ...reading }: Mamba2Options = {}): Mamba2 {
  const settings = parseMamba2Config(json, reading);
  if (wanted !== undefined) checkLayout(wanted, MAMBA_LAYOUTS, (program) => reasonAgainst(settings, program));
  const layout = wanted ?? layoutOf(json);
  const { parameters, ...parts } = mamba2Decoder(settings);
  return {
    family: "mamba2",
    settings,
    config: { ...mamba2Json(settings) },
    layout,
    about: aboutModel("Mamba-2", layout, [layersOfWidth(settings), headsOf(settings.heads, settings.headSize, settings.stateSize)]),
    checkpoint: checkpointForm(formsOf(settings), parameters, layout, layout === layoutOf(json) ? json : undefined),
    ...parts,
  };
}

/** Number of parameters. */
export function mamba2ParameterCount(c: Mamba2Config): number {
  return parameterCount(mamba2Decoder(c));
}

/** The model without what makes it a checkpoint of one program or another. */
export function mamba2Decoder(c: Mamba2Config) {
  return mambaDecoder(c, mamba2Mixer(c));
}

/** The mixer alone, for stacks of several kinds. */
export function mamba2Mixer(c: Mamba2Config) {
  const withinFanIn = (fanIn: number) => uniformInit(1 / Math.sqrt(fanIn));
  const scanned = c.groups * c.stateSize;
  const convolution = shortConvolution("conv1d", {
    channels: c.convolutionWidth, kernel: c.convolution, init: withinFanIn(c.convolution), bias: withinFanIn(c.convolution),
  });
  const [aLow, aHigh] = c.aRange;
  const parameters = {
    dtBias: parameter("dt_bias", [c.heads], {
      init: elementsInit((random) => inverseSoftplus(Math.max(c.dtFloor, logUniform(c.dtRange, random.uniform())))),
    }),
    aLog: parameter("A_log", [c.heads], { init: elementsInit((random) => Math.log(aLow + random.uniform() * (aHigh - aLow))) }),
    d: parameter("D", [c.heads], { init: constantInit(1) }),
    inProj: matrix("in_proj.weight", [c.innerWidth + c.convolutionWidth + c.heads, c.width], withinFanIn(c.width)),
    conv: convolution.parameters,
    norm: parameter("norm.weight", [c.innerWidth], { init: constantInit(1) }),
    outProj: matrix("out_proj.weight", [c.width, c.innerWidth], withinFanIn(c.innerWidth * c.layers)),
  };
  const state = {
    ssm: { shape: [c.heads, c.headSize, c.stateSize], kind: "recurrent", headAxis: 1 },
    conv: convolution.state,
  } satisfies StateParts as { ssm: StatePart; conv: StatePart };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const [batch, time] = u.shape as [number, number, number];
      const [z, xBC, steps] = linearSplit(u, p.inProj, [c.innerWidth, c.convolutionWidth, c.heads]) as [Tensor, Tensor, Tensor];
      const convolved = convolution.forward(p.conv, xBC, before?.conv, { silu: true, split: [c.innerWidth, scanned, scanned] });
      const [x, b, cc] = convolved.outputs as readonly [Tensor, Tensor, Tensor];
      const gates = ssmGates(steps, p.dtBias, p.aLog, { minDt: c.dtLimit[0], maxDt: c.dtLimit[1] });
      const scan = ssd(
        {
          x: reshape(x, [batch, time, c.heads, c.headSize]),
          dt: gates.dt,
          a: gates.a,
          b: reshape(b, [batch, time, c.groups, c.stateSize]),
          c: reshape(cc, [batch, time, c.groups, c.stateSize]),
          d: p.d,
          state: before?.ssm ?? null,
        },
        { chunk: Math.min(c.chunk, LONGEST_CHUNK) },
      );
      const y = reshape(scan.y, [batch, time, c.innerWidth]);
      const gated = gatedRmsNorm(y, z, p.norm, { eps: c.normEps, groups: c.groups });
      return { out: linear(gated, p.outProj), state: { ssm: scan.state, conv: convolved.state } };
    },
  };
  return block;
}
