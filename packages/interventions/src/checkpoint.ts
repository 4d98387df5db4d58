/**
 * Checkpoints: `config.json` and `model.safetensors` as published models have them, `optimizer.safetensors`
 * (moments, and the tensors of the source of initial states), and `trainer.json`. Together they are all that the next
 * step depends on.
 */
import {
  check, countNonFinite, type Device, dispose, encodeSafetensors, isJsonObject, keep, leaves, openSafetensors, openWeights, type Parameters,
  parseJsonBytes, sameShape, type SequenceModel, showShape, type Tensor, type Weights,
} from "@lenggen/kernels";
import type { InitialStates } from "./initialStates";
import type { Json } from "./json";
import type { Moments } from "./optimizer";
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
  readonly moments: Moments;
  readonly initialStates: InitialStates;
  readonly progress: Omit<TrainerState, "format" | "initialStates">;
}

const PREFIX = { m: "m.", v: "v.", states: "states." } as const;

/** How many numbers of what a checkpoint holds are not finite. */
export async function nonFiniteNumbers({ parameters, moments, initialStates }: Snapshot): Promise<number> {
  const count = countNonFinite([parameters, moments, initialStates.save().tensors]);
  try {
    return await count.item();
  } finally {
    count.dispose();
  }
}

/** Throws `E_IO` when the store can't hold it. Must not overlap with a training step. */
export async function saveCheckpoint(store: RunStore, { model, parameters, moments, initialStates, progress }: Snapshot): Promise<void> {
  const { tensors, values } = initialStates.save();
  const trainer: TrainerState = { format: 1, ...progress, initialStates: values };
  await store.writeCheckpoint(progress.step, {
    "config.json": `${JSON.stringify(model.config, null, 2)}\n`,
    "model.safetensors": encodeSafetensors(parameters, { format: "pt" }),
    "optimizer.safetensors": encodeSafetensors({
      ...prefixed(PREFIX.m, moments.m), ...prefixed(PREFIX.v, moments.v), ...prefixed(PREFIX.states, tensors),
    }),
    "trainer.json": `${JSON.stringify(trainer, null, 2)}\n`,
  });
}

export interface Restored {
  readonly parameters: Parameters;
  readonly moments: Moments;
  readonly progress: TrainerState;
}

/**
 * Loads a checkpoint and puts the source of initial states back to where it was. The tensors are the caller's. Throws
 * `E_FORMAT` for damaged files, `E_WEIGHTS` for weights that do not fit the model.
 */
export async function loadCheckpoint(
  store: RunStore, step: number, model: SequenceModel, device: Device, initialStates: InitialStates,
): Promise<Restored> {
  const progress = await loadTrainerState(store, step);
  const loaded: Record<string, Tensor>[] = [];
  try {
    const weights = await loadAll(await openWeights((name) => store.openCheckpoint(step, name)), device);
    loaded.push(weights);
    const saved = await loadTensors(store, step, "optimizer.safetensors", device);
    loaded.push(saved);
    const where = store.checkpointPath(step);
    const parameters = pick(weights, "", model, `${where}/model.safetensors`);
    const m = pick(saved, PREFIX.m, model, `${where}/optimizer.safetensors`);
    const v = pick(saved, PREFIX.v, model, `${where}/optimizer.safetensors`);
    initialStates.restore({ tensors: withoutPrefix(PREFIX.states, saved), values: progress.initialStates });
    return { parameters, moments: { m, v }, progress };
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

async function loadAll(weights: Weights, device: Device): Promise<Record<string, Tensor>> {
  try {
    return keep(await weights.loadAll(device));
  } finally {
    await weights.close();
  }
}

/** The model's parameters, or tensors shaped like them, from a file's tensors. */
function pick(tensors: Readonly<Record<string, Tensor>>, prefix: string, model: SequenceModel, where: string): Parameters {
  const shapes = model.parameterShapes();
  const extra = Object.keys(tensors).find((name) => prefix === "" && !Object.hasOwn(shapes, name));
  check(extra === undefined, "E_WEIGHTS", () => `${where} holds ${extra}, which the configuration does not have`);
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => {
    const found = tensors[prefix + name];
    check(found, "E_WEIGHTS", () => `${where} lacks ${prefix}${name}`);
    check(sameShape(found.shape, shape), "E_WEIGHTS", () =>
      `${where}: ${prefix}${name} is ${showShape(found.shape)}; the configuration wants ${showShape(shape)}`);
    return [name, found];
  }));
}

function prefixed(prefix: string, tree: unknown): Record<string, Tensor> {
  return Object.fromEntries(leaves(tree).map(({ path, tensor }) => [prefix + path, tensor]));
}

function withoutPrefix(prefix: string, tensors: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(
    Object.entries(tensors).filter(([name]) => name.startsWith(prefix)).map(([name, found]) => [name.slice(prefix.length), found]));
}
