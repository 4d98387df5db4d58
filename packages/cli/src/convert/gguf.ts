/** Checkpoints as GGUF, the file of llama.cpp, tokenizer included. */
import { stat } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { findTokenizer, readTokenizer, type TokenizerFiles } from "@lenggen/data/node";
import { LenggenError, open, parseJsonBytes, type SequenceModel } from "@lenggen/kernels";
import { bpeVocabulary, bytesVocabulary, byteVocabulary, type GgufVocabulary, numbersIn } from "@lenggen/kernels/gguf";
import { writeWhole } from "@lenggen/kernels/node";
import { checkGguf, encodeModelGguf, GGUF_FAMILIES } from "@lenggen/recurrent/gguf";
import { inCheckpoint } from "../checkpoints";
import { MODELS } from "../families";
import { readConfig } from "../jsonFiles";
import { alone } from "./alone";
import type { Conversion, Target } from "./target";

const EXTENSION = ".gguf";
const BYTES = 256;

/** One file with all that llama.cpp needs. */
export const ggufFile: Target = {
  extension: EXTENSION,
  meaning: `the file of llama.cpp, for ${GGUF_FAMILIES.join(", ")}, with the tokenizer`,
  dtypes: ["f32", "f16"],
  takesTokenizer: true,
  ownLayout: true,
  async write(conversion) {
    const { checkpoint, config, weights, to, dtype, counted, note } = conversion;
    const json = config === undefined ? undefined : await readConfig(config);
    // For what a layout has in another form.
    const device = await open("reference");
    try {
      const { size, tensors, chunks, notes } = await inCheckpoint(checkpoint, config, async () => {
        const { model, weights: file } = MODELS.inFile(json, weights);
        checkGguf(model);
        const vocabulary = await vocabularyFor(model, conversion);
        return { notes: vocabulary.notes, ...encodeModelGguf(model, numbersIn(model, file, device), vocabulary, {
          dtype: dtype as "f32" | "f16" | undefined, name: basename(to).slice(0, -EXTENSION.length),
        }) };
      });
      await alone(to, conversion, () => writeWhole(to, counted(chunks, size)));
      for (const line of notes ?? []) note(`${to}: ${line}`);
      const types: Record<string, number> = {};
      for (const { dtype: type } of tensors) types[type] = (types[type] ?? 0) + 1;
      return { files: [to], bytes: size, types };
    } finally {
      device.close();
    }
  },
};

/** The tokenizer that was named, or that lies beside the weights; bytes for a model that has as many tokens. */
async function vocabularyFor(model: SequenceModel, { checkpoint, tokenizer }: Conversion): Promise<GgufVocabulary> {
  if (tokenizer) return vocabularyOf(tokenizer, tokenizer.tokenizer.name);
  const folder = (await stat(checkpoint)).isDirectory() ? checkpoint : dirname(checkpoint);
  const path = await findTokenizer(folder);
  if (path !== undefined) return vocabularyOf(await readTokenizer(path), path);
  if (model.vocabulary === BYTES) return byteVocabulary();
  throw new LenggenError("E_MISSING", `${folder} holds no tokenizer, and the model has ${model.vocabulary} tokens, which are no bytes; `
    + "put its tokenizer.json or its vocabulary of RWKV World there, or name it by --tokenizer");
}

function vocabularyOf({ tokenizer, files }: TokenizerFiles, path: string): GgufVocabulary {
  const { kind, vocabulary, special, bytesOf } = tokenizer;
  if (kind === "json") return bpeVocabulary(parseJsonBytes(Object.values(files)[0]!, path), path, special);
  return kind === "bytes" ? byteVocabulary() : bytesVocabulary(Array.from({ length: vocabulary }, (_, id) => bytesOf(id)), special);
}
