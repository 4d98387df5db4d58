/**
 * The state of any model as a file, to go on from with the same bits: a safetensors file of the state's leaves, with what it belongs to
 * in its metadata: family, configuration, and digests of the parameters and of the state itself.
 */
import type { Device } from "./device";
import { check, LenggenError } from "./errors";
import { deviceOf, type Parameters, type SequenceModel } from "./model";
import { digestOf } from "./digest";
import { encodeSafetensors, openSafetensors, type Safetensors } from "./safetensors";
import { showShape } from "./shape";
import type { ByteSource } from "./source";
import { isJsonObject, type Json, parseJson, quote } from "./strictJson";
import { withoutGradient } from "./tape";
import { dispose, disposeExcept, keep, scope, type Tensor } from "./tensor";
import { leaves, mapTree, type Tree } from "./tree";

/** Where every stream starts. */
export const START: StreamPlace = { read: 0, seed: 0, drawn: 0 };

const FORMAT = "lenggen-state";
const VERSION = "1";

/** Where in its stream a state stands: what going on to the same tokens needs beside it. */
export interface StreamPlace {
  /** Tokens that the state has read. */
  readonly read: number;
  /**
   * The stream's last token, which the state has not read yet: the model made it, or it is the last of a prompt, which is read so that
   * what follows sees what the prompt retrieves. Absent when all has been read: then only a prompt can follow.
   */
  readonly unread?: { readonly token: number; readonly by: "prompt" | "model" };
  /** Where the random numbers of the tokens made so far started. */
  readonly seed: number;
  /** Tokens made so far: which random number comes next. */
  readonly drawn: number;
  /** Hash of the tokenizer that the stream's ids are of, for who reads and writes text; absent where nobody told it. */
  readonly tokenizer?: string;
}

/** A state as {@link loadState} gives it. */
export interface LoadedState<State> {
  /** The caller's to dispose. */
  readonly state: State;
  readonly place: StreamPlace;
}

/**
 * The bytes of a state's file, piece by piece: for `writeWhole`, or for whatever keeps them. State and parameters must live until the last
 * piece, and stay as they are. Equal input gives equal bytes.
 */
export async function* saveState<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, state: State, place: StreamPlace,
): AsyncGenerator<Uint8Array, void, void> {
  const trimmed = model.stateFiles?.trimmed;
  const held = trimmed ? withoutGradient(() => keep(scope(() => trimmed(state)))) : state;
  try {
    yield* encodeSafetensors(held, {
      format: FORMAT, version: VERSION, family: model.family, config: JSON.stringify(model.config),
      weights: await weightsOf(model, parameters), state: await digestOf(held), place: JSON.stringify(place),
    });
  } finally {
    disposeExcept(held, state);
  }
}

/** Options of {@link loadState}. */
export interface LoadStateOptions {
  /** How many streams side by side the state must hold; any number unless given. */
  readonly batch?: number;
  /** Takes a file that says nothing of what it belongs to as well, as states of the first saved streams do. */
  readonly unnamed?: boolean;
}

/**
 * A state from its file, onto the device of the parameters, which may be another than it was saved from. Throws `E_FORMAT` when the file is
 * damaged or no state, `E_CONFIG` when it is another model's, `E_WEIGHTS` when the model had other parameters, `E_SHAPE` for another
 * `batch` than the one wanted.
 */
export async function loadState<State extends Tree>(
  model: SequenceModel<State>, parameters: Parameters, source: ByteSource, { batch, unnamed = false }: LoadStateOptions = {},
): Promise<LoadedState<State>> {
  const name = source.name ?? "state";
  const file = await openSafetensors(source);
  const { metadata } = file;
  const named = !(unnamed && metadata["format"] === undefined);
  const place = named ? checkMetadata(name, metadata, model) : START;
  const device = deviceOf(parameters);
  const empty = keep(model.initialState(1, device));
  try {
    const rows = checkLeaves(name, file, model, empty);
    check(batch === undefined || rows === batch, "E_SHAPE", () =>
      `${name}: holds the states of ${rows} streams side by side; ${batch} were expected`);
    check(!named || metadata["weights"] === (await weightsOf(model, parameters)), "E_WEIGHTS", () =>
      `${name}: is the state of a ${model.family} with other parameters; go on with the checkpoint that it was made with`);
    return { state: await loadLeaves(name, file, model, empty, device), place };
  } finally {
    dispose(empty);
  }
}

/** Whether this is a file that {@link saveState} made, of whatever model. */
export async function isSavedState(source: ByteSource): Promise<boolean> {
  try {
    return (await openSafetensors(source)).metadata["format"] === FORMAT;
  } catch (error) {
    if (error instanceof LenggenError && error.code === "E_FORMAT") return false;
    throw error;
  }
}

function weightsOf(model: Pick<SequenceModel, "parameterShapes">, parameters: Parameters): Promise<string> {
  return digestOf(Object.fromEntries(Object.keys(model.parameterShapes()).map((name) => [name, parameters[name]])));
}

