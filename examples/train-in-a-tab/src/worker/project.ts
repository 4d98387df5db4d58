/**
 * A project: a text, settings, and the phases of training so far, each a run directory of its own. It lives in
 * {@link Files} and goes into one archive as it stands:
 *
 *   tab.json   <text>.train.txt   <text>.held-out.txt   1-zero/   2-state-passing/   ...   0-loaded/ (weights that were loaded)
 */
import type { Json, RunStore } from "@lenggen/interventions";
import { check, type Device, isJsonObject, openSafetensors, type Parameters, parseConfig, parseJson } from "@lenggen/kernels";
import type { SavedPhase } from "../shared/commands";
import type { PhaseRecord, PhaseView, ProjectView } from "../shared/messages";
import { FAMILIES } from "../shared/families";
import { type Method, phaseOptions, type Plan, problemsOf } from "../shared/plan";
import { lighter } from "../shared/records";
import { type SplitText, textFiles } from "../shared/text";
import type { Phase } from "../shared/training";
import type { Files } from "./files";
import { blobSource, runFolder, wholeCheckpoints } from "./runFolder";

export const PROJECT_FILE = "tab.json";
const LOADED = "0-loaded";
/** A measurement of loaded weights before they were trained on. */
const LOADED_RECORD = `${LOADED}/loss-by-position.json`;

interface PhaseEntry extends Phase {
  readonly folder: string;
}

/** `tab.json`. */
interface ProjectFile {
  readonly format: 1;
  /** Name of the text. */
  readonly text: string;
  readonly plan: Plan;
  readonly phases: readonly PhaseEntry[];
  /** Weights that the first phase starts from: the folder of a checkpoint, and where it came from in words. */
  readonly loaded?: { readonly checkpoint: string; readonly about: string };
}

/** Weights on their own, and where they come from. */
export interface LoadedWeights {
  readonly config: string;
  readonly weights: Blob;
  readonly step: number;
  readonly about: string;
}

export class Project {
  readonly #files: Files;
  readonly text: SplitText;
  #file: ProjectFile;

  private constructor(files: Files, file: ProjectFile, text: SplitText) {
    this.#files = files;
    this.#file = file;
    this.text = text;
  }

  get plan(): Plan {
    return this.#file.plan;
  }

  /** The project in the storage, if there is one. Throws `E_FORMAT` when it is damaged. */
  static async open(files: Files): Promise<Project | undefined> {
    const described = await files.read(PROJECT_FILE);
    if (described === undefined) return undefined;
    const file = parseProject(await described.text());
    const { trainName, heldOutName } = textFiles(file.text);
    const [train, heldOut] = await Promise.all([trainName, heldOutName].map(async (name) => {
      const found = await files.read(name);
      check(found, "E_MISSING", () => `the run lacks its text ${name}`);
      return new Uint8Array(await found.arrayBuffer());
    }));
    return new Project(files, file, { name: file.text, trainName, heldOutName, train: train!, heldOut: heldOut! });
  }

  /** A new project in the place of what was there. */
  static async create(files: Files, text: SplitText, plan: Plan, loaded?: LoadedWeights): Promise<Project> {
    await Project.discard(files);
    const checkpoint = loaded && `${LOADED}/checkpoints/step-${loaded.step}`;
    if (loaded) {
      await files.write(`${checkpoint}/config.json`, new Blob([loaded.config]));
      await files.write(`${checkpoint}/model.safetensors`, loaded.weights);
    }
    await files.write(text.trainName, new Blob([text.train as Uint8Array<ArrayBuffer>]));
    await files.write(text.heldOutName, new Blob([text.heldOut as Uint8Array<ArrayBuffer>]));
    const project = new Project(files,
      { format: 1, text: text.name, plan, phases: [], ...(loaded && { loaded: { checkpoint: checkpoint!, about: loaded.about } }) }, text);
    await project.#write();
    return project;
  }

  static async discard(files: Files): Promise<void> {
    await files.remove(PROJECT_FILE); // first, so that a half-deleted project is none
    for (const name of new Set((await files.all()).map((path) => path.split("/")[0]!))) await files.remove(name);
  }

