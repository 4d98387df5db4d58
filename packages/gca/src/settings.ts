/** Reading `config.json`: what the models of this package share. */
import { check, taggedNumbers } from "@lenggen/kernels";
import * as v from "valibot";

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
const upTo = (most: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(most));
const vocabulary = upTo(2 ** 24);
export const [count, layers] = [upTo(2 ** 20), upTo(2 ** 10)];
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
export const flag = v.boolean();

/** Fields that every model here has. */
export const SHARED_FIELDS = {
  vocab_size: vocabulary,
  hidden_size: count,
  intermediate_size: count,
  num_attention_heads: count,
  num_key_value_heads: v.optional(count),
  rms_norm_eps: v.optional(positive, 1e-5),
  rope_theta: v.optional(positive, 10_000),
  position: v.optional(v.picklist(["alibi", "rope"]), "alibi"),
};

/** Sizes of a decoder or encoder layer. */
export interface LayerSettings {
  readonly width: number;
  /** Hidden width of the SwiGLU. */
  readonly innerWidth: number;
  readonly heads: number;
  /** Heads of keys and values; query heads share them in equal groups (Ainslie et al. 2023). */
  readonly keyHeads: number;
  readonly headSize: number;
  readonly normEps: number;
  readonly ropeTheta: number;
}

/** Where a token of the window stands: a bias by distance (ALiBi, Press et al. 2022) or rotation (RoPE, Su et al. 2021). */
export type Position = "alibi" | "rope";

/** Checks a configuration against its schema. Throws `E_CONFIG` naming the field, what it must be and what it is. */
export function parse<S extends v.GenericSchema>(schema: S, json: unknown): v.InferOutput<S> {
  const isObject = json !== null && typeof json === "object" && !Array.isArray(json);
  check(isObject, "E_CONFIG", () => `config: expected an object, got ${json === null ? "null" : Array.isArray(json) ? "a list" : typeof json}`);
  const result = v.safeParse(schema, taggedNumbers(json));
  check(result.success, "E_CONFIG", () => {
    const issue = result.issues![0];
    const path = v.getDotPath(issue) ?? "the whole";
    if (issue.received === "undefined") return `config: ${path} is missing`;
    return `config: ${path}: expected ${issue.expected ?? "a valid value"}, got ${issue.received}`;
  });
  return result.output;
}

/** The sizes of a layer from the shared fields. */
export function layerSettings(json: v.InferOutput<v.ObjectSchema<typeof SHARED_FIELDS, undefined>>): LayerSettings {
  const { hidden_size: width, num_attention_heads: heads } = json;
  const keyHeads = json.num_key_value_heads ?? heads;
  check(width % heads === 0, "E_CONFIG", () => `config: num_attention_heads ${heads} must divide hidden_size ${width}`);
  check(heads % keyHeads === 0, "E_CONFIG", () => `config: num_key_value_heads ${keyHeads} must divide num_attention_heads ${heads}`);
  const headSize = width / heads;
  check(headSize % 2 === 0, "E_CONFIG", () =>
    `config: hidden_size ${width} over num_attention_heads ${heads} gives heads of ${headSize}; positions are rotated in pairs, so it must be even`);
  return {
    width, innerWidth: json.intermediate_size, heads, keyHeads, headSize, normEps: json.rms_norm_eps, ropeTheta: json.rope_theta,
  };
}
