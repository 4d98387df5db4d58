/**
 * RWKV-6 (Peng et al. 2024, "Eagle and Finch: RWKV with matrix-valued states and dynamic recurrence"), as its released weights have it
 * (x060). Behind the embedding stands a layer norm; a layer is   h += timeMix(LN(h)),   h += channelMix(LN(h)).
 *
 * The time mix of u [B,T,D], with Δ_t = u_{t-1} - u_t:
 *   z_j       = tanh((u + Δ·maa_x) · w1)_j · w2_j                for j of w, k, v, r, g
 *   x_j       = u + Δ·(maa_j + z_j)                              how much of the token before depends on the tokens
 *   r, k, v   = x_r · receptanceᵀ, x_k · keyᵀ, x_v · valueᵀ
 *   decay     = exp(-exp(time_decay + tanh(x_w · d1) · d2))      per channel
 *   y_t       = (S_{t-1} + diag(time_faaaa) k_t v_tᵀ)ᵀ r_t       per head, S [K,V]
 *   S_t       = diag(decay_t) S_{t-1} + k_t v_tᵀ
 *   out       = (GroupNorm(y) · SiLU(x_g · gateᵀ)) · outputᵀ     a group to each head
 * The channel mix:
 *   out       = σ(x_r · receptanceᵀ) · (ReLU(x_k · keyᵀ)² · valueᵀ)   with x_j = u + Δ·maa_j
 *
 * Parameters begin as in the authors' program (RWKV-v5/src/model.py); weight decay touches the matrices, embedding and output included, and
 * not the low-rank ones. Theirs also takes time_decay twice as fast as the rest.
 */
import {
  add, type CheckpointForm, exp, gatedLinearAttention, linear, matmul, mul, neg, parameterCount, relu, reshape, type SequenceModel,
  sigmoid, silu, square, tanh, type Tensor, transpose,
} from "@lenggen/kernels";
import {
  type Block, constantInit, type ConfigOptions, type Init, matrix, parameter, shiftState, type StatePart, type StateParts,
  uniformInit,
} from "@lenggen/kernels/nn";
import { rwkvDecoder } from "../rwkv/decoder";
import { logUniform } from "../init";
import { along, channelInit, type Depth, orthogonalInit, shiftInit } from "../rwkv/init";
import { headNorm, lowRank, mixes, share, shift, vectorOf } from "../rwkv/parts";
import { aboutModel, checkLayout, headsOf, keptFields, layersOfWidth, type LayoutOption } from "../layouts";
import { linearIn, rowIn, RWKV6_NAMES, RWKV_LAYOUTS, type RwkvLayout, vectorIn } from "../rwkv/layouts";
import { parseRwkv6Config, type Rwkv6Config, rwkv6Json, rwkv6LayoutOf } from "./config";
import { checkpointForm, mixDownForm, MIXED, mixUpForm, placeInFla, reasonAgainst } from "./layout";

/** One layer's state. */
export interface Rwkv6LayerState {
  readonly [leaf: string]: Tensor;
  /** The sum over the past [B, H, K, V]. */
  readonly wkv: Tensor;
  /** The last input of the time mix, behind its norm: [B, 1, D]. */
  readonly attShift: Tensor;
  /** The last input of the channel mix, behind its norm: [B, 1, D]. */
  readonly ffnShift: Tensor;
}

/** The state after a prefix, one entry for each layer. */
export interface Rwkv6State {
  readonly [leaf: string]: readonly Rwkv6LayerState[];
  readonly layers: readonly Rwkv6LayerState[];
}

/** RWKV-6 (Peng et al. 2024, "Eagle and Finch") as a {@link SequenceModel}; made by {@link rwkv6}. */
export interface Rwkv6 extends SequenceModel<Rwkv6State> {
  readonly family: "rwkv6";
  readonly settings: Rwkv6Config;
  /** The program that its checkpoints are for. */
  readonly layout: RwkvLayout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link rwkv6}. */
export interface Rwkv6Options extends LayoutOption<RwkvLayout>, ConfigOptions {
  /** The layout of the file that the model is for, whatever form the configuration is in; it refuses nothing. */
  readonly fileLayout?: RwkvLayout;
}

/** A model from its configuration, in the form of any layout (see config.ts). Throws `E_CONFIG`. */
export function rwkv6(json: unknown, { layout: wanted, fileLayout, ...reading }: Rwkv6Options = {}): Rwkv6 {
  const settings = parseRwkv6Config(json, reading);
  if (wanted !== undefined) checkLayout(wanted, RWKV_LAYOUTS, (program) => reasonAgainst(settings, program));
  const layout = wanted ?? fileLayout ?? rwkv6LayoutOf(json);
  const { parameters, ...parts } = rwkv6Decoder(settings);
  return {
    family: "rwkv6",
    settings,
    config: { ...rwkv6Json(settings) },
    layout,
    about: aboutModel("RWKV-6", layout, [layersOfWidth(settings), headsOf(settings.heads, settings.headSize)]),
    checkpoint: checkpointForm(settings, parameters, layout, layout === rwkv6LayoutOf(json) ? keptFields(json) : {}),
    ...parts,
  };
}

/** Number of parameters. */
export function rwkv6ParameterCount(c: Rwkv6Config): number {
  return parameterCount(rwkv6Decoder(c));
}

function rwkv6Decoder(c: Rwkv6Config) {
  return rwkvDecoder(c, RWKV6_NAMES, (depth) => rwkv6TimeMix(c, depth), (depth) => channelMix(c, depth));
}