  /** The phase to run next: the last one where it is unfinished and of this method, else a new one from its weights. */
  async nextPhase(method: Method): Promise<PhaseEntry> {
    const phases = [...this.#file.phases];
    let last = phases.at(-1);
    let reached = last && (await this.#lastStep(last));
    if (last && reached === undefined && last.method !== method) {
      // It never came to its first checkpoint, so there is nothing to start from.
      await this.#files.remove(last.folder);
      phases.pop();
      last = phases.at(-1);
      reached = last && (await this.#lastStep(last));
    }
    if (last && last.method === method && (reached ?? 0) < this.#stepsOf(last)) return last;
    const base = last ? `${last.folder}/checkpoints/step-${reached}` : this.#file.loaded?.checkpoint;
    const next: PhaseEntry = { folder: `${phases.length + 1}-${method}`, method, first: base === undefined,
      ...(base === undefined ? {} : { base }) };
    this.#file = { ...this.#file, phases: [...phases, next] };
    await this.#write();
    return next;
  }

  store(phase: PhaseEntry): RunStore {
    return runFolder(this.#files, phase.folder);
  }

  /** Loads the weights that a phase starts from; undefined where it starts from fresh ones. */
  weightsOf({ base }: PhaseEntry): ((device: Device) => Promise<Parameters>) | undefined {
    if (base === undefined) return undefined;
    return async (device) => {
      const path = `${base}/model.safetensors`;
      const weights = await this.#files.read(path);
      check(weights, "E_MISSING", () => `the run lacks ${path}, which this phase starts from`);
      return (await FAMILIES.load(await this.#configOf(base), await openSafetensors(blobSource(weights, path)), device)).parameters;
    };
  }

  /** Configuration of the model that a phase goes on from; undefined for a fresh one, which is the plan's. */
  async configOf({ base }: PhaseEntry): Promise<unknown> {
    return base === undefined ? undefined : this.#configOf(base);
  }

  /** Whether the next measurement is the first of weights that were loaded. */
  async wantsFirstMeasurement(): Promise<boolean> {
    return this.#file.loaded !== undefined && (await this.#files.read(LOADED_RECORD)) === undefined;
  }

  async keepFirstMeasurement(record: PhaseRecord): Promise<void> {
    await this.#files.write(LOADED_RECORD, new Blob([`${JSON.stringify(record)}\n`]));
  }

  /** All that the page shows, read from the run directories. */
  async view(): Promise<ProjectView> {
    const { plan, phases, loaded, text } = this.#file;
    const views = await Promise.all(phases.map((phase) => this.viewOf(phase)));
    const first = loaded && (await this.#files.read(LOADED_RECORD));
    if (loaded) {
      views.unshift({ folder: LOADED, method: "zero", steps: 0, saved: 0,
        records: first ? [JSON.parse(await first.text()) as PhaseRecord] : [] });
    }
    return { textName: text, textBytes: this.text.train.length + this.text.heldOut.length, plan, phases: views,
      loaded: loaded?.about ?? null };
  }

  async viewOf(phase: PhaseEntry): Promise<PhaseView> {
    const metrics = await this.store(phase).readText("metrics.jsonl");
    return {
      folder: phase.folder, method: phase.method, steps: this.#stepsOf(phase),
      saved: (await this.#lastStep(phase)) ?? null,
      records: lighter((metrics ?? "").split("\n").flatMap(recordOf)),
    };
  }

  /** The phases that have a checkpoint, for the note in the archive. */
  async savedPhases(): Promise<SavedPhase[]> {
    const phases = await Promise.all(this.#file.phases.map(async (phase) => ({ ...phase, saved: await this.#lastStep(phase) })));
    return phases.flatMap(({ saved, ...phase }) => (saved === undefined ? [] : [{ ...phase, saved }]));
  }

  async #lastStep(phase: PhaseEntry): Promise<number | undefined> {
    return wholeCheckpoints(await this.#files.all(phase.folder)).at(-1);
  }

  #stepsOf(phase: PhaseEntry): number {
    return phaseOptions(this.#file.plan, phase.method, phase.first).steps;
  }

  async #configOf(checkpoint: string): Promise<unknown> {
    const path = `${checkpoint}/config.json`;
    const text = await (await this.#files.read(path))?.text();
    check(text !== undefined, "E_MISSING", () => `the run lacks ${path}`);
    return parseConfig(text, path);
  }

  #write(): Promise<void> {
    return this.#files.write(PROJECT_FILE, new Blob([`${JSON.stringify(this.#file, null, 2)}\n`]));
  }
}

/** A line of metrics.jsonl as the event that it was; nothing for a line that was cut off. */
function recordOf(line: string): PhaseRecord[] {
  try {
    const { evaluation, ...rest } = JSON.parse(line) as { evaluation?: Json } & Record<string, Json>;
    const event = evaluation === undefined ? { kind: "step", ...rest } : { kind: "evaluation", name: evaluation, ...rest };
    return [event as unknown as PhaseRecord];
  } catch {
    return [];
  }
}

/** Reads `tab.json`, which may come from anywhere. Throws `E_FORMAT`. */
export function parseProject(json: string): ProjectFile {
  const file = parseJson(json, PROJECT_FILE);
  const whole = isJsonObject(file) && file["format"] === 1 && typeof file["text"] === "string" && isJsonObject(file["plan"])
    && Array.isArray(file["phases"]) && file["phases"].every((phase) => isJsonObject(phase)
      && (phase["method"] === "zero" || phase["method"] === "state-passing") && typeof phase["first"] === "boolean"
      && typeof phase["folder"] === "string" && /^\d+-[a-z-]+$/.test(phase["folder"])
        && (phase["base"] === undefined || isInside(phase["base"])))
    && (file["loaded"] === undefined || (isJsonObject(file["loaded"]) && isInside(file["loaded"]["checkpoint"])));
  check(whole, "E_FORMAT", () => `${PROJECT_FILE} is not the description of a run of this page`);
  const project = file as unknown as ProjectFile;
  const [problem] = Object.entries(problemsOf(project.plan));
  check(problem === undefined, "E_FORMAT", () => `${PROJECT_FILE}: ${problem![0]}: ${problem![1]}`);
  return project;
}

/** Whether something names a checkpoint below the project's own folder. */
function isInside(path: unknown): boolean {
  return typeof path === "string" && /^\d+-[a-z-]+\/checkpoints\/step-\d+$/.test(path);
}
