/** Checkpoints on disk: where they are, what they hold, and what the run that they belong to recorded. */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import {
  check, type Device, isJsonObject, type JsonObject, LenggenError, type LoadedModel, type SequenceModel, type Weights, WEIGHTS_FILE,
  WEIGHTS_INDEX,
} from "@lenggen/kernels";
import { openWeightsIn } from "@lenggen/kernels/node";
import { MODELS } from "./families";
import { ofFile, readConfig, readJson } from "./jsonFiles";

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

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}

/** Says which checkpoint an error is about. */
function withPlace(error: unknown, place: string): unknown {
  if (!(error instanceof LenggenError) || error.message.includes(place)) return error;
  return new LenggenError(error.code, `checkpoint ${place}: ${error.message}`, { cause: error });
}