/** The time mix alone, for stacks of several kinds. */
export function rwkv6TimeMix(c: Rwkv6Config, depth: Depth) {
  const { width, heads, headSize, mixRank, decayRank } = c;
  const { down, left } = depth;
  const shareOf = (name: (typeof MIXED)[number], init: Init) =>
    share({ own: `time_maa_${name}`, fla: { name: "x_bias", form: rowIn(placeInFla(name), MIXED.length, width) } }, width, init);
  const squareMatrix = (name: string, fla: string, init: Init) =>
    matrix({ own: `${name}.weight`, fla: `${fla}.weight` }, [width, width], init);
  const decay = { down: [width, decayRank], up: [decayRank, width] } as const;
  const [zeros, small] = [{ init: constantInit(0) }, { init: uniformInit(0.01) }];
  const norm = headNorm(c, depth);
  const parameters = {
    shareX: share({ own: "time_maa_x", fla: vectorIn("x_proj.0.mu", width) }, width, shiftInit(width, left)),
    shares: {
      w: shareOf("w", shiftInit(width, left)),
      k: shareOf("k", shiftInit(width, left)),
      v: shareOf("v", shiftInit(width, left, 0.3 * down)),
      r: shareOf("r", shiftInit(width, 0.5 * left)),
      g: shareOf("g", shiftInit(width, 0.5 * left)),
    },
    sharesDown: parameter({ own: "time_maa_w1", fla: { name: "x_proj.0.linear.weight", form: mixDownForm(width, mixRank) } },
      [width, MIXED.length * mixRank], zeros),
    sharesUp: parameter({ own: "time_maa_w2", fla: { name: "x_proj.2.weight", form: mixUpForm(width, mixRank) } },
      [MIXED.length, mixRank, width], small),
    decay: share({ own: "time_decay", fla: vectorIn("w_proj.linear.lora.2.bias", width) }, width, channelInit((n) =>
      (c.decayRange ? Math.log(logUniform(c.decayRange, along(width, n))) : -6 + 5 * along(width, n) ** (0.7 + 1.3 * down)))),
    decayDown: parameter({ own: "time_decay_w1", fla: linearIn("w_proj.linear.lora.0.weight", decay.down) }, decay.down, zeros),
    decayUp: parameter({ own: "time_decay_w2", fla: linearIn("w_proj.linear.lora.2.weight", decay.up) }, decay.up, small),
    bonus: parameter({ own: "time_faaaa", fla: "bonus" }, [heads, headSize], {
      init: channelInit((n) => down * (1 - along(width, n)) + 0.1 * (((n + 1) % 3) - 1)),
    }),
    receptance: squareMatrix("receptance", "r_proj.linear", orthogonalInit(1)),
    key: squareMatrix("key", "k_proj.linear", orthogonalInit(0.1)),
    value: squareMatrix("value", "v_proj.linear", orthogonalInit(1)),
    output: squareMatrix("output", "o_proj", constantInit(0)),
    gate: squareMatrix("gate", "g_proj.linear", orthogonalInit(0.1)),
    norm: norm.parameters,
  };
  const state = {
    wkv: { shape: [heads, headSize, headSize], kind: "recurrent", headAxis: 1 },
    attShift: shiftState(width),
  } satisfies StateParts as { wkv: StatePart; attShift: StatePart };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const [batch, time] = u.shape as [number, number, number];
      const rows = batch * time;
      const shifted = shift(u, before?.attShift);
      const [x] = mixes(shifted, [p.shareX]) as [Tensor];
      const z = tanh(matmul(x, p.sharesDown)); // [B·T,5·rank]
      const byInput = transpose(reshape(z, [rows, MIXED.length, mixRank]), [1, 0, 2]); // [5,B·T,rank]
      const [w, k, v, r, g] = mixes(shifted, MIXED.map((name) => p.shares[name]), matmul(byInput, p.sharesUp)) as
        [Tensor, Tensor, Tensor, Tensor, Tensor];
      const byHead = (x: Tensor) => reshape(x, [batch, time, heads, headSize]);
      const speed = exp(add(lowRank(w, p.decayDown, p.decayUp, tanh), vectorOf(p.decay)));
      const read = gatedLinearAttention({
        q: byHead(linear(r, p.receptance)), k: byHead(linear(k, p.key)), v: byHead(linear(v, p.value)), a: byHead(neg(speed)),
        bonus: p.bonus, state: before?.wkv ?? null,
      });
      const gated = mul(norm.forward(p.norm, reshape(read.y, [rows, width])), silu(linear(g, p.gate)));
      return { out: reshape(linear(gated, p.output), u.shape), state: { wkv: read.state, attShift: shifted.state } };
    },
  };
  return block;
}

function channelMix({ width, innerWidth }: Rwkv6Config, { left }: Depth) {
  const start = shiftInit(width, left ** 3);
  const parameters = {
    shareK: share({ own: "time_maa_k", fla: vectorIn("key.mu", width) }, width, start),
    shareR: share({ own: "time_maa_r", fla: vectorIn("receptance.mu", width) }, width, start),
    key: matrix({ own: "key.weight", fla: "key.linear.weight" }, [innerWidth, width], orthogonalInit(1)),
    receptance: matrix({ own: "receptance.weight", fla: "receptance.linear.weight" }, [width, width], constantInit(0)),
    value: matrix("value.weight", [width, innerWidth], constantInit(0)),
  };
  const state = { ffnShift: shiftState(width) };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const shifted = shift(u, before?.ffnShift);
      const [k, r] = mixes(shifted, [p.shareK, p.shareR]) as [Tensor, Tensor];
      const inner = linear(square(relu(linear(k, p.key))), p.value);
      const gate = sigmoid(linear(r, p.receptance));
      return { out: reshape(mul(gate, inner), u.shape), state: { ffnShift: shifted.state } };
    },
  };
  return block;
}