/** Whether this is a state, of this version and this model; gives its place. */
function checkMetadata(name: string, metadata: Readonly<Record<string, string>>, model: Pick<SequenceModel,
  "family" | "config" | "vocabulary">): StreamPlace {
  const { format, version = "", family = "" } = metadata;
  check(format === FORMAT, "E_FORMAT", () => `${name}: is no saved state; its metadata lacks the format ${FORMAT}`);
  check(version === VERSION, "E_FORMAT", () => `${name}: is a state of version ${quote(version)}; this program reads ${VERSION}`);
  check(family === model.family, "E_CONFIG",
    () => `${name}: is the state of a model of family ${quote(family)}; this one is a ${model.family}`);
  const config = parseJson(metadata["config"] ?? "", `${name}: config`);
  check(isJsonObject(config), "E_FORMAT", () => `${name}: its config must be a JSON object`);
  const [theirs, ours] = [config, JSON.parse(JSON.stringify(model.config)) as Record<string, unknown>]
    .map((fields) => new Map(Object.entries(fields).map(([field, value]) => [field, JSON.stringify(value)])));
  for (const field of new Set([...ours!.keys(), ...theirs!.keys()])) {
    check(ours!.get(field) === theirs!.get(field), "E_CONFIG", () =>
      `${name}: is of another model: its ${quote(field)} is ${theirs!.get(field) ?? "absent"}, that of this model `
        + (ours!.get(field) ?? "absent"));
  }
  return placeFrom(parseJson(metadata["place"] ?? "", `${name}: place`), name, model.vocabulary);
}

const isCount = (value: Json | undefined): value is number => typeof value === "number" && Number.isSafeInteger(value) && value >= 0;

function placeFrom(json: Json, name: string, vocabulary: number): StreamPlace {
  check(isJsonObject(json) && isCount(json["read"]) && isCount(json["seed"]) && isCount(json["drawn"]), "E_FORMAT", () =>
    `${name}: place must have the whole numbers read, seed and drawn`);
  const { read, seed, drawn, unread, tokenizer } = json as { read: number; seed: number; drawn: number; unread?: Json; tokenizer?: Json };
  check(tokenizer === undefined || typeof tokenizer === "string", "E_FORMAT", () => `${name}: place: tokenizer must be a hash`);
  const stands = { read, seed, drawn, ...(tokenizer !== undefined && { tokenizer }) };
  if (unread === undefined) return stands;
  check(isJsonObject(unread) && isCount(unread["token"]) && unread["token"] < vocabulary
    && (unread["by"] === "prompt" || unread["by"] === "model"),
    "E_FORMAT", () => `${name}: place: unread must have a token below ${vocabulary}, by prompt or model`);
  return { ...stands, unread: { token: unread["token"], by: unread["by"] } };
}

/** Throws `E_FORMAT` unless the file holds a state's leaves, in shapes that fit each other; gives the batch. Nothing is loaded yet. */
function checkLeaves<State extends Tree>(name: string, { tensors }: Safetensors, model: SequenceModel<State>, empty: State): number {
  const of = (path: string): readonly number[] => (Object.hasOwn(tensors, path) ? tensors[path]!.shape : []);
  const parts = leaves(empty);
  const batch = of(parts[0]!.path)[0] ?? 0;
  check(batch >= 1, "E_FORMAT", () => `${name}: tensor ${parts[0]!.path} should be there, with one row or more`);
  const wanted = model.stateFiles?.shapes(batch, of)
    ?? Object.fromEntries(parts.map(({ path, tensor }) => [path, tensor.shape.with(0, batch)]));
  for (const { path, tensor } of parts) {
    check(Object.hasOwn(tensors, path) && showShape(of(path)) === showShape(wanted[path]!), "E_FORMAT", () =>
      `${name}: tensor ${path} should have shape ${showShape(wanted[path]!)}, but `
        + (Object.hasOwn(tensors, path) ? `has ${showShape(of(path))}` : "is missing"));
    const { dtype } = tensors[path]!;
    check(tensor.dtype === "i32" ? dtype === "I32" : dtype === "F32" || dtype === "F64", "E_FORMAT",
      () => `${name}: tensor ${path} can't be ${dtype}`);
  }
  const unknown = Object.keys(tensors).find((path) => !Object.hasOwn(wanted, path));
  check(unknown === undefined, "E_FORMAT", () => `${name}: holds ${quote(unknown!)}, which is not part of a state of this model`);
  return batch;
}

async function loadLeaves<State extends Tree>(
  name: string, file: Safetensors, model: SequenceModel<State>, empty: State, device: Device,
): Promise<State> {
  const loaded = await file.loadAll(device);
  try {
    const state = mapTree<unknown>(empty, (_, path): Tensor => loaded[path]!) as State;
    check(file.metadata["state"] === undefined || file.metadata["state"] === (await digestOf(state)), "E_FORMAT",
      () => `${name}: its numbers are not those that were saved; the file is damaged`);
    await model.stateFiles?.check?.(state, name);
    return state;
  } catch (error) {
    dispose(Object.values(loaded));
    throw error;
  }
}
