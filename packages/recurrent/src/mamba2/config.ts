/**
 * Mamba-2's configuration, read from either published form of `config.json`: that of state-spaces
 * (`d_model`, `ssm_cfg`, ...) or that of transformers (`hidden_size`, `state_size`, ...).
 *
 * Glossary (Dao & Gu 2024 -> here): d -> `width`, L -> `layers`, N -> `stateSize`, P -> `headSize`,
 * H -> `heads`, G -> `groups`, expand·d -> `innerWidth`, K -> `convolution` (kernel width).
 */
import { check, taggedNumbers } from "@lenggen/kernels";
import * as v from "valibot";

/** The programs whose forms of `config.json` there are: https://github.com/state-spaces/mamba, and Hugging Face's transformers. */
export type Mamba2Layout = "mamba_ssm" | "transformers";

/** A configuration with everything derived; made by {@link parseMamba2Config}. */
export interface Mamba2Config {
  readonly width: number;
  readonly layers: number;
  /** Tokens that exist; `paddedVocabulary` rows are stored: the next multiple of `padMultiple`. */
  readonly vocabulary: number;
  readonly padMultiple: number;
  readonly paddedVocabulary: number;
  readonly innerWidth: number;
  readonly heads: number;
  readonly headSize: number;
  readonly stateSize: number;
  readonly groups: number;
  readonly convolution: number;
  /** Channels that the convolution sees: x, B and C side by side. */
  readonly convolutionWidth: number;
  /** Chunk of the scan; changes speed, not results. */
  readonly chunk: number;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
  /** Range from which -A is drawn at the start. Small values forget slowly. */
  readonly aRange: readonly [number, number];
  /** Range of the step size dt at the start (log-uniform), and its floor. */
  readonly dtRange: readonly [number, number];
  readonly dtFloor: number;
  /** Hard limits of dt in the forward pass. */
  readonly dtLimit: readonly [number, number];
}

// Bounds are far above any published model; they keep a hostile file from asking for endless tables.
const upTo = (most: number) => v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(most));
const [count, layers, vocabulary] = [upTo(2 ** 20), upTo(2 ** 12), upTo(2 ** 24)];
const positive = v.pipe(v.number(), v.finite(), v.gtValue(0));
const expansion = v.pipe(positive, v.maxValue(64));
const range = v.tuple([positive, positive]);
// JSON has no infinity: published files leave the upper limit out or write null for it. (Adding 0 below turns -0 into 0.)
const limit = v.tuple([v.pipe(v.number(), v.finite(), v.minValue(0)), v.union([positive, v.null(), v.literal(Infinity)])]);

const STATE_SPACES = v.object({
  d_model: count,
  n_layer: layers,
  vocab_size: vocabulary,
  d_intermediate: v.optional(v.literal(0), 0),
  attn_layer_idx: v.optional(v.pipe(v.array(v.number()), v.maxLength(0)), []),
  rms_norm: v.optional(v.literal(true), true),
  residual_in_fp32: v.optional(v.boolean(), true),
  pad_vocab_size_multiple: v.optional(count, 8),
  tie_embeddings: v.optional(v.boolean(), true),
  norm_epsilon: v.optional(positive, 1e-5),
  ssm_cfg: v.object({
    layer: v.literal("Mamba2"),
    d_state: v.optional(count, 128),
    d_conv: v.optional(v.pipe(count, v.minValue(2), v.maxValue(16)), 4),
    expand: v.optional(expansion, 2),
    headdim: v.optional(count, 64),
    ngroups: v.optional(count, 1),
    chunk_size: v.optional(count, 256),
    A_init_range: v.optional(range, [1, 16]),
    dt_min: v.optional(positive, 1e-3),
    dt_max: v.optional(positive, 0.1),
    dt_init_floor: v.optional(positive, 1e-4),
    dt_limit: v.optional(limit, [0, Infinity]),
    bias: v.optional(v.literal(false), false),
    conv_bias: v.optional(v.literal(true), true),
    rmsnorm: v.optional(v.literal(true), true),
    norm_before_gate: v.optional(v.literal(false), false),
    D_has_hdim: v.optional(v.literal(false), false),
  }),
});

