/**
 * Mamba-1 (Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces"), as the published checkpoints have it.
 *
 * A block is   residual += mixer(RMSNorm(residual)),   and the mixer of u [B,T,D]
 *   x, z        = in_proj(u)                       the scan's input, gate
 *   x           = SiLU(conv(x))                    causal, depthwise
 *   dt, B, C    = x_proj(x)                        R, N and N numbers, shared by all channels
 *   dt          = softplus(dt_proj(dt))            a step size for each channel
 *   S_t         = exp(dt_t A) S_{t-1} + dt_t x_t B_t          per channel, [N], with A = -exp(A_log)
 *   y_t         = ⟨S_t, C_t⟩ + D x_t
 *   out         = out_proj(y · SiLU(z))
 *
 * Parameters begin as in the published code (mamba_ssm, modules/mamba_simple.py and models/mixer_seq_simple.py): embeddings N(0, 0.02²);
 * matrices and convolutions uniform in ±1/√fan-in, dt_proj.weight in ±1/√R; the projection back into the residual stream divided by
 * √layers; dt log-uniform in its range, stored as the inverse of softplus in dt_proj.bias; -A the numbers 1 ... N in each channel; D and
 * the norms 1. Weight decay touches matrices alone: decaying dt_proj.bias and A_log would push channels to forget faster.
 */
import {
  add, type CheckpointForm, exp, linear, linearSplit, mul, neg, parameterCount, reshape, selectiveScan, type SequenceModel, silu, softplus,
  type Tensor,
} from "@lenggen/kernels";
import {
  type Block, constantInit, type ConfigOptions, elementsInit, matrix, parameter, shortConvolution, type StatePart, type StateParts,
  uniformInit,
} from "@lenggen/kernels/nn";
import { inverseSoftplus, logUniform } from "../init";
import { aboutModel, checkLayout, layersOfWidth } from "../layouts";
import { checkpointForm, layoutOf, MAMBA_LAYOUTS, mambaDecoder, type MambaLayout, type MambaLayouts } from "../mambaFiles";
import { type MambaConfig, mambaJson, parseMambaConfig } from "./config";
import { formsOf, reasonAgainst } from "./layout";

/** One layer's state: the scan's sum over the past, and the convolution's last inputs (oldest first). */
export interface MambaLayerState {
  readonly [leaf: string]: Tensor;
  /** [B, innerWidth, N] */
  readonly ssm: Tensor;
  /** [B, K - 1, innerWidth]: inputs of the convolution, before it. */
  readonly conv: Tensor;
}

/** The state after a prefix, one entry for each layer. */
export interface MambaState {
  readonly [leaf: string]: readonly MambaLayerState[];
  readonly layers: readonly MambaLayerState[];
}

/** Mamba-1 (Gu & Dao 2023, section 3.4) as a {@link SequenceModel}; made by {@link mamba}. */
export interface Mamba extends SequenceModel<MambaState> {
  readonly family: "mamba";
  readonly settings: MambaConfig;
  /** The program that its checkpoints are for. */
  readonly layout: MambaLayout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link mamba}. */
export interface MambaOptions extends MambaLayouts, ConfigOptions {}

/** A model from a configuration in any published form (see config.ts). Throws `E_CONFIG`. */
export function mamba(json: unknown, { layout: wanted, ...reading }: MambaOptions = {}): Mamba {
  const settings = parseMambaConfig(json, reading);
  if (wanted !== undefined) checkLayout(wanted, MAMBA_LAYOUTS, (program) => reasonAgainst(settings, program));
  const layout = wanted ?? layoutOf(json);
  const { parameters, ...parts } = mamba1Decoder(settings);
  return {
    family: "mamba",
    settings,
    config: { ...mambaJson(settings) },
    layout,
    about: aboutModel("Mamba-1", layout, [layersOfWidth(settings), `${settings.innerWidth} channels of ${settings.stateSize}`]),
    checkpoint: checkpointForm(formsOf(settings), parameters, layout, layout === layoutOf(json) ? json : undefined),
    ...parts,
  };
}

/** Number of parameters. */
export function mambaParameterCount(c: MambaConfig): number {
  return parameterCount(mamba1Decoder(c));
}

/** The model without what makes it a checkpoint of one program or another. */
export function mamba1Decoder(c: MambaConfig) {
  return mambaDecoder(c, mambaMixer(c));
}

/** -A of a channel's state n of N: 1, 2, ... N, or spread over a range. */
const startOfA = ({ aRange, stateSize }: MambaConfig, n: number): number =>
  (aRange === null ? 1 + n : logUniform(aRange, n / Math.max(1, stateSize - 1)));

/** The mixer alone, for stacks of several kinds. */
export function mambaMixer(c: MambaConfig) {
  const { innerWidth, stateSize, stepRank } = c;
  const withinFanIn = (fanIn: number) => uniformInit(1 / Math.sqrt(fanIn));
  const convolution = shortConvolution("conv1d", {
    channels: innerWidth, kernel: c.convolution, init: withinFanIn(c.convolution), bias: withinFanIn(c.convolution),
  });
  const dtSpread = c.dtScale / Math.sqrt(stepRank);
  const parameters = {
    aLog: parameter("A_log", [innerWidth, stateSize], { init: elementsInit((_, index) => Math.log(startOfA(c, index % stateSize))) }),
    d: parameter("D", [innerWidth], { init: constantInit(1) }),
    inProj: matrix("in_proj.weight", [2 * innerWidth, c.width], withinFanIn(c.width)),
    conv: convolution.parameters,
    xProj: matrix("x_proj.weight", [stepRank + 2 * stateSize, innerWidth], withinFanIn(innerWidth)),
    dtProj: matrix("dt_proj.weight", [innerWidth, stepRank], c.dtInit === "random" ? uniformInit(dtSpread) : constantInit(dtSpread)),
    dtBias: parameter("dt_proj.bias", [innerWidth], {
      init: elementsInit((random) => inverseSoftplus(Math.max(c.dtFloor, logUniform(c.dtRange, random.uniform())))),
    }),
    outProj: matrix("out_proj.weight", [c.width, innerWidth], withinFanIn(innerWidth * c.layers)),
  };
  const state = {
    // Each channel is one of many small states.
    ssm: { shape: [innerWidth, stateSize], kind: "recurrent", headAxis: 1 },
    conv: convolution.state,
  } satisfies StateParts as { ssm: StatePart; conv: StatePart };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const [batch, time] = u.shape as [number, number, number];
      const [input, z] = linearSplit(u, p.inProj, [innerWidth, innerWidth]) as [Tensor, Tensor];
      const convolved = convolution.forward(p.conv, input, before?.conv, { silu: true });
      const x = convolved.outputs[0]!;
      const [low, b, cc] = linearSplit(x, p.xProj, [stepRank, stateSize, stateSize]) as [Tensor, Tensor, Tensor];
      const shared = (t: Tensor) => reshape(t, [batch, time, 1, stateSize]);
      const scan = selectiveScan({
        x,
        dt: softplus(add(linear(low, p.dtProj), p.dtBias)),
        a: neg(exp(p.aLog)),
        b: shared(b),
        c: shared(cc),
        d: p.d,
        state: before?.ssm ?? null,
      });
      return { out: linear(mul(scan.y, silu(z)), p.outProj), state: { ssm: scan.state, conv: convolved.state } };
    },
  };
  return block;
}
