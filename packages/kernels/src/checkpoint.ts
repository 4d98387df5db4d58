/** A model's parameters from a safetensors file and back, in names, order and shapes as the model and its checkpoint form give them. */
import type { Device } from "./device";
import { type DType, DTYPES } from "./dtype";
import { check } from "./errors";
import { isFloat } from "./fileDtype";
import { countNonFiniteF16 } from "./half";
import type { Parameters, Rearranged, SequenceModel } from "./model";
import { countNonFinite } from "./ops/optimizer";
import { encodeStored, type FileTensor, type Safetensors, storedTensor, type StoredTensor } from "./safetensors";
import { checkRoom } from "./room";
import { sameShape, type Shape, showShape, sizeOf } from "./shape";
import { dispose, keep, scope, type Tensor } from "./tensor";
import type { Tree } from "./tree";

/** Options of {@link loadParameters}. */
export interface LoadParametersOptions {
  /** f32 unless given. With f16 those parameters are that the model lets be ({@link SequenceModel.halves}), and the others f32. */
  readonly dtype?: DType;
}

/**
 * Loads all parameters of a model onto a device; half precision is widened unless f16 is asked for. The caller disposes them. Throws
 * `E_FORMAT` for a damaged file, `E_WEIGHTS` for missing, unknown or misshapen tensors, for others than floats (a quantised file's whole
 * numbers mean nothing without their scales), and for NaN or infinity among the numbers, be it because they are too large for f16;
 * `E_MEMORY` before any is loaded when they have no room together.
 */
export async function loadParameters<State extends Tree>(
  model: SequenceModel<State>, file: Safetensors, device: Device, options: LoadParametersOptions = {},
): Promise<Parameters> {
  const loaded: Record<string, Parameters[string]> = {};
  const { dtype = "f32" } = options;
  try {
    const typeOf = (name: string): DType => (dtype === "f16" && !(model.halves?.(name) ?? true) ? "f32" : dtype);
    const { weights, names } = allParameters(model, file);
    const bytes = Object.entries(weights.tensors).reduce((sum, [name, { shape }]) => sum + sizeOf(shape) * DTYPES[typeOf(name)].bytes, 0);
    checkRoom(device, bytes, `weights: the model's, as ${dtype},`);
    for (const [name, stored] of names) {
      let halves = 0; // of f16, which no op counts
      loaded[name] = keep(await weights.load(name, device, typeOf(name), (bytes, type) => {
        if (type !== "f16") return;
        const even = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
        halves += countNonFiniteF16(new Uint16Array(even.buffer, even.byteOffset, even.length / 2));
      }));
      const count = loaded[name].dtype === "f16" ? halves : await nonFinite(loaded[name]);
      check(count === 0, "E_WEIGHTS",
        () => `weights: ${stored} holds ${count} ${count === 1 ? "number that is" : "numbers that are"} NaN or infinite`
        + (loaded[name]!.dtype === "f16" ? " as f16, whose largest number is 65,504" : ""));
    }
  } catch (error) {
    dispose(loaded);
    throw error;
  }
  return loaded;
}

/** How many of a tensor's numbers are NaN or infinite. */
async function nonFinite(t: Tensor): Promise<number> {
  const counted = scope(() => countNonFinite({ t }));
  try {
    return await counted.item();
  } finally {
    counted.dispose();
  }
}

/** "1 tensor (a)", "4 tensors (a, b, c, ...)". */
function tensors(names: readonly string[]): string {
  return `${names.length} ${names.length === 1 ? "tensor" : "tensors"} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""})`;
}

/** A model's parameters in a file, by their own names, shapes and order, whatever the file's layout calls them and however it has them. */
export interface ParametersInFile {
  /** Those that are there. One that stands in another form has its own shape, and the type of the tensor that holds it. */
  readonly weights: Pick<Safetensors, "tensors" | "load">;
  /** What the file calls each of them. */
  readonly names: ReadonlyMap<string, string>;
  /** Those that are tensors of their own in the file, as the model has them. */
  readonly plain: ReadonlySet<string>;
  /** Names in the file that are none of the model's. */
  readonly unknown: readonly string[];
}

/**
 * Finds a model's parameters in a file. One may have another name there, or stand there twice: its own name goes first, then those that the
 * model writes, then others that it reads. Throws `E_WEIGHTS` for a misshapen tensor that would have to be rearranged.
 */
