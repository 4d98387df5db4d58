/**
 * RWKV-7 (Peng et al. 2025, "RWKV-7 'Goose' with expressive dynamic state evolution"), as its released weights have it (x070). Behind the
 * embedding stands a layer norm; a layer is   h += timeMix(LN(h)),   h += channelMix(LN(h)).
 *
 * The time mix of u [B,T,D], with x_j = u_t + (u_{t-1} - u_t)·share_j for j of r, w, k, v, a, g:
 *   r, k, v   = x_r · receptanceᵀ, x_k · keyᵀ, x_v · valueᵀ
 *   decay     = exp(-e^{-1/2} σ(w0 + tanh(x_w · w1) · w2))       per channel, above 0.545
 *   v         = v + (v of the first layer - v) σ(v0 + x_v · v1 · v2)
 *   a         = σ(a0 + x_a · a1 · a2),   g = σ(x_g · g1) · g2
 *   κ         = k·k_k / ‖k·k_k‖                                  per head
 *   k         = k·(1 + (a - 1)·k_a)
 *   S_t       = diag(decay_t) S_{t-1} + (κ_t·a_t) (-κ_tᵀ S_{t-1}) + k_t v_tᵀ   per head, S [K,V]
 *   y_t       = S_tᵀ r_t
 *   out       = ((GroupNorm(y) + (Σ r·k·r_k) v) · g) · outputᵀ   groups and sum within each head
 * The channel mix:   out = ReLU(x_k · keyᵀ)² · valueᵀ
 *
 * The state is [K,V] here, as that of all our ops; the authors' program for single tokens has [V,K].
 *
 * Parameters begin as in the authors' program (RWKV-v7/train_temp/src/model.py); weight decay touches the matrices, embedding and output
 * included, and not the low-rank ones. Theirs also takes w0 twice as fast as the rest.
 */
import {
  add, addScalar, check, type CheckpointForm, deltaRule, full, linear, mul, neg, parameterCount, relu, reshape, rmsNorm, scale,
  type SequenceModel, sigmoid, square, sub, sum, tanh, type Tensor,
} from "@lenggen/kernels";
import {
  type Block, constantInit, type ConfigOptions, type Init, matrix, type Names, parameter, shiftState, type StatePart, type StateParts,
} from "@lenggen/kernels/nn";
import { rwkvDecoder } from "../rwkv/decoder";
import { logUniform } from "../init";
import { along, channelInit, type Depth, orthogonalInit, shiftInit } from "../rwkv/init";
import { headNorm, lowRank, mixes, rowsOf, share, shift, vectorOf } from "../rwkv/parts";
import { aboutModel, checkLayout, headsOf, keptFields, layersOfWidth, type LayoutOption } from "../layouts";
import { linearIn, RWKV7_NAMES, RWKV_LAYOUTS, type RwkvLayout, vectorIn } from "../rwkv/layouts";
import { FASTEST_DECAY, parseRwkv7Config, type Rwkv7Config, rwkv7Json, rwkv7LayoutOf } from "./config";
import { checkpointForm, reasonAgainst } from "./layout";

/** The number whose decay, exp(-e^{-1/2} σ(w)), has that rate. */
const gateFor = (rate: number): number => Math.log(rate / (FASTEST_DECAY - rate));

/** One layer's state. */
export interface Rwkv7LayerState {
  readonly [leaf: string]: Tensor;
  /** The sum over the past [B, H, K, V]; named as the authors' kernel is, since that of RWKV-6, `wkv`, has the same shape. */
  readonly wkv7: Tensor;
  /** The last input of the time mix, behind its norm: [B, 1, D]. */
  readonly attShift: Tensor;
  /** The last input of the channel mix, behind its norm: [B, 1, D]. */
  readonly ffnShift: Tensor;
}

/** The state after a prefix, one entry for each layer. */
export interface Rwkv7State {
  readonly [leaf: string]: readonly Rwkv7LayerState[];
  readonly layers: readonly Rwkv7LayerState[];
}

/** RWKV-7 (Peng et al. 2025, "RWKV-7 'Goose'") as a {@link SequenceModel}; made by {@link rwkv7}. */
export interface Rwkv7 extends SequenceModel<Rwkv7State> {
  readonly family: "rwkv7";
  readonly settings: Rwkv7Config;
  /** The program that its checkpoints are for. */
  readonly layout: RwkvLayout;
  readonly checkpoint: CheckpointForm;
}

