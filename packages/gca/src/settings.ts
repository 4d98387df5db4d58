/** Fields of `config.json` that the models of this package share, and the sizes of a layer. */
import { check } from "@lenggen/kernels";
import { choiceField, type ConfigOutput, nullableField, numberField, optionalField, wholeField } from "@lenggen/kernels/nn";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
export const [count, layers] = [wholeField({ to: 2 ** 20 }), wholeField({ to: 2 ** 10 })];
const positive = numberField({ above: 0 });

/** Fields that every model here has. */
export const SHARED_FIELDS = {
  vocab_size: wholeField({ to: 2 ** 24 }),
  hidden_size: count,
  intermediate_size: count,
  num_attention_heads: count,
  num_key_value_heads: optionalField(nullableField(count, null), null),
  rms_norm_eps: optionalField(positive, 1e-5),
  rope_theta: optionalField(positive, 10_000),
  position: optionalField(choiceField("alibi", "rope"), "alibi"),
};

/** Sizes of a decoder or encoder layer. */
export interface LayerSettings {
  readonly width: number;
  /** Hidden width of the SwiGLU. */
  readonly intermediateSize: number;
  readonly heads: number;
  /** Heads of keys and values; query heads share them in equal groups (Ainslie et al. 2023). */
  readonly kvHeads: number;
  readonly headSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
}

/** Where a token of the window stands: a bias by distance (ALiBi, Press et al. 2022) or rotation (RoPE, Su et al. 2021). */
export type Position = "alibi" | "rope";

/** The sizes of a layer from the shared fields. */
export function layerSettings(json: ConfigOutput<typeof SHARED_FIELDS>): LayerSettings {
  const { hidden_size: width, num_attention_heads: heads } = json;
  const kvHeads = json.num_key_value_heads ?? heads;
  check(width % heads === 0, "E_CONFIG", () => `config: num_attention_heads ${heads} must divide hidden_size ${width}`);
  check(heads % kvHeads === 0, "E_CONFIG", () => `config: num_key_value_heads ${kvHeads} must divide num_attention_heads ${heads}`);
  const headSize = width / heads;
  check(headSize % 2 === 0, "E_CONFIG", () =>
    `config: hidden_size ${width} over num_attention_heads ${heads} gives heads of ${headSize}; positions are rotated in pairs, `
      + "so it must be even");
  return {
    width, intermediateSize: json.intermediate_size, heads, kvHeads, headSize, normEps: json.rms_norm_eps, ropeTheta: json.rope_theta,
  };
}