const TRANSFORMERS = v.object({
  model_type: v.literal("mamba2"),
  hidden_size: count,
  num_hidden_layers: layers,
  vocab_size: vocabulary,
  state_size: count,
  head_dim: count,
  num_heads: v.optional(count),
  expand: v.optional(expansion, 2),
  n_groups: v.optional(count, 8),
  conv_kernel: v.optional(v.pipe(count, v.minValue(2), v.maxValue(16)), 4),
  chunk_size: v.optional(count, 256),
  layer_norm_epsilon: v.optional(positive, 1e-5),
  tie_word_embeddings: v.optional(v.boolean(), false),
  time_step_min: v.optional(positive, 1e-3),
  time_step_max: v.optional(positive, 0.1),
  time_step_floor: v.optional(positive, 1e-4),
  time_step_limit: v.optional(limit, [0, Infinity]),
  use_bias: v.optional(v.literal(false), false),
  use_conv_bias: v.optional(v.literal(true), true),
  hidden_act: v.optional(v.literal("silu"), "silu"),
  // What transformers has no fields for and leaves alone: see layout.ts.
  unpadded_vocab_size: v.optional(vocabulary),
  pad_vocab_size_multiple: v.optional(count, 1),
  A_init_range: v.optional(range, [1, 16]),
});

/** `config.json` in the state-spaces form; fields left out have the published defaults. */
export type Mamba2Json = v.InferInput<typeof STATE_SPACES>;

/** Reads either published form. Throws `E_CONFIG` naming the field, its value and what it may be. */
export function parseMamba2Config(json: unknown): Mamba2Config {
  return layoutOf(json) === "transformers" ? fromTransformers(parse(TRANSFORMERS, json)) : fromStateSpaces(parse(STATE_SPACES, json));
}

/** Which of the two published forms a configuration is in. Throws `E_CONFIG` for what is no object. */
export function layoutOf(json: unknown): Mamba2Layout {
  const isObject = json !== null && typeof json === "object" && !Array.isArray(json);
  check(isObject, "E_CONFIG", () => `config: expected an object, got ${json === null ? "null" : Array.isArray(json) ? "a list" : typeof json}`);
  return "hidden_size" in json ? "transformers" : "mamba_ssm";
}

function parse<S extends v.GenericSchema>(schema: S, json: unknown): v.InferOutput<S> {
  const result = v.safeParse(schema, taggedNumbers(json));
  check(result.success, "E_CONFIG", () => {
    const issue = result.issues![0];
    const path = v.getDotPath(issue) ?? "the whole";
    if (issue.received === "undefined") return `config: ${path} is missing`;
    return `config: ${path}: expected ${issue.expected ?? "a valid value"}, got ${issue.received}`;
  });
  return result.output;
}

function fromStateSpaces(json: v.InferOutput<typeof STATE_SPACES>): Mamba2Config {
  const { ssm_cfg: ssm } = json;
  return derive({
    width: json.d_model,
    layers: json.n_layer,
    vocabulary: json.vocab_size,
    padMultiple: json.pad_vocab_size_multiple,
    innerWidth: ssm.expand * json.d_model,
    headSize: ssm.headdim,
    stateSize: ssm.d_state,
    groups: ssm.ngroups,
    convolution: ssm.d_conv,
    chunk: ssm.chunk_size,
    normEps: json.norm_epsilon,
    tieEmbeddings: json.tie_embeddings,
    aRange: ssm.A_init_range,
    dtRange: [ssm.dt_min, ssm.dt_max],
    dtFloor: ssm.dt_init_floor,
    dtLimit: [ssm.dt_limit[0] + 0, ssm.dt_limit[1] ?? Infinity],
  });
}

