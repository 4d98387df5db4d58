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
 */
import {
  addRmsNorm, causalConv, check, type CheckpointForm, type Device, type DType, embedding, firstRows, type ForwardResult, gatedRmsNorm,
  type Key, linear, linearSplit, type Parameters, reshape, scopeUnlessRecording, type SequenceModel, showShape, ssd, ssmGates,
  type StateLeaf, type Tensor, zeros,
} from "@lenggen/kernels";
import { layoutOf, type Mamba2Config, type Mamba2Layout, mamba2Json, parseMamba2Config } from "./config";
import { checkLayout, checkpointForm } from "./layout";
import { initMamba2, mamba2Decays, mamba2Shapes } from "./parameters";

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
  readonly layout: Mamba2Layout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link mamba2} and {@link saveMamba2}. */
export interface Mamba2Options {
  /**
   * The program whose checkpoints the model is saved as: `mamba_ssm` or `transformers`; unless given, that of the configuration's form. With
   * one given, settings that this program can't be told are refused (`E_CONFIG`); without, they are written for lenggen to read.
   */
  readonly layout?: Mamba2Layout;
}

/**
 * A model from a configuration in either published form (see config.ts). The gated norm is per group (`ngroups`, `n_groups`), as in
 * mamba_ssm and llama.cpp, whichever form it is in. Throws `E_CONFIG`.
 */
export function mamba2(json: unknown, { layout: wanted }: Mamba2Options = {}): Mamba2 {
  const settings = parseMamba2Config(json);
  if (wanted !== undefined) checkLayout(settings, wanted);
  const layout = wanted ?? layoutOf(json);
  return {
    family: "mamba2",
    settings,
    config: { ...mamba2Json(settings) },
    layout,
    checkpoint: checkpointForm(settings, layout, specialTokens(json as object)),
    vocabulary: settings.vocabulary,
    stateLeaves: stateLeaves(settings),
    parameterShapes: () => mamba2Shapes(settings),
    decays: mamba2Decays,
    init: (key: Key, device: Device, dtype: DType = "f32") => initMamba2(settings, key, device, dtype),
    initialState: (batch: number, device: Device, dtype: DType = "f32") => zeroState(settings, batch, device, dtype),
    forward: (parameters, tokens, state) => forward(settings, parameters, tokens, state),
    head: (parameters) => firstRows(parameters[settings.tieEmbeddings ? "backbone.embedding.weight" : "lm_head.weight"]!, settings.vocabulary),
  };
}

/** Special tokens, which transformers has in `config.json` and which nothing here depends on. */
function specialTokens(json: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(json).filter(([name]) => /^(?:bos|eos|pad)_token_id$/.test(name)));
}

function stateLeaves(c: Mamba2Config): StateLeaf[] {
  return Array.from({ length: c.layers }, (_, layer): StateLeaf[] => [
    { path: `layers.${layer}.ssm`, kind: "recurrent", layer, headAxis: 1 },
    { path: `layers.${layer}.conv`, kind: "window", layer },
  ]).flat();
}

function zeroState(c: Mamba2Config, batch: number, device: Device, dtype: DType): Mamba2State {
  return {
    layers: Array.from({ length: c.layers }, () => ({
      ssm: zeros(device, [batch, c.heads, c.headSize, c.stateSize], dtype),
      conv: zeros(device, [batch, c.convolution - 1, c.convolutionWidth], dtype),
    })),
  };
}

function forward(c: Mamba2Config, parameters: Parameters, tokens: Tensor, state?: Mamba2State): ForwardResult<Mamba2State> {
  check(tokens.shape.length === 2 && tokens.shape[1]! >= 1, "E_SHAPE", () =>
    `tokens: expected [batch, time] with at least one step, got ${showShape(tokens.shape)}`);
  check(!state || state.layers.length === c.layers, "E_SHAPE", () =>
    `state: has ${state?.layers.length} layers, the model ${c.layers}`);
  const next: Mamba2LayerState[] = [];
  let hidden = embedding(parameters["backbone.embedding.weight"]!, tokens); // [B,T,D]
  let residual: Tensor | null = null;
  for (let layer = 0; layer < c.layers; layer++) {
    const at = (name: string) => parameters[`backbone.layers.${layer}.${name}`]!;
    const block: { residual: Tensor; out: Tensor; state: Mamba2LayerState } = scopeUnlessRecording(() => {
      const { normed, residual: sum } = addRmsNorm(hidden, residual, at("norm.weight"), { eps: c.normEps });
      return { residual: sum, ...mixer(c, at, normed, state?.layers[layer]) };
    });
    ({ residual, out: hidden } = block);
    next.push(block.state);
  }
  const last = addRmsNorm(hidden, residual, parameters["backbone.norm_f.weight"]!, { eps: c.normEps });
  return { hidden: last.normed, state: { layers: next } };
}

function mixer(
  c: Mamba2Config,
  at: (name: string) => Tensor,
  u: Tensor, // [B,T,D]
  state: Mamba2LayerState | undefined,
): { out: Tensor; state: Mamba2LayerState } {
  const [batch, time] = u.shape as [number, number, number];
  const [z, xBC, steps] = linearSplit(u, at("mixer.in_proj.weight"), [c.innerWidth, c.convolutionWidth, c.heads]);
  const scanned = c.groups * c.stateSize;
  const convolved = causalConv(xBC!, reshape(at("mixer.conv1d.weight"), [c.convolutionWidth, c.convolution]), at("mixer.conv1d.bias"), state?.conv ?? null, {
    silu: true,
    split: [c.innerWidth, scanned, scanned],
  });
  const [x, b, cc] = convolved.outputs;
  const gates = ssmGates(steps!, at("mixer.dt_bias"), at("mixer.A_log"), { minDt: c.dtLimit[0], maxDt: c.dtLimit[1] });
  const scan = ssd(
    {
      x: reshape(x!, [batch, time, c.heads, c.headSize]),
      dt: gates.dt,
      a: gates.a,
      b: reshape(b!, [batch, time, c.groups, c.stateSize]),
      c: reshape(cc!, [batch, time, c.groups, c.stateSize]),
      d: at("mixer.D"),
      state: state?.ssm ?? null,
    },
    { chunk: Math.min(c.chunk, LONGEST_CHUNK) },
  );
  const y = reshape(scan.y, [batch, time, c.innerWidth]);
  const gated = gatedRmsNorm(y, z!, at("mixer.norm.weight"), { eps: c.normEps, groups: c.groups });
  return { out: linear(gated, at("mixer.out_proj.weight")), state: { ssm: scan.state, conv: convolved.state } };
}
