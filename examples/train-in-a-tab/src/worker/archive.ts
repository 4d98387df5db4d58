/** Projects as one file, and what people may bring: such a file, a run directory of the command line, or a checkpoint. */
import {
  check, dispose, isJsonObject, open, openSafetensors, parameterCount, parseConfig, parseJson, type SequenceModel,
} from "@lenggen/kernels";
import type { ChosenFile } from "../shared/messages";
import { FAMILIES } from "../shared/families";
import { textFiles } from "../shared/text";
import { readTar, type TarFile, writeTar } from "../shared/tar";
import type { Files } from "./files";
import { type LoadedWeights, parseProject, PROJECT_FILE } from "./project";
import { blobSource } from "./runFolder";

/** The archive unpacks into a folder of this name. */
const FOLDER = "train-in-a-tab";

/** All files of the project, packed, with a note that says how to go on from the command line. */
export async function pack(files: Files, note: string): Promise<Blob> {
  const packed = await snapshot(files);
  return writeTar([{ path: "README.txt", content: new Blob([note]) }, ...packed]
    .map(({ path, content }) => ({ path: `${FOLDER}/${path}`, content })), new Date());
}

/** Copies of all files at one moment. A checkpoint may be replaced meanwhile: then it begins again. */
async function snapshot(files: Files): Promise<TarFile[]> {
  for (let attempt = 1; ; attempt++) {
    const paths = (await files.all()).filter((path, _, all) => isWhole(path, all));
    try {
      return await Promise.all(paths.map(async (path) => {
        const found = await files.read(path);
        check(found, "E_MISSING", () => `${path} is gone`);
        return { path, content: new Blob([await found.arrayBuffer()]) };
      }));
    } catch (error) {
      if (attempt === 5) throw error;
    }
  }
}

/** False for the files of a checkpoint that is being written. Loaded weights have no trainer.json and are whole. */
function isWhole(path: string, all: readonly string[]): boolean {
  const checkpoint = /^(\d+)-[a-z-]+\/checkpoints\/step-\d+\//.exec(path);
  return checkpoint === null || checkpoint[1] === "0" || all.includes(`${checkpoint[0]}trainer.json`);
}

export type Found =
  | { readonly kind: "project"; readonly files: readonly TarFile[] }
  | { readonly kind: "weights"; readonly weights: LoadedWeights; readonly context: number | null };

/** Finds out what was chosen. Throws `E_FORMAT`, `E_CONFIG`, `E_WEIGHTS` or `E_MISSING` when it is nothing that can be used. */
export async function identify(chosen: readonly ChosenFile[]): Promise<Found> {
  const [first] = chosen;
  check(first, "E_MISSING", () => "the folder is empty");
  const single = chosen.length === 1 && !first.path.endsWith(".safetensors");
  const files = single ? await readTar(first.content, first.path) : chosen;
  const described = files.find(({ path }) => path === PROJECT_FILE || path.endsWith(`/${PROJECT_FILE}`));
  if (described) {
    const project = parseProject(await described.content.text());
    const prefix = described.path.slice(0, -PROJECT_FILE.length);
    const inside = files.filter(({ path }) => path.startsWith(prefix))
      .map(({ path, content }) => ({ path: path.slice(prefix.length), content }));
    for (const { path } of inside) check(path.split("/").every((name) => name !== "" && name !== "." && name !== ".."), "E_FORMAT",
      () => `the path ${path} can't be unpacked`);
    const { trainName, heldOutName } = textFiles(project.text);
    const bases = [...project.phases.flatMap(({ base }) => base ?? []), ...(project.loaded ? [project.loaded.checkpoint] : [])];
    for (const wanted of [trainName, heldOutName, ...bases.flatMap((base) => [`${base}/config.json`, `${base}/model.safetensors`])]) {
      check(inside.some(({ path }) => path === wanted), "E_MISSING", () => `the saved run lacks ${wanted}`);
    }
    return { kind: "project", files: inside.filter(({ path }) => path !== "README.txt") };
  }
  return loadWeights(files);
}

/** The last checkpoint of the one run among the files. */
async function loadWeights(files: readonly TarFile[]): Promise<Found> {
  const WEIGHTS = "model.safetensors";
  const folders = files.filter(({ path }) => path === WEIGHTS || path.endsWith(`/${WEIGHTS}`))
    .map(({ path }) => path.slice(0, -WEIGHTS.length));
  check(folders.length > 0, "E_MISSING",
    () => `there is no ${WEIGHTS} in it: choose a run directory, a checkpoint's folder, or an archive of one`);
  const runs = [...new Set(folders.map(runOf))];
  check(runs.length === 1, "E_ARGUMENT", () => `it holds ${runs.length} runs (${runs.slice(0, 4).join(", ")}); choose one of them`);
  const folder = folders.sort((a, b) => stepOf(a) - stepOf(b)).at(-1)!;
  const at = (path: string) => files.find((file) => file.path === path)?.content;
  const [config, weights] = [await at(`${folder}config.json`)?.text(), at(folder + WEIGHTS)!];
  check(config !== undefined, "E_MISSING", () => `config.json must lie beside ${folder}${WEIGHTS}`);
  const model = await vet(config, weights, folder);
  const run = await at(`${runs[0]}run.json`)?.text();
  const name = (folder.replace(/checkpoints\/step-\d+\/$/, "").replace(/\/$/, "").split("/").at(-1)) || "a checkpoint";
  const step = stepOf(folder);
  const about = `${name}${step > 0 ? `, step ${step.toLocaleString("en")}` : ""}: ${model.family}, `
    + `${parameterCount(model).toLocaleString("en")} numbers`;
  return { kind: "weights", weights: { config, weights, step, about }, context: run === undefined ? null : contextOf(run) };
}

/** Loads it once, on the reference device, so that what does not fit is refused before anything is replaced. */
async function vet(config: string, weights: Blob, folder: string): Promise<SequenceModel> {
  const device = await open("reference");
  try {
    const file = await openSafetensors(blobSource(weights, `${folder}model.safetensors`));
    const { model, parameters } = await FAMILIES.load(parseConfig(config, `${folder}config.json`), file, device);
    dispose(parameters);
    check(model.vocabulary === 256, "E_CONFIG",
      () => `the model has a vocabulary of ${model.vocabulary.toLocaleString("en")}; this page reads text as bytes, a vocabulary of 256`);
    return model;
  } finally {
    device.close();
  }
}

/** The folder of the run that a checkpoint's folder belongs to, both with a slash at their end. */
function runOf(folder: string): string {
  return folder.replace(/checkpoints\/step-\d+\/$/, "");
}

function stepOf(folder: string): number {
  return Number(/step-(\d+)\/$/.exec(folder)?.[1] ?? 0);
}

/** The training length that a run records. */
function contextOf(run: string): number | null {
  const parsed = parseJson(run, "run.json");
  const data = isJsonObject(parsed) && isJsonObject(parsed["settings"]) ? parsed["settings"]["data"] : undefined;
  const context = isJsonObject(data) ? data["context"] : undefined;
  return typeof context === "number" && Number.isSafeInteger(context) ? context : null;
}

/** Writes the files of a project in the place of what was there. */
export async function unpack(files: Files, project: readonly TarFile[]): Promise<void> {
  for (const { path, content } of project) if (path !== PROJECT_FILE) await files.write(path, content);
  await files.write(PROJECT_FILE, project.find(({ path }) => path === PROJECT_FILE)!.content);
}