function fromTransformers(json: v.InferOutput<typeof TRANSFORMERS>): Mamba2Config {
  const innerWidth = json.expand * json.hidden_size;
  check(json.num_heads === undefined || json.num_heads * json.head_dim === innerWidth, "E_CONFIG", () =>
    `config: num_heads ${json.num_heads} times head_dim ${json.head_dim} must be expand·hidden_size = ${innerWidth}`);
  const given = json.unpadded_vocab_size ?? json.vocab_size;
  const padMultiple = json.vocab_size % json.pad_vocab_size_multiple === 0 ? json.pad_vocab_size_multiple : 1;
  check(json.vocab_size === padded(given, padMultiple), "E_CONFIG", () =>
    `config: unpadded_vocab_size ${given} and pad_vocab_size_multiple ${json.pad_vocab_size_multiple} do not make a vocab_size of ${json.vocab_size}`);
  return derive({
    width: json.hidden_size,
    layers: json.num_hidden_layers,
    vocabulary: given,
    padMultiple,
    innerWidth,
    headSize: json.head_dim,
    stateSize: json.state_size,
    groups: json.n_groups,
    convolution: json.conv_kernel,
    chunk: json.chunk_size,
    normEps: json.layer_norm_epsilon,
    tieEmbeddings: json.tie_word_embeddings,
    aRange: json.A_init_range,
    dtRange: [json.time_step_min, json.time_step_max],
    dtFloor: json.time_step_floor,
    dtLimit: [json.time_step_limit[0] + 0, json.time_step_limit[1] ?? Infinity],
  });
}

function derive(given: Omit<Mamba2Config, "heads" | "convolutionWidth" | "paddedVocabulary">): Mamba2Config {
  const { innerWidth, headSize, groups, stateSize, aRange, dtRange, dtLimit } = given;
  const heads = innerWidth / headSize;
  check(Number.isInteger(heads), "E_CONFIG", () =>
    `config: the head size ${headSize} must divide the inner width ${innerWidth} (expand times the model's width)`);
  check(heads % groups === 0 && innerWidth % groups === 0, "E_CONFIG", () =>
    `config: the number of groups ${groups} must divide the ${heads} heads`);
  for (const [name, [low, high]] of Object.entries({ "A_init_range": aRange, "dt_min, dt_max": dtRange, "dt_limit": dtLimit })) {
    check(low <= high, "E_CONFIG", () => `config: ${name}: ${low} must not be above ${high}`);
  }
  return {
    ...given,
    heads,
    convolutionWidth: innerWidth + 2 * groups * stateSize,
    paddedVocabulary: padded(given.vocabulary, given.padMultiple),
  };
}

const padded = (vocabulary: number, multiple: number): number => Math.ceil(vocabulary / multiple) * multiple;

/**
 * A configuration with nothing left out, in the state-spaces form and with two fields more than mamba_ssm's own `config.json` has
 * (`norm_epsilon`, and null in `dt_limit` for no limit). It makes the same model again; see layout.ts for what other programs read.
 */
export function mamba2Json(config: Mamba2Config): Mamba2Json {
  return {
    d_model: config.width,
    d_intermediate: 0,
    n_layer: config.layers,
    vocab_size: config.vocabulary,
    ssm_cfg: {
      layer: "Mamba2",
      d_state: config.stateSize,
      d_conv: config.convolution,
      expand: config.innerWidth / config.width,
      headdim: config.headSize,
      ngroups: config.groups,
      chunk_size: config.chunk,
      A_init_range: [...config.aRange],
      dt_min: config.dtRange[0],
      dt_max: config.dtRange[1],
      dt_init_floor: config.dtFloor,
      dt_limit: [config.dtLimit[0], Number.isFinite(config.dtLimit[1]) ? config.dtLimit[1] : null],
    },
    attn_layer_idx: [],
    rms_norm: true,
    residual_in_fp32: true,
    pad_vocab_size_multiple: config.padMultiple,
    tie_embeddings: config.tieEmbeddings,
    norm_epsilon: config.normEps,
  };
}
