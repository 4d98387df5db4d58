/** Models from the command line: presets, configurations and checkpoints on disk. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  check, type Device, isJsonObject, type Json, type JsonObject, LenggenError, type LoadedModel, nearest, parseConfig, parseJsonBytes,
  type SequenceModel, type Weights, WEIGHTS_FILE, WEIGHTS_INDEX,
} from "@lenggen/kernels";
import { openFile, openWeightsIn } from "@lenggen/kernels/node";
import { MODELS } from "./families";
import { UsageError } from "./usage";

/** Most bytes of a config.json that is read; published ones have a few hundred. */
const LARGEST_CONFIG = 1 << 20;

/** What `--model` takes, for help; {@link MODEL_LIST} says which there are. */
export const MODEL_HELP = "the name of a preset or of a family, which means its first preset, or the path of a config.json";

/** All presets by family. */
const presetsBetween = (between: string): string =>
  Object.entries(MODELS.families).map(([family, { presets }]) => `${family}: ${Object.keys(presets).join(", ")}`).join(between);

/** All models by name, to stand below a command's help. */
export const MODEL_LIST = `\nModels, by family:\n  ${presetsBetween("\n  ")}`;

/** A model by the name of a preset or a family, or by the path of a `config.json`. */
export async function modelNamed(name: string): Promise<SequenceModel> {
  const preset = MODELS.named(name);
  if (preset) return preset;
  if (!name.endsWith(".json")) {
    throw new UsageError(
      `no model preset is named "${name}"${nearestModel(name)}; `
      + `there are ${presetsBetween("; ")}; or give the path of a config.json`,
      "E_UNKNOWN_NAME");
  }
  return ofFile(name, async () => MODELS.make(await readConfig(name)));
}

/** Mamba-2's presets go without its name, so that with it another family's would be the nearest. */
function nearestModel(name: string): string {
  const families = Object.entries(MODELS.families);
  const own = families.flatMap(([family, { presets }]) => Object.keys(presets).filter((preset) => name === `${family}-${preset}`));
  return nearest(own[0] ?? name, own.length > 0 ? own : [...MODELS.presets, ...families.map(([family]) => family)]);
}

/** The work on a configuration, whose errors then name its file. */
async function ofFile<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof LenggenError) || !/^config\b/.test(error.message)) throw error;
    throw new LenggenError(error.code, error.message.replace(/^config\b/, path), { cause: error });
  }
}

/** Weights as Python's pickles, which published models of older days have. */
const PICKLES = ["pytorch_model.bin", "pytorch_model.bin.index.json"];

/** A checkpoint's folder: the one given, that of the weights given, or the last one of the run directory given. */
export async function findCheckpoint(path: string): Promise<string> {
  if ([WEIGHTS_FILE, WEIGHTS_INDEX].includes(basename(path)) && (await exists(path))) return dirname(path);
  for (const name of [WEIGHTS_FILE, WEIGHTS_INDEX]) if (await exists(join(path, name))) return path;
  const checkpoints = join(path, "checkpoints");
  const found = ((await exists(checkpoints)) ? await readdir(checkpoints) : [])
    .map((name) => ({ name, step: Number(/^step-(\d+)$/.exec(name)?.[1] ?? Number.NaN) }))
    .filter(({ step }) => Number.isSafeInteger(step))
    .sort((a, b) => b.step - a.step);
  const steps = [];
  for (const each of found) if ((await readdir(join(checkpoints, each.name))).length > 0) steps.push(each); // as the trainer counts them
  check(await exists(path), "E_MISSING", () => `checkpoint ${path}: there is no such folder`);
  for (const name of steps.length === 0 ? PICKLES : []) {
    check(!(await exists(join(path, name))), "E_FORMAT", () =>
      `${path} has its weights in ${name}, which is not read, as such files can hold programs; write them to ${WEIGHTS_FILE} with the `
        + "Python package safetensors");
  }
  check(steps.length > 0, "E_MISSING", () =>
    `${path} holds no checkpoint: neither a ${WEIGHTS_FILE} (nor a ${WEIGHTS_INDEX}) nor a folder checkpoints/step-N (a run that has `
      + "not saved yet has none)");
  return join(checkpoints, steps[0]!.name);
}

/** What `--weights` may be, with its help: the type that a model's matrices are kept in. */
export const WEIGHTS = ["f32", "f16"] as const;
export const WEIGHTS_HELP = "how the model's matrices are kept: f32, or f16, which takes half the memory and rounds them to 11 bits";

/** Loads a checkpoint: config.json and its weights, in one file or several. With f16 its matrices are, and it can't be trained. */
export async function loadCheckpoint(folder: string, device: Device, dtype: (typeof WEIGHTS)[number] = "f32"): Promise<LoadedModel> {
  const path = join(folder, "config.json");
  const config = await readConfig(path);
  let weights: Weights | undefined;
  try {
    const opened = (weights = await openWeightsIn(folder));
    return await ofFile(path, () => MODELS.load(config, opened, device, dtype));
  } catch (error) {
    throw withPlace(error, folder);
  } finally {
    await weights?.close();
  }
}

/** The model of a checkpoint, without its weights. */
export async function modelOf(checkpoint: string): Promise<SequenceModel> {
  const path = join(checkpoint, "config.json");
  return ofFile(path, async () => MODELS.make(await readConfig(path), { unknownFields: "report" }));
}

/** What the run that a checkpoint belongs to recorded, also of one that is named by a link; undefined when nothing is known of one. */
export async function settingsOfRun(checkpoint: string): Promise<JsonObject | undefined> {
  const place = dirname(await realpath(checkpoint));
  const file = join(dirname(place), "run.json");
  if (basename(place) !== "checkpoints" || !(await exists(file))) return undefined;
  const run = await readJson(file);
  return isJsonObject(run) && isJsonObject(run["settings"]) ? run["settings"] : undefined;
}

/** Reads a model's `config.json`, as whichever program wrote it. Throws `E_MISSING`, `E_IO` or `E_FORMAT`. */
async function readConfig(path: string): Promise<unknown> {
  return parseConfig(await readSmall(path), path);
}

/** Reads a JSON file of moderate size. Throws `E_MISSING`, `E_IO` or `E_FORMAT`. */
export async function readJson(path: string): Promise<Json> {
  return parseJsonBytes(await readSmall(path), path);
}

async function readSmall(path: string): Promise<Uint8Array> {
  const source = await openFile(path);
  try {
    check(source.size <= LARGEST_CONFIG, "E_FORMAT", () =>
      `${path} has ${source.size} bytes, too many for a configuration (at most ${LARGEST_CONFIG})`);
    return await source.read(0, source.size);
  } finally {
    await source.close();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** Says which checkpoint an error is about. */
function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof LenggenError) || error.message.includes(place)) return error;
  return new LenggenError(error.code, `checkpoint ${place}: ${error.message}`, { cause: error });
}
