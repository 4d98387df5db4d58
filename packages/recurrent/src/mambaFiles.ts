/**
 * What Mamba-1 and Mamba-2 share: layers of one mixer each behind norms, and checkpoints for two programs, mamba_ssm (2.2 and later) and
 * transformers (4 and 5), which want different fields in `config.json` and different names in the file of weights. Which one a checkpoint
 * is for, its `config.json` tells by its fields.
 *
 *   mamba_ssm     `MambaConfig(**json)` takes the fields of its dataclass and no others; `load_state_dict` wants the output matrix
 *                 also where it is the embedding.
 *   transformers  names the embedding `backbone.embeddings.weight`, has as many tokens as the embedding has rows, and (5) tells whole
 *                 numbers from others by their point.
 */
import { check, type CheckpointForm, type Parameters, saveModel, type SequenceModel } from "@lenggen/kernels";
import {
  type Block, decoder, matrix, normalInit, parameter, type ParameterSet, prefixed, rmsNormBlock, type Specs, type StateParts,
} from "@lenggen/kernels/nn";

/** The programs whose forms of `config.json` there are: https://github.com/state-spaces/mamba, and Hugging Face's transformers. */
export type MambaLayout = "mamba_ssm" | "transformers";

/** How a model is saved. */
export interface MambaLayouts {
  /**
   * The program whose checkpoints the model is saved as: `mamba_ssm` or `transformers`; unless given, that of the configuration's form.
   * With one given, settings that this program has no field for are refused (`E_CONFIG`); without, they are written for lenggen to read.
   */
  readonly layout?: MambaLayout;
}

/** The only parameter that the two call differently, and the one that mamba_ssm writes twice where it is tied. */
const EMBEDDING = { own: "backbone.embedding.weight", transformers: "backbone.embeddings.weight" };
const HEAD = "lm_head.weight";

/** The epsilon of mamba_ssm's norms, which has no field there. */
export const NORM_EPS = 1e-5;

/** Which of the two published forms a configuration is in: that of mamba_ssm has a `d_model`, and no `model_type` of its own. */
export function layoutOf(json: unknown): MambaLayout {
  if (json === null || typeof json !== "object") return "mamba_ssm";
  return "hidden_size" in json || ("model_type" in json && !("d_model" in json)) ? "transformers" : "mamba_ssm";
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

/** What the two programs read, as a family writes it. */
export interface MambaForms {
  /** The fields of mamba_ssm's `MambaConfig`. */
  readonly mambaSsm: Readonly<Record<string, unknown>>;
  /** The fields of transformers' configuration, beside special tokens and those of {@link transformersPadding}. */
  readonly transformers: Readonly<Record<string, unknown>>;
  /** Those among them whose whole numbers need a point: transformers 5 refuses an int where a float belongs. */
  readonly floats: readonly string[];
}

/** The files of a model for one of the programs. `tokens`: special tokens of a configuration of transformers, which are kept. */
export function checkpointForm<S extends Specs>(
  forms: MambaForms, parameters: ParameterSet<S>, layout: MambaLayout, tokens: Readonly<Record<string, unknown>> = {},
): CheckpointForm {
  const forTransformers = layout === "transformers";
  const noTokens = { bos_token_id: null, eos_token_id: null, pad_token_id: null };
  return {
    config: forTransformers ? pythonText({ ...noTokens, ...tokens, ...forms.transformers }, forms.floats)
      : `${JSON.stringify(forms.mambaSsm, null, 2)}\n`,
    ...parameters.files(layout, { copies: !forTransformers }),
  };
}

/** What transformers has no fields for, keeps in its configuration, and gives back to us. */
export function transformersPadding(c: { vocabulary: number; paddedVocabulary: number; padMultiple: number }): Record<string, number> {
  return {
    ...(c.paddedVocabulary === c.vocabulary ? {} : { unpadded_vocab_size: c.vocabulary }),
    ...(c.padMultiple === 1 ? {} : { pad_vocab_size_multiple: c.padMultiple }),
  };
}

/** Special tokens, which transformers has in `config.json` and which nothing here depends on. */
export function specialTokens(json: object): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(json).filter(([name]) => /^(?:bos|eos|pad)_token_id$/.test(name)));
}

/** Throws `E_CONFIG` for a model of which a program would compute something else: `reasonAgainst` a layout says why. */
export function checkLayout(layout: MambaLayout, reasonAgainst: (layout: MambaLayout) => string | undefined): void {
  check(layout === "mamba_ssm" || layout === "transformers", "E_ARGUMENT",
    () => `layout must be "mamba_ssm" or "transformers", not ${JSON.stringify(layout)}`);
  const other = layout === "transformers" ? "mamba_ssm" : "transformers";
  const [reason, otherReason] = [reasonAgainst(layout), reasonAgainst(other)];
  check(reason === undefined, "E_CONFIG", () =>
    `config: the model can't be saved for ${layout}: ${reason}; `
      + (otherReason === undefined ? `it can for ${other}` : `nor for ${other}: ${otherReason}`));
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
  checkLayout(layout, program.reasonAgainst);
  return saveModel(layout === model.layout ? model : { ...model, checkpoint: program.form(layout) }, parameters);
}

/** JSON as transformers writes it. */
function pythonText(json: Readonly<Record<string, unknown>>, floats: readonly string[]): string {
  const lines = Object.entries(json).map(([name, value]) =>
    `  ${JSON.stringify(name)}: ${floats.includes(name) ? floatText(value as Floats) : JSON.stringify(value)}`);
  return `{\n${lines.join(",\n")}\n}\n`;
}

type Floats = number | readonly number[];

function floatText(value: Floats): string {
  if (typeof value !== "number") return `[${value.map(floatText).join(", ")}]`;
  if (value === Infinity) return '{"__float__": "Infinity"}';
  const text = String(value);
  return /^\d+$/.test(text) ? `${text}.0` : text;
}
