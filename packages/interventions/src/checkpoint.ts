/**
 * Checkpoints: `config.json` and `model.safetensors` as published models have them, `optimizer.safetensors`
 * (the optimiser's memory, and the tensors of the source of initial states), and `trainer.json`. Together they are all that the next
 * step depends on.
 */
import {
  allBy, check, countNonFinite, type Device, dispose, encodeSafetensors, isJsonObject, keep, leaves, openSafetensors, openWeights,
  type Parameters, parametersIn, parseJsonBytes, sameShape, saveModel, type SequenceModel, showShape, type Tensor, WEIGHTS_FILE,
} from "@lenggen/kernels";
import type { InitialStates } from "./initialStates";
import type { Json } from "./json";
import type { Optimizer } from "./optimizer";
import type { Skipped } from "./meter";
import type { RunStore } from "./runStore";

/** `trainer.json`. */
interface TrainerState {
  readonly format: 1;
  /** Steps done. */
  readonly step: number;
  /** Targets trained on. */
  readonly tokens: number;
  readonly seconds: number;
  /** Steps that were skipped, where some were. */
  readonly skipped?: Skipped;
  /** The device that took the last of them, in words. */
  readonly device: string;
  /** Values of the source of initial states. */
  readonly initialStates: Json;
}

export interface Snapshot {
  readonly model: SequenceModel;
  readonly parameters: Parameters;
  readonly optimizer: Optimizer;
  readonly initialStates: InitialStates;
  readonly progress: Omit<TrainerState, "format" | "initialStates">;
  /** What else belongs to the model. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
}

const OPTIMIZER_FILE = "optimizer.safetensors";
/** Before the names of the tensors of the source of initial states there; all others are the optimiser's. */
const STATES = "states.";

/** How many numbers of what a checkpoint holds are not finite. */
export async function nonFiniteNumbers({ parameters, optimizer, initialStates }: Snapshot): Promise<number> {
  const count = countNonFinite([parameters, optimizer.save(), initialStates.save().tensors]);
  try {
    return await count.item();
  } finally {
    count.dispose();
  }
}

/** Throws `E_IO` when the store can't hold it. Must not overlap with a training step. */
export async function saveCheckpoint(
  store: RunStore, { model, parameters, optimizer, initialStates, progress, files = {} }: Snapshot,
): Promise<void> {
  const { tensors, values } = initialStates.save();
  const trainer: TrainerState = { format: 1, ...progress, initialStates: values };
  const { config, weights } = saveModel(model, parameters);
  await store.writeCheckpoint(progress.step, {
    ...Object.fromEntries(Object.entries(files).map(([name, bytes]) => [name, [bytes]])),
    "config.json": config,
    [WEIGHTS_FILE]: weights,
    [OPTIMIZER_FILE]: encodeSafetensors({ ...optimizer.save(), ...prefixed(STATES, tensors) }),
    "trainer.json": `${JSON.stringify(trainer, null, 2)}\n`,
  });
}

export interface RestoredInto {
  readonly model: SequenceModel;
  readonly device: Device;
  readonly optimizer: Optimizer;
  readonly initialStates: InitialStates;
}

export interface Restored {
  readonly parameters: Parameters;
  readonly progress: TrainerState;
}

/**
 * Loads a checkpoint and puts the optimiser and the source of initial states back to where they were. The parameters are the caller's.
 * Throws `E_FORMAT` for damaged files, `E_WEIGHTS` for weights that do not fit the model.
 */
export async function loadCheckpoint(
  store: RunStore, step: number, { model, device, optimizer, initialStates }: RestoredInto,
): Promise<Restored> {
  const progress = await loadTrainerState(store, step);
  const loaded: Record<string, Tensor>[] = [];
  try {
    const weights = await loadWeights(store, step, model, device);
    loaded.push(weights);
    const saved = await loadTensors(store, step, OPTIMIZER_FILE, device);
    loaded.push(saved);
    const where = store.checkpointPath(step);
    const parameters = pick(weights, model, `${where}/${WEIGHTS_FILE}`);
    const [states, memory] = parted(saved);
    optimizer.restore({ tensors: memory, where: `${where}/${OPTIMIZER_FILE}` }, parameters);
    initialStates.restore({ tensors: states, values: progress.initialStates });
    return { parameters, progress };
  } catch (error) {
    dispose(loaded);
    throw error;
  }
}

async function loadTrainerState(store: RunStore, step: number): Promise<TrainerState> {
  const where = `${store.checkpointPath(step)}/trainer.json`;
  const source = await store.openCheckpoint(step, "trainer.json");
  try {
    const state = parseJsonBytes(await source.read(0, source.size), where);
    const whole = isJsonObject(state) && state["format"] === 1 && state["step"] === step
      && typeof state["tokens"] === "number" && typeof state["seconds"] === "number";
    check(whole, "E_FORMAT", () => `${where} is not the state of a trainer at step ${step}`);
    return state as unknown as TrainerState;
  } finally {
    await source.close();
  }
}

async function loadTensors(store: RunStore, step: number, file: string, device: Device): Promise<Record<string, Tensor>> {
  const source = await store.openCheckpoint(step, file);
  try {
    return keep(await (await openSafetensors(source)).loadAll(device));
  } finally {
    await source.close();
  }
}

/** The tensors of a file that hold the model's parameters, by the model's names. */
async function loadWeights(store: RunStore, step: number, model: SequenceModel, device: Device): Promise<Record<string, Tensor>> {
  const file = await openWeights((name) => store.openCheckpoint(step, name));
  try {
    const { weights: found, unknown } = parametersIn(model, file);
    check(unknown.length === 0, "E_WEIGHTS", () =>
      `${store.checkpointPath(step)}/${WEIGHTS_FILE} holds ${unknown[0]}, which the configuration does not have`);
    return keep(await allBy(found.load, Object.keys(found.tensors))(device));
  } finally {
    await file.close();
  }
}

/** The model's parameters from a file's tensors. */
function pick(tensors: Readonly<Record<string, Tensor>>, model: SequenceModel, where: string): Parameters {
  const shapes = model.parameterShapes();
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => {
    const found = tensors[name];
    check(found, "E_WEIGHTS", () => `${where} lacks ${name}`);
    check(sameShape(found.shape, shape), "E_WEIGHTS", () =>
      `${where}: ${name} is ${showShape(found.shape)}; the configuration wants ${showShape(shape)}`);
    return [name, found];
  }));
}

function prefixed(prefix: string, tree: unknown): Record<string, Tensor> {
  return Object.fromEntries(leaves(tree).map(({ path, tensor }) => [prefix + path, tensor]));
}

/** What the source of initial states has saved, and what the optimiser has, by their own names. */
function parted(tensors: Readonly<Record<string, Tensor>>): [states: Record<string, Tensor>, memory: Record<string, Tensor>] {
  const [states, memory]: [Record<string, Tensor>, Record<string, Tensor>] = [{}, {}];
  for (const [name, found] of Object.entries(tensors)) {
    if (name.startsWith(STATES)) states[name.slice(STATES.length)] = found;
    else memory[name] = found;
  }
  return [states, memory];
}