/** Options of {@link rwkv7}. */
export interface Rwkv7Options extends LayoutOption<RwkvLayout>, ConfigOptions {
  /** The layout of the file that the model is for, whatever form the configuration is in; it refuses nothing. */
  readonly fileLayout?: RwkvLayout;
  /** Whether that file holds what its first layer never reads, whatever the configuration says. */
  readonly firstLayerValues?: boolean;
}

/** A model from its configuration, in the form of any layout (see config.ts). Throws `E_CONFIG`. */
export function rwkv7(json: unknown, { layout: wanted, fileLayout, firstLayerValues, ...reading }: Rwkv7Options = {}): Rwkv7 {
  const parsed = parseRwkv7Config(json, reading);
  if (wanted !== undefined) checkLayout(wanted, RWKV_LAYOUTS, (program) => reasonAgainst(parsed, program));
  const layout = wanted ?? fileLayout ?? rwkv7LayoutOf(json);
  const settings = { ...parsed, firstLayerValues: layout !== "fla" && (firstLayerValues ?? parsed.firstLayerValues) };
  const { parameters, ...parts } = rwkv7Decoder(settings);
  return {
    family: "rwkv7",
    settings,
    config: { ...rwkv7Json(settings) },
    layout,
    about: aboutModel("RWKV-7", layout, [layersOfWidth(settings), headsOf(settings.heads, settings.headSize)]),
    checkpoint: checkpointForm(settings, parameters, layout, layout === rwkv7LayoutOf(json) ? keptFields(json) : {}),
    ...parts,
  };
}

/** Number of parameters. */
export function rwkv7ParameterCount(c: Rwkv7Config): number {
  return parameterCount(rwkv7Decoder(c));
}

function rwkv7Decoder(c: Rwkv7Config) {
  return rwkvDecoder(c, RWKV7_NAMES, (depth) => rwkv7TimeMix(c, depth), (depth) => channelMix(c, depth));
}

