/**
 * The kinds of blocks that a hybrid stack is made of: the mixers of the recurrent families, attention, and feed-forward parts. The fields
 * of a mixer are those that its family's own configuration has for it; sizes that all blocks share are the stack's. A new kind is an entry
 * of {@link KINDS}.
 */
import { check } from "@lenggen/kernels";
import {
  type Block, choiceField, type ConfigOutput, fanInInit, type Fields, nullableField, numberField, optionalField, squaredRelu, swiGlu,
  wholeField, windowAttention,
} from "@lenggen/kernels/nn";
import { GATED_DELTANET_MIXER, parseGatedDeltaNetConfig } from "../gatedDeltaNet/config";
import { gatedDeltaNetMixer } from "../gatedDeltaNet/model";
import { GLA_MIXER, parseGlaConfig } from "../gla/config";
import { glaMixer } from "../gla/model";
import { MAMBA_MIXER, parseMambaConfig } from "../mamba/config";
import { mambaMixer } from "../mamba/model";
import { MAMBA2_MIXER, parseMamba2Config } from "../mamba2/config";
import { mamba2Mixer } from "../mamba2/model";
import { MAMBA3_MIXER, parseMamba3Config } from "../mamba3/config";
import { mamba3Mixer } from "../mamba3/model";
import { Depth } from "../rwkv/init";
import { parseRwkv6Config, RWKV6_MIXER } from "../rwkv6/config";
import { rwkv6TimeMix } from "../rwkv6/model";
import { parseRwkv7Config, RWKV7_MIXER } from "../rwkv7/config";
import { rwkv7TimeMix } from "../rwkv7/model";

/** What a block gets from the stack that it is for. */
export interface Stack {
  readonly width: number;
  readonly normEps: number;
  /** How many outputs are added to the residual stream: how small the matrices back into it begin depends on it. */
  readonly sums: number;
}

/** Where a block stands among those of its kind. */
export interface Place {
  readonly index: number;
  readonly count: number;
}

/** A kind of block. `make` throws `E_CONFIG` for sizes that do not fit. */
export interface Kind<F extends Fields> {
  readonly fields: F;
  make(section: ConfigOutput<F>, stack: Stack): (place: Place) => Block;
}

const kind = <F extends Fields>(fields: F, make: Kind<F>["make"]): Kind<F> => ({ fields, make });

const count = wholeField({ to: 2 ** 20 });

const attention = kind({
  num_attention_heads: count,
  num_key_value_heads: optionalField(nullableField(count, null), null),
  head_dim: optionalField(nullableField(count, null), null),
  window: optionalField(nullableField(wholeField({ from: 2, to: 2 ** 20 }), null), null),
  position: optionalField(choiceField("rope", "alibi", "none"), "rope"),
  rope_theta: optionalField(numberField({ above: 0 }), 10_000),
}, (section, { width, sums }) => {
  const { num_attention_heads: heads, window, position, rope_theta: ropeTheta } = section;
  const [kvHeads, headSize] = [section.num_key_value_heads ?? heads, section.head_dim ?? width / heads];
  check(Number.isInteger(headSize), "E_CONFIG", () =>
    `config: num_attention_heads ${heads} must divide hidden_size ${width}, unless there is a head_dim`);
  check(heads % kvHeads === 0, "E_CONFIG", () => `config: num_key_value_heads ${kvHeads} must divide num_attention_heads ${heads}`);
  check(position !== "rope" || headSize % 2 === 0, "E_CONFIG", () =>
    `config: heads of ${headSize}: with the position "rope" their numbers turn in pairs, so that their size must be even`);
  return () => windowAttention({ qkv: "qkv.weight", out: "out.weight" }, { width, heads, kvHeads, headSize },
    { window, position, ropeTheta }, sums / 2);
});

const feedForward = kind({
  intermediate_size: count,
  activation: optionalField(choiceField("swiglu", "relu2"), "swiglu"),
}, ({ intermediate_size: intermediateSize, activation }, { width, sums }) => {
  const options = { width, intermediateSize, init: { in: fanInInit(width), out: fanInInit(intermediateSize, sums / 2) } };
  const names = { in: "in.weight", out: "out.weight" };
  return () => (activation === "swiglu" ? swiGlu(names, options) : squaredRelu(names, options));
});

/** Kinds by the `type` of a block. */
export const KINDS = {
  attention,
  gated_deltanet: kind(GATED_DELTANET_MIXER, (section, { width, normEps, sums }) => {
    const c = parseGatedDeltaNetConfig({ model_type: "gated_deltanet", ...section, hidden_size: width, num_hidden_layers: sums,
      norm_eps: normEps });
    return () => gatedDeltaNetMixer(c);
  }),
  gla: kind(GLA_MIXER, (section, { width, normEps, sums }) => {
    const c = parseGlaConfig({ model_type: "gla", ...section, hidden_size: width, num_hidden_layers: sums, norm_eps: normEps });
    return () => glaMixer(c);
  }),
  mamba: kind(MAMBA_MIXER, (section, { width, normEps, sums }) => {
    const c = parseMambaConfig({ d_model: width, n_layer: sums, vocab_size: 1, norm_epsilon: normEps, ssm_cfg: section });
    return () => mambaMixer(c);
  }),
  mamba2: kind(MAMBA2_MIXER, (section, { width, normEps, sums }) => {
    const c = parseMamba2Config({ d_model: width, n_layer: sums, vocab_size: 1, norm_epsilon: normEps,
      ssm_cfg: { layer: "Mamba2", ...section } });
    return () => mamba2Mixer(c);
  }),
  mamba3: kind(MAMBA3_MIXER, (section, { width, normEps, sums }) => {
    const c = parseMamba3Config({ d_model: width, n_layer: sums, vocab_size: 1, norm_epsilon: normEps,
      ssm_cfg: { layer: "Mamba3", ...section } });
    return () => mamba3Mixer(c);
  }),
  mlp: feedForward,
  rwkv6: kind(RWKV6_MIXER, (section, { width, sums }) => {
    const c = parseRwkv6Config({ ...section, n_embd: width, n_layer: sums, vocab_size: 1 });
    return ({ index, count: layers }) => rwkv6TimeMix(c, new Depth(index, layers));
  }),
  // The first of them gives all others its values.
  rwkv7: kind(RWKV7_MIXER, (section, { width, sums }) => {
    const c = parseRwkv7Config({ ...section, n_embd: width, n_layer: sums, vocab_size: 1 });
    return ({ index, count: layers }) => rwkv7TimeMix(c, new Depth(index, layers));
  }),
} as const;

/** The `type` of a block. */
export type BlockType = keyof typeof KINDS;

/** The fields of a kind. */
export type FieldsOf<T extends BlockType> = (typeof KINDS)[T]["fields"];