export function parametersIn(
  model: Pick<SequenceModel, "parameterShapes" | "checkpoint">, weights: Pick<Safetensors, "tensors" | "load">,
): ParametersInFile {
  const shapes = model.parameterShapes();
  const { written = {}, read = {}, rearranged = {} } = model.checkpoint ?? {};
  const stored = Object.keys(weights.tensors);
  const found = new Map<string, Place>();
  const unknown = new Set(stored);
  for (const meant of [(name: string) => name, (name: string) => own(written, name), (name: string) => own(read, name)]) {
    for (const name of stored) {
      const parameter = meant(name);
      if (parameter === undefined || !Object.hasOwn(shapes, parameter)) continue;
      unknown.delete(name);
      if (!found.has(parameter)) found.set(parameter, { name, info: weights.tensors[name]! });
    }
  }
  for (const [name, form] of Object.entries(rearranged)) {
    const held = Object.hasOwn(weights.tensors, name) ? weights.tensors[name] : undefined;
    if (held === undefined) continue;
    checkStored(name, held.shape, form.shape);
    unknown.delete(name);
    for (const [index, parameter] of form.parameters.entries()) {
      if (!found.has(parameter)) found.set(parameter, { name, info: { ...held, shape: shapes[parameter]! }, part: { form, index } });
    }
  }
  const inOrder = Object.keys(shapes).flatMap((name) => (found.has(name) ? [[name, found.get(name)!] as const] : []));
  return {
    weights: {
      tensors: Object.fromEntries(inOrder.map(([name, { info }]) => [name, info])),
      load: async (name, ...how) => {
        const place = found.get(name);
        check(place, "E_UNKNOWN_NAME", () => `weights: the file holds no parameter ${name}`);
        const whole = await weights.load(place.name, ...how);
        if (!place.part) return whole;
        const { form, index } = place.part;
        try {
          return keep(scope(() => form.part(whole, index)));
        } finally {
          whole.dispose();
        }
      },
    },
    names: new Map(inOrder.map(([name, place]) => [name, place.name])),
    plain: new Set(inOrder.filter(([, place]) => !place.part).map(([name]) => name)),
    unknown: [...unknown],
  };
}

/** Where a parameter is: in a tensor of its own, or in one that holds it in another form. */
interface Place {
  readonly name: string;
  readonly info: FileTensor;
  readonly part?: { readonly form: Rearranged; readonly index: number };
}

const own = (table: Readonly<Record<string, string>>, name: string) => (Object.hasOwn(table, name) ? table[name] : undefined);

function checkStored(name: string, found: Shape, wanted: Shape): void {
  check(sameShape(found, wanted), "E_WEIGHTS",
    () => `weights: ${name} has shape ${showShape(found)}, the config asks for ${showShape(wanted)}`);
}

/** Finds every parameter, after checking names and shapes against the configuration. Throws `E_WEIGHTS`. */
export function allParameters<State extends Tree>(model: SequenceModel<State>, file: Safetensors): ParametersInFile {
  const found = parametersIn(model, file);
  const { names, unknown, weights } = found;
  const shapes = Object.entries(model.parameterShapes());
  const missing = shapes.flatMap(([name]) => (names.has(name) ? [] : [name]));
  check(missing.length === 0, "E_WEIGHTS", () => `weights: the config asks for ${tensors(missing)}, not in the file`);
  check(unknown.length === 0, "E_WEIGHTS", () => `weights: the file holds ${tensors(unknown)}, not asked for by the config`);
  for (const [name, shape] of shapes) {
    const { shape: stored, dtype } = weights.tensors[name]!;
    checkStored(names.get(name)!, stored, shape);
    check(isFloat(dtype), "E_WEIGHTS", () => `weights: ${names.get(name)} holds ${dtype} numbers; parameters must be F32, F16, BF16 or F64 `
      + "(what was quantised has to be written as one of these first)");
  }
  return found;
}

/** The two files of a checkpoint, `config.json` as text and `model.safetensors` as streamed bytes. */
export function saveModel<State extends Tree>(
  model: Pick<SequenceModel<State>, "parameterShapes" | "checkpoint" | "config">, parameters: Parameters,
): { config: string; weights: AsyncIterable<Uint8Array> } {
  const own = Object.keys(model.parameterShapes()).map((name) => [name, name]);
  const { config, written, rearranged = {} } = model.checkpoint
    ?? { config: `${JSON.stringify(model.config, null, 2)}\n`, written: Object.fromEntries(own) as Record<string, string> };
  const stored: StoredTensor[] = [
    ...Object.entries(written).map(([name, parameter]) => storedTensor(name, parameters[parameter]!)),
    ...Object.entries(rearranged).filter(([, { older }]) => !older).map(([name, { shape, parameters: parts, join }]) => {
      const own = parts.map((part) => parameters[part]!);
      return { path: name, shape, dtype: own[0]!.dtype, tensor: () => keep(scope(() => join(own))) };
    }),
  ];
  return { config, weights: encodeStored(stored, { format: "pt" }) };
}