/** The time mix alone, for stacks of several kinds. */
export function rwkv7TimeMix(c: Rwkv7Config, depth: Depth) {
  const { width, heads, headSize } = c;
  const { layer, down, left } = depth;
  const vector = (names: Names, init: Init) => share(names, width, init);
  const squareMatrix = (name: string, fla: string, init: Init) =>
    matrix({ own: `${name}.weight`, fla: `${fla}.weight` }, [width, width], init);
  const pair = (name: string, rank: number) => ({
    down: parameter({ own: `${name}1`, fla: linearIn(`${name}_lora.lora.0.weight`, [width, rank]) }, [width, rank],
      { init: constantInit(0) }),
    up: parameter({ own: `${name}2`, fla: linearIn(`${name}_lora.lora.2.weight`, [rank, width]) }, [rank, width],
      { init: orthogonalInit(0.1) }),
  });
  const low = (name: string, rank: number, start: (channel: number) => number) =>
    ({ start: vector({ own: `${name}0`, fla: vectorIn(`${name}_lora.lora.2.bias`, width) }, channelInit(start)), ...pair(name, rank) });
  /** -1/2 to 1/2 along all channels, and -1 to 1 along those of a head, bent towards 0. */
  const line = (n: number) => along(width, n) - 0.5;
  const zigzag = (n: number) => {
    const z = 2 * along(headSize, n % headSize) - 1;
    return z * Math.abs(z);
  };
  const norm = headNorm(c, depth);
  const parameters = {
    shares: {
      r: vector("x_r", shiftInit(width, 0.2 * left)),
      w: vector("x_w", shiftInit(width, 0.9 * left)),
      k: vector("x_k", shiftInit(width, 0.7 * left)),
      v: vector("x_v", shiftInit(width, 0.7 * left)),
      a: vector("x_a", shiftInit(width, 0.9 * left)),
      g: vector("x_g", shiftInit(width, 0.2 * left)),
    },
    w: low("w", c.decayRank, (n) => (c.decayRange ? gateFor(logUniform(c.decayRange, along(width, n)))
      : -6 + 6 * along(width, n) ** (1 + down ** 0.3) + 0.5 + 2.5 * zigzag(n))),
    bonus: parameter("r_k", [heads, headSize], { init: constantInit(-0.04) }),
    a: low("a", c.rateRank, (n) => -0.19 + 0.3 * zigzag(n) + 0.4 * line(n)),
    g: pair("g", c.gateRank),
    v: layer === 0 && !c.firstLayerValues ? null : low("v", c.valueRank, (n) => 0.73 - 0.4 * line(n)),
    removal: vector({ own: "k_k", fla: vectorIn("k_k", width) }, channelInit((n) => 0.71 - 0.1 * line(n))),
    rate: vector({ own: "k_a", fla: vectorIn("k_a", width) }, constantInit(1.02)),
    receptance: squareMatrix("receptance", "r_proj", orthogonalInit(1)),
    key: squareMatrix("key", "k_proj", orthogonalInit(0.1)),
    value: squareMatrix("value", "v_proj", orthogonalInit(1)),
    output: squareMatrix("output", "o_proj", constantInit(0)),
    norm: norm.parameters,
  };
  const state = {
    wkv7: { shape: [heads, headSize, headSize], kind: "recurrent", headAxis: 1 },
    attShift: shiftState(width),
  } satisfies StateParts as { wkv7: StatePart; attShift: StatePart };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before, first) {
      const [batch, time] = u.shape as [number, number, number];
      const shifted = shift(u, before?.attShift);
      const [xr, xw, xk, xv, xa, xg] = mixes(shifted, Object.values(p.shares)) as [Tensor, Tensor, Tensor, Tensor, Tensor, Tensor];
      const byHead = (x: Tensor) => reshape(x, [batch, time, heads, headSize]);
      const gateOf = (low: NonNullable<typeof p.v>, x: Tensor, between?: (y: Tensor) => Tensor) =>
        sigmoid(add(lowRank(x, low.down, low.up, between), vectorOf(low.start)));
      const receptance = linear(xr, p.receptance);
      const decay = scale(gateOf(p.w, xw, tanh), -FASTEST_DECAY);
      const key = linear(xk, p.key);
      const own = linear(xv, p.value);
      let value = own;
      if (p.v && layer > 0) {
        check(first, "E_ARGUMENT", () => "rwkv7: only the first layer can go without the values of the first layer");
        value = add(own, mul(sub(rowsOf(first), own), gateOf(p.v, xv)));
      }
      const rate = gateOf(p.a, xa);
      const gate = lowRank(xg, p.g.down, p.g.up, sigmoid);
      const removed = byHead(unit(mul(key, vectorOf(p.removal)), headSize, c.lengthEps));
      const written = mul(key, addScalar(mul(addScalar(rate, -1), vectorOf(p.rate)), 1));
      const [q, k, v] = [receptance, written, value].map(byHead) as [Tensor, Tensor, Tensor];
      const read = deltaRule({
        q, k, v, a: byHead(decay), remove: neg(removed), write: mul(removed, byHead(rate)), state: before?.wkv7 ?? null,
      });
      const now = mul(sum(mul(mul(q, k), p.bonus), { axes: -1, keepDims: true }), v); // [B,T,H,V]
      const normed = add(norm.forward(p.norm, rowsOf(reshape(read.y, u.shape))), rowsOf(reshape(now, u.shape)));
      return {
        out: reshape(linear(mul(normed, gate), p.output), u.shape),
        state: { wkv7: read.state, attShift: shifted.state },
        ...(layer === 0 && { beside: reshape(own, u.shape) }),
      };
    },
  };
  return block;
}

/** Each block of `size` neighbours as a vector of length 1: x / √(Σx² + eps) [R,H,K], which is an RMS norm. */
function unit(x: Tensor, size: number, eps: number): Tensor {
  const blocks = reshape(x, [x.size / size, size]);
  return rmsNorm(blocks, full(x.device, [size], 1 / Math.sqrt(size), x.dtype), { eps: eps / size });
}

function channelMix({ width, innerWidth }: Rwkv7Config, { left }: Depth) {
  const parameters = {
    shareK: share({ own: "x_k", fla: vectorIn("x_k", width) }, width, shiftInit(width, left ** 4)),
    key: matrix("key.weight", [innerWidth, width], orthogonalInit(1)),
    value: matrix("value.weight", [width, innerWidth], constantInit(0)),
  };
  const state = { ffnShift: shiftState(width) };
  const block: Block<typeof parameters, typeof state> = {
    parameters,
    state,
    forward(p, u, before) {
      const shifted = shift(u, before?.ffnShift);
      const [k] = mixes(shifted, [p.shareK]) as [Tensor];
      const out = linear(square(relu(linear(k, p.key))), p.value);
      return { out: reshape(out, u.shape), state: { ffnShift: shifted.state } };
    },
  };
  return block;
}
