/**
 * Checkpoints that other programs load. mamba_ssm (2.2 and later) and transformers (4 and 5) want different fields in `config.json`,
 * different names in the file of weights, and compute different things from some settings, so that a checkpoint is for one of them; which
 * one, its `config.json` tells by its fields.
 *
 *   mamba_ssm     `MambaConfig(**json)` takes the fields of its dataclass and no others; `load_state_dict` wants the output matrix
 *                 also where it is the embedding.
 *   transformers  names the embedding `backbone.embeddings.weight`, has as many tokens as the embedding has rows, and (5) tells whole
 *                 numbers from others by their point.
 */
import { check, type CheckpointForm } from "@lenggen/kernels";
import type { ParameterSet, Specs } from "@lenggen/kernels/nn";
import { type Mamba2Config, type Mamba2Layout, mamba2Json } from "./config";

/** The only parameter that the two call differently, and the one that mamba_ssm writes twice where it is tied. */
export const EMBEDDING = { own: "backbone.embedding.weight", transformers: "backbone.embeddings.weight" };
export const HEAD = "lm_head.weight";
/** What both programs draw -A from when they make a model, unless their configuration says otherwise. */
const A_RANGE = [1, 16];
const NORM_EPS = 1e-5;

/** The files of a model for one of the programs. `tokens`: special tokens of a configuration of transformers, which are kept. */
export function checkpointForm<S extends Specs>(
  c: Mamba2Config, parameters: ParameterSet<S>, layout: Mamba2Layout, tokens: Readonly<Record<string, unknown>> = {},
): CheckpointForm {
  const forTransformers = layout === "transformers";
  return {
    config: forTransformers ? pythonText(transformersJson(c, tokens)) : `${JSON.stringify(mambaSsmJson(c), null, 2)}\n`,
    ...parameters.files(layout, { copies: !forTransformers }),
  };
}

/** Throws `E_CONFIG` for settings that a program has no field for, or does something else with. */
export function checkLayout(c: Mamba2Config, layout: Mamba2Layout): void {
  check(layout === "mamba_ssm" || layout === "transformers", "E_ARGUMENT",
    () => `layout must be "mamba_ssm" or "transformers", not ${JSON.stringify(layout)}`);
  const other = layout === "transformers" ? "mamba_ssm" : "transformers";
  const [reason, otherReason] = [reasonAgainst(c, layout), reasonAgainst(c, other)];
  check(reason === undefined, "E_CONFIG", () =>
    `config: the model can't be saved for ${layout}: ${reason}; `
      + (otherReason === undefined ? `it can for ${other}` : `nor for ${other}: ${otherReason}`));
}

/** Why a program would not compute what this model does. */
function reasonAgainst(c: Mamba2Config, layout: Mamba2Layout): string | undefined {
  const expand = c.innerWidth / c.width;
  if (!Number.isInteger(expand)) return `its expand must be a whole number, and is ${expand}`;
  if (layout === "transformers") {
    return c.groups === 1 ? undefined : `it norms the gated output over its whole width, not in the ${c.groups} groups that this model has`;
  }
  if (c.normEps !== NORM_EPS) return `its norms have an epsilon of ${NORM_EPS}, and this model's ${c.normEps}`;
  if (hasLimit(c)) return `it takes no notice of the limits of dt, ${c.dtLimit.join(" to ")}, when it generates token by token`;
  return undefined;
}

const hasLimit = ({ dtLimit: [low, high] }: Mamba2Config): boolean => low > 0 || high !== Infinity;

/** The fields of mamba_ssm's `MambaConfig`, and of its `Mamba2` below `ssm_cfg`; others only for what it has none for. */
function mambaSsmJson(c: Mamba2Config): Readonly<Record<string, unknown>> {
  const { norm_epsilon: eps, ssm_cfg: { dt_limit: limit, ...ssm }, ...rest } = mamba2Json(c);
  return {
    ...rest,
    ssm_cfg: hasLimit(c) ? { ...ssm, dt_limit: limit } : ssm,
    attn_cfg: {},
    fused_add_norm: true,
    ...(eps === NORM_EPS ? {} : { norm_epsilon: eps }),
  };
}

/** Fields of transformers' `Mamba2Config`. It keeps those that it does not know (the last three), and so they come back to us. */
function transformersJson(c: Mamba2Config, tokens: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return {
    architectures: ["Mamba2ForCausalLM"],
    model_type: "mamba2",
    bos_token_id: null,
    eos_token_id: null,
    pad_token_id: null,
    ...tokens,
    vocab_size: c.paddedVocabulary,
    hidden_size: c.width,
    num_hidden_layers: c.layers,
    num_heads: c.heads,
    head_dim: c.headSize,
    state_size: c.stateSize,
    n_groups: c.groups,
    expand: c.innerWidth / c.width,
    conv_kernel: c.convolution,
    chunk_size: c.chunk,
    hidden_act: "silu",
    use_bias: false,
    use_conv_bias: true,
    residual_in_fp32: true,
    tie_word_embeddings: c.tieEmbeddings,
    layer_norm_epsilon: c.normEps,
    time_step_min: c.dtRange[0],
    time_step_max: c.dtRange[1],
    time_step_floor: c.dtFloor,
    // No limit is its default; versions 4 and 5 write infinity in different ways.
    ...(hasLimit(c) ? { time_step_limit: [...c.dtLimit] } : {}),
    ...(c.paddedVocabulary === c.vocabulary ? {} : { unpadded_vocab_size: c.vocabulary }),
    ...(c.padMultiple === 1 ? {} : { pad_vocab_size_multiple: c.padMultiple }),
    ...(c.aRange.every((a, i) => a === A_RANGE[i]) ? {} : { A_init_range: [...c.aRange] }),
  };
}

/** Fields whose whole numbers need a point: transformers 5 refuses an int where a float belongs. */
const FLOATS = new Set(["layer_norm_epsilon", "time_step_min", "time_step_max", "time_step_floor", "time_step_limit", "A_init_range"]);

/** JSON as transformers writes it. */
function pythonText(json: Readonly<Record<string, unknown>>): string {
  const lines = Object.entries(json)
    .map(([name, value]) => `  ${JSON.stringify(name)}: ${FLOATS.has(name) ? floatText(value as Floats) : JSON.stringify(value)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}

type Floats = number | readonly number[];

function floatText(value: Floats): string {
  if (typeof value !== "number") return `[${value.map(floatText).join(", ")}]`;
  if (value === Infinity) return '{"__float__": "Infinity"}';
  const text = String(value);
  return /^\d+$/.test(text) ? `${text}.0` : text;
}
