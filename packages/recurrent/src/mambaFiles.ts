/**
 * What Mamba-1 and Mamba-2 share: layers of one mixer each behind norms, and checkpoints for three programs, mamba_ssm (2.2 and later),
 * transformers (4 and 5) and flash-linear-attention, which want different fields in `config.json` and different names in the file of
 * weights. Which one a checkpoint is for, its `config.json` tells by its fields.
 *
 *   mamba_ssm     `MambaConfig(**json)` takes the fields of its dataclass and no others; `load_state_dict` wants the output matrix
 *                 also where it is the embedding.
 *   transformers  names the embedding `backbone.embeddings.weight`, has as many tokens as the embedding has rows, and (5) tells whole
 *                 numbers from others by their point.
 *   fla           names and sizes as transformers, fields of its own for the rest; output and embedding are two matrices unless told.
 */
import { check, type CheckpointForm, type Parameters, saveModel, type SequenceModel } from "@lenggen/kernels";
import {
  type Block, decoder, matrix, normalInit, parameter, type ParameterSet, prefixed, rmsNormBlock, type Specs, type StateParts,
} from "@lenggen/kernels/nn";
import { checkLayout, keptFields, type LayoutOption, pythonText, withKept } from "./layouts";

/**
 * The programs whose forms of `config.json` there are: https://github.com/state-spaces/mamba, Hugging Face's transformers, and
 * https://github.com/fla-org/flash-linear-attention.
 */
export type MambaLayout = (typeof MAMBA_LAYOUTS)[number];
export const MAMBA_LAYOUTS = ["mamba_ssm", "transformers", "fla"] as const;

/** How a model is saved. */
export type MambaLayouts = LayoutOption<MambaLayout>;

/** The only parameter that they call differently, and the one that mamba_ssm writes twice where it is tied. */
export const EMBEDDING = {
  own: "backbone.embedding.weight", transformers: "backbone.embeddings.weight", fla: "backbone.embeddings.weight",
} as const;
export const HEAD = "lm_head.weight";

/** The epsilon of mamba_ssm's norms, which has no field there. */
export const NORM_EPS = 1e-5;

/**
 * Which of the published forms a configuration is in: that of mamba_ssm has a `d_model`, and no `model_type` of its own; that of
 * flash-linear-attention calls the epsilon of norms `norm_eps`.
 */
export function layoutOf(json: unknown): MambaLayout {
  if (json === null || typeof json !== "object") return "mamba_ssm";
  if (!("hidden_size" in json || ("model_type" in json && !("d_model" in json)))) return "mamba_ssm";
  return "norm_eps" in json || "fuse_norm" in json ? "fla" : "transformers";
}

/** The next multiple of a number. */
export const padded = (size: number, multiple: number): number => Math.ceil(size / multiple) * multiple;

/**
 * Rows of the embedding, and tokens among them, from the fields of a configuration of transformers, which has no padding of its own. Throws
 * `E_CONFIG`.
 */
export function transformersVocabulary(json: {
  readonly vocab_size: number; readonly unpadded_vocab_size: number | null; readonly pad_vocab_size_multiple: number;
}): { vocabulary: number; padMultiple: number } {
  const vocabulary = json.unpadded_vocab_size ?? json.vocab_size;
  const padMultiple = json.vocab_size % json.pad_vocab_size_multiple === 0 ? json.pad_vocab_size_multiple : 1;
  check(json.vocab_size === padded(vocabulary, padMultiple), "E_CONFIG", () =>
    `config: unpadded_vocab_size ${vocabulary} and pad_vocab_size_multiple ${json.pad_vocab_size_multiple} do not make a vocab_size of `
      + `${json.vocab_size}`);
  return { vocabulary, padMultiple };
}

/** What a decoder of such layers is made of. */
export interface MambaSizes {
  readonly width: number;
  readonly layers: number;
  readonly vocabulary: number;
  readonly paddedVocabulary: number;
  readonly normEps: number;
  readonly tieEmbeddings: boolean;
}

