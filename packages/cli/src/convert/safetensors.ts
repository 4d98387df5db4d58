/** Checkpoints as safetensors: one file, or a folder with it, `config.json` and the tokenizer. */
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { type FloatFileDType, LenggenError, rewriteSafetensors, WEIGHTS_FILE } from "@lenggen/kernels";
import { besideName, fileError, syncFolder, writeWhole } from "@lenggen/kernels/node";
import { MODELS } from "../families";
import { alone } from "./alone";
import type { Conversion, Target, Written } from "./target";

const CONFIG_FILE = "config.json";
/** What belongs to a checkpoint beside its weights, and is copied as it is. */
const BESIDE = new Set([CONFIG_FILE, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
  "added_tokens.json", "vocab.json", "merges.txt"]);
/** Vocabularies of RWKV World. */
const WORLD = /^rwkv_vocab_.*\.txt$/;
/** Files that hold a tokenizer; others only say more of it. */
const isTokenizer = (name: string): boolean => name === "tokenizer.json" || WORLD.test(name);
/** Weights in any form, whole or in parts, and what lists the parts. */
const WEIGHTS = /^(?:model|pytorch_model)(?:-\d+-of-\d+)?\.(?:safetensors|bin)(?:\.index\.json)?$/;

const TYPES = { f32: "F32", f16: "F16", bf16: "BF16" } as const satisfies Readonly<Record<string, FloatFileDType>>;
const dtypes = Object.keys(TYPES);

/** One file of weights. */
export const safetensorsFile: Target = {
  extension: ".safetensors",
  meaning: "one file of safetensors, with the weights alone",
  dtypes,
  write: (conversion) => alone(conversion.to, conversion, () => writeWeights(conversion, conversion.to)),
};

/**
 * A folder that any program takes as a checkpoint. It appears whole; in one that is there already, each file does, and what belonged to
 * the checkpoint before is taken away: a program would take it for a part of this one.
 */
export const safetensorsFolder: Target = {
  extension: "",
  takesTokenizer: true,
  meaning: `a folder with ${WEIGHTS_FILE}, config.json and the tokenizer, if there is one`,
  dtypes,
  async write(conversion) {
    const { to } = conversion;
    if (await isFilled(to)) return alone(join(to, WEIGHTS_FILE), conversion, () => writeInto(conversion, to));
    return alone(to, conversion, () => writeNew(conversion));
  },
};

async function writeNew(conversion: Conversion): Promise<Written> {
  const to = resolve(conversion.to);
  const beside = besideName(to);
  try {
    await mkdir(beside);
    const written = await writeInto(conversion, beside);
    await rmdir(to).catch(() => {}); // an empty one
    await rename(beside, to);
    await syncFolder(dirname(to));
    return { ...written, files: written.files.map((file) => join(conversion.to, basename(file))) };
  } catch (error) {
    await rm(beside, { recursive: true, force: true });
    throw fileError("written", conversion.to, error);
  }
}

/** Writes weights and what belongs to them, each file whole or not at all. */
async function writeInto(conversion: Conversion, folder: string): Promise<Written> {
  const { checkpoint, config, configText, tokenizer } = conversion;
  const written = await writeWeights(conversion, join(folder, WEIGHTS_FILE));
  const files = [...written.files];
  const write = async (name: string, chunks: Parameters<typeof writeWhole>[1]): Promise<void> => {
    await writeWhole(join(folder, name), chunks);
    files.push(join(folder, name));
  };
  const made = configText ?? (config === undefined ? configFromShapes(conversion) : undefined);
  if (made !== undefined) await write(CONFIG_FILE, [new TextEncoder().encode(made)]);
  for (const [name, bytes] of Object.entries(tokenizer?.files ?? {})) await write(name, [bytes]);
  const from = resolve((await stat(checkpoint)).isDirectory() ? checkpoint : dirname(checkpoint));
  if (from === resolve(folder)) return { ...written, files };
  const there = (await readdir(from)).filter((name) => BESIDE.has(name) || WORLD.test(name)).sort()
    .filter((name) => (name !== CONFIG_FILE || made === undefined) && !(tokenizer && isTokenizer(name)))
    .filter((name) => !files.includes(join(folder, name)));
  for (const name of there) await write(name, createReadStream(join(from, name)));
  await removeOthers(folder, files);
  return { ...written, files };
}

/** Takes away what belonged to another checkpoint in the same folder. */
async function removeOthers(folder: string, files: readonly string[]): Promise<void> {
  for (const name of await readdir(folder)) {
    const belongs = BESIDE.has(name) || WORLD.test(name) || WEIGHTS.test(name);
    if (belongs && !files.includes(join(folder, name))) await rm(join(folder, name));
  }
}

/** The configuration of a checkpoint that has none, as its shapes tell it; undefined where they are of no family that is known. */
function configFromShapes({ checkpoint, weights, note }: Conversion): string | undefined {
  try {
    const { config, assumed } = MODELS.fromShapes(weights.tensors);
    note(`${checkpoint} has no ${CONFIG_FILE}; the one that is written follows from the shapes of its tensors`
      + (assumed.length === 0 ? "" : `, and takes the model to have ${assumed.join(", ")}`));
    return `${JSON.stringify(config, null, 2)}\n`;
  } catch (error) {
    if (!(error instanceof LenggenError)) throw error;
    note(`${checkpoint} has no ${CONFIG_FILE}, and none is written: ${error.message}`);
    return undefined;
  }
}

async function writeWeights({ checkpoint, weights, dtype, counted, note }: Conversion, path: string): Promise<Written> {
  const odd: string[] = [];
  const { size, tensors, chunks } = rewriteSafetensors(weights, {
    ...(dtype !== undefined && { dtype: TYPES[dtype as keyof typeof TYPES] }), onNotFinite: (name) => odd.push(name),
  });
  await writeWhole(path, counted(chunks, size));
  if (odd.length > 0) {
    note(`${checkpoint}: ${odd.length} of its ${tensors.length} tensors hold NaN or infinite numbers, which are kept: `
      + `${odd.slice(0, 3).join(", ")}${odd.length > 3 ? ", ..." : ""}`);
  }
  const types: Record<string, number> = {};
  for (const { type } of tensors) types[type] = (types[type] ?? 0) + 1;
  return { files: [path], bytes: size, types };
}

/** Whether there is a folder with anything in it. */
function isFilled(path: string): Promise<boolean> {
  return readdir(path).then((names) => names.length > 0, () => false);
}
