/** Models as GGUF, the file of llama.cpp. Import as `@lenggen/recurrent/gguf`. */
import { check, type SequenceModel } from "@lenggen/kernels";
import { encodeGguf, type GgufFile, type GgufVocabulary, type ParameterNumbers } from "@lenggen/kernels/gguf";
import { parseMambaConfig } from "../mamba/config";
import { mambaGguf } from "../mamba/gguf";
import { parseMamba2Config } from "../mamba2/config";
import { mamba2Gguf } from "../mamba2/gguf";
import { parseRwkv6Config } from "../rwkv6/config";
import { rwkv6Gguf } from "../rwkv6/gguf";
import { parseRwkv7Config } from "../rwkv7/config";
import { rwkv7Gguf } from "../rwkv7/gguf";
import { type GgufForm, ggufTensors } from "./form";

/** The families that llama.cpp has, each from its configuration. A new one is a line here. */
const FORMS: Readonly<Record<string, (config: unknown) => GgufForm>> = {
  mamba: (config) => mambaGguf(parseMambaConfig(config)),
  mamba2: (config) => mamba2Gguf(parseMamba2Config(config)),
  rwkv6: (config) => rwkv6Gguf(parseRwkv6Config(config)),
  rwkv7: (config) => rwkv7Gguf(parseRwkv7Config(config)),
};

/** The families that can be written. */
export const GGUF_FAMILIES: readonly string[] = Object.keys(FORMS);

/** How a model is written. */
export interface GgufOptions {
  /** The type of the matrices, f32 unless given. What llama.cpp wants in f32 (norms, decays, convolutions, low-rank matrices) stays that. */
  readonly dtype?: "f32" | "f16";
  /** What programs show as the model's name. */
  readonly name?: string;
}

/** llama.cpp's numbers for types of files. */
const FILE_TYPES = { f32: 0, f16: 1 } as const;

/**
 * A model as a GGUF file, streamed. `numbers` are those of its parameters ({@link numbersOf}, {@link numbersIn}). Tokens of
 * the model that the vocabulary has not are marked as unused, and rows of the model that are no tokens are left out. Throws `E_CONFIG` for
 * a family that llama.cpp has not, a setting of which it would compute something else, and a vocabulary that does not fit; in the stream
 * `E_WEIGHTS` for NaN and infinity.
 */
export function encodeModelGguf(
  model: SequenceModel, numbers: ParameterNumbers, vocabulary: GgufVocabulary, { dtype = "f32", name }: GgufOptions = {},
): GgufFile {
  const form = formOf(model);
  check(vocabulary.size <= model.vocabulary, "E_CONFIG", () =>
    `gguf: the tokenizer has ${vocabulary.size} tokens, the model only ${model.vocabulary}: it is not the tokenizer of this model`);
  const metadata = {
    ...form.metadata,
    ...(name !== undefined && { "general.name": ["string", name] as const }),
    "general.file_type": ["u32", FILE_TYPES[dtype]] as const,
    ...vocabulary.metadata(model.vocabulary),
  };
  return encodeGguf(metadata, ggufTensors(model, form, numbers, dtype));
}

/** Throws `E_CONFIG` for a model that llama.cpp has not, as {@link encodeModelGguf} does, which needs its tokenizer first. */
export function checkGguf(model: SequenceModel): void {
  formOf(model);
}

function formOf({ family, config }: SequenceModel): GgufForm {
  check(Object.hasOwn(FORMS, family), "E_CONFIG", () =>
    `gguf: llama.cpp has no ${family} models; those that can be written are ${GGUF_FAMILIES.join(", ")}`);
  return FORMS[family]!(config);
}