/** A model of such layers without what makes it a checkpoint of one program or another. */
export function mambaDecoder<P extends Specs, S extends StateParts>(c: MambaSizes, mixer: Block<P, S>) {
  const rows = [c.paddedVocabulary, c.width] as const;
  const tied = { init: normalInit(0.02), decay: true, half: true, copies: c.tieEmbeddings ? [HEAD] : [] };
  const layer = { mixer: { block: prefixed("mixer", mixer), norm: rmsNormBlock("norm", c.width, c.normEps) } };
  return decoder({
    embedding: parameter(EMBEDDING, rows, tied),
    layers: Array.from({ length: c.layers }, () => layer),
    layerNames: "backbone.layers",
    norm: rmsNormBlock("backbone.norm_f", c.width, c.normEps),
    head: c.tieEmbeddings ? null : matrix(HEAD, rows, normalInit(0.02)),
    vocabulary: c.vocabulary,
    stateName: "layers",
  });
}

/** What the programs read, as a family writes it. */
export interface MambaForms {
  /** The fields of mamba_ssm's `MambaConfig`. */
  readonly mambaSsm: Readonly<Record<string, unknown>>;
  /** The fields of transformers' configuration, beside special tokens and those of {@link transformersPadding}. */
  readonly transformers: Readonly<Record<string, unknown>>;
  /** The fields of flash-linear-attention's, likewise. */
  readonly fla: Readonly<Record<string, unknown>>;
  /** Those among both whose whole numbers need a point: transformers 5 refuses an int where a float belongs. */
  readonly floats: readonly string[];
}

/** The files of a model for one of the programs. `json`: a configuration in its form, whose special tokens and the like are kept. */
export function checkpointForm<S extends Specs>(
  forms: MambaForms, parameters: ParameterSet<S>, layout: MambaLayout, json?: unknown,
): CheckpointForm {
  const files = parameters.files(layout, { copies: layout === "mamba_ssm" });
  if (layout === "mamba_ssm") return { config: `${JSON.stringify(forms.mambaSsm, null, 2)}\n`, ...files };
  if (layout === "fla") return { config: pythonText(withKept(forms.fla, keptFields(json)), forms.floats), ...files };
  const tokens = { bos_token_id: null, eos_token_id: null, pad_token_id: null, ...specialTokens(json) };
  return { config: pythonText({ ...tokens, ...forms.transformers }, forms.floats), ...files };
}

/** What transformers has no fields for, keeps in its configuration, and gives back to us. */
export function transformersPadding(c: { vocabulary: number; paddedVocabulary: number; padMultiple: number }): Record<string, number> {
  return {
    ...(c.paddedVocabulary === c.vocabulary ? {} : { unpadded_vocab_size: c.vocabulary }),
    ...(c.padMultiple === 1 ? {} : { pad_vocab_size_multiple: c.padMultiple }),
  };
}

/** Special tokens, which transformers has in `config.json` and which nothing here depends on. */
function specialTokens(json: unknown): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(json ?? {}).filter(([name]) => /^(?:bos|eos|pad)_token_id$/.test(name)));
}

/**
 * The two files of a checkpoint, as text and as streamed bytes: for the program that the model is for, or the one given, of which
 * `reasonAgainst` says why it would compute something else (then throws `E_CONFIG`), and `form` what it reads.
 */
export function saveFor(
  model: SequenceModel & { readonly layout: MambaLayout }, parameters: Parameters, layout: MambaLayout | undefined,
  program: { reasonAgainst(layout: MambaLayout): string | undefined; form(layout: MambaLayout): CheckpointForm },
): { config: string; weights: AsyncIterable<Uint8Array> } {
  if (layout === undefined) return saveModel(model, parameters);
  checkLayout(layout, MAMBA_LAYOUTS, program.reasonAgainst);
  return saveModel(layout === model.layout ? model : { ...model, checkpoint: program.form(layout) }, parameters);
}
