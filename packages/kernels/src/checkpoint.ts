/** A model's parameters from a safetensors file and back, in names, order and shapes as the model and its checkpoint form give them. */
import type { Device } from "./device";
import { type DType, DTYPES } from "./dtype";
import { check } from "./errors";
import { isFloat } from "./fileDtype";
import { countNonFiniteF16 } from "./half";
import type { Parameters, SequenceModel } from "./model";
import { countNonFinite } from "./ops/optimizer";
import { encodeSafetensors, type Safetensors } from "./safetensors";
import { checkRoom } from "./room";
import { sameShape, showShape, sizeOf } from "./shape";
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
  model: SequenceModel<State>, weights: Safetensors, device: Device, options: LoadParametersOptions = {},
): Promise<Parameters> {
  const loaded: Record<string, Parameters[string]> = {};
  const { dtype = "f32" } = options;
  try {
    const typeOf = (name: string): DType => (dtype === "f16" && !(model.halves?.(name) ?? true) ? "f32" : dtype);
    const matched = matchNames(model, weights);
    const bytes = matched.reduce((sum, [name, stored]) => sum + sizeOf(weights.tensors[stored]!.shape) * DTYPES[typeOf(name)].bytes, 0);
    checkRoom(device, bytes, `weights: the model's, as ${dtype},`);
    for (const [name, stored] of matched) {
      loaded[name] = keep(await weights.load(stored, device, typeOf(name)));
      const count = await nonFinite(loaded[name]);
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
  if (t.dtype === "f16") return nonFiniteHalves(t);
  const counted = scope(() => countNonFinite({ t }));
  try {
    return await counted.item();
  } finally {
    counted.dispose();
  }
}

/** Halves that are read back at a time. */
const SLICE = 1 << 22;

/** No op counts f16. Loading is rare, and reading back is not slow beside it. */
async function nonFiniteHalves({ device, buffer, byteOffset, size }: Tensor): Promise<number> {
  let count = 0;
  for (let start = 0; start < size; start += SLICE) {
    const length = Math.min(SLICE, size - start);
    // A loaded tensor begins with its buffer, which holds pairs.
    const bytes = await device.read(buffer, byteOffset + 2 * start, 4 * Math.ceil(length / 2));
    count += countNonFiniteF16(new Uint16Array(bytes.buffer, bytes.byteOffset, length));
  }
  return count;
}

/** "1 tensor (a)", "4 tensors (a, b, c, ...)". */
function tensors(names: readonly string[]): string {
  return `${names.length} ${names.length === 1 ? "tensor" : "tensors"} (${names.slice(0, 3).join(", ")}${names.length > 3 ? ", ..." : ""})`;
}

/**
 * Which tensor of a file with so many names holds each parameter of a model, and which hold none. A parameter may have another name in
 * files, or stand there twice: its own name goes first, then those that the model writes, then others that it reads.
 */
export function storedNames(
  model: Pick<SequenceModel, "parameterShapes" | "checkpoint">, stored: readonly string[],
): { readonly names: ReadonlyMap<string, string>; readonly unknown: readonly string[] } {
  const shapes = model.parameterShapes();
  const { written = {}, read = {} } = model.checkpoint ?? {};
  const names = new Map<string, string>();
  const unknown = new Set(stored);
  for (const meant of [(name: string) => name, (name: string) => own(written, name), (name: string) => own(read, name)]) {
    for (const name of stored) {
      const parameter = meant(name);
      if (parameter === undefined || !Object.hasOwn(shapes, parameter)) continue;
      unknown.delete(name);
      if (!names.has(parameter)) names.set(parameter, name);
    }
  }
  return { names, unknown: [...unknown] };
}

const own = (table: Readonly<Record<string, string>>, name: string) => (Object.hasOwn(table, name) ? table[name] : undefined);

/** Pairs each parameter with its name in the file, after checking names and shapes against the configuration. */
export function matchNames<State extends Tree>(model: SequenceModel<State>, weights: Safetensors): [name: string, stored: string][] {
  const shapes = Object.entries(model.parameterShapes());
  const { names, unknown } = storedNames(model, Object.keys(weights.tensors));
  const missing = shapes.flatMap(([name]) => (names.has(name) ? [] : [name]));
  check(missing.length === 0, "E_WEIGHTS", () => `weights: the config asks for ${tensors(missing)}, not in the file`);
  check(unknown.length === 0, "E_WEIGHTS", () => `weights: the file holds ${tensors(unknown)}, not asked for by the config`);
  return shapes.map(([name, shape]) => {
    const stored = names.get(name)!;
    const { shape: found, dtype } = weights.tensors[stored]!;
    check(sameShape(found, shape), "E_WEIGHTS",
      () => `weights: ${stored} has shape ${showShape(found)}, the config asks for ${showShape(shape)}`);
    check(isFloat(dtype), "E_WEIGHTS", () => `weights: ${stored} holds ${dtype} numbers; parameters must be F32, F16, BF16 or F64 `
      + "(what was quantised has to be written as one of these first)");
    return [name, stored];
  });
}

/** The two files of a checkpoint, `config.json` as text and `model.safetensors` as streamed bytes. */
export function saveModel<State extends Tree>(
  model: Pick<SequenceModel<State>, "parameterShapes" | "checkpoint" | "config">, parameters: Parameters,
): { config: string; weights: AsyncIterable<Uint8Array> } {
  const own = Object.keys(model.parameterShapes()).map((name) => [name, name]);
  const { config, written } = model.checkpoint
    ?? { config: `${JSON.stringify(model.config, null, 2)}\n`, written: Object.fromEntries(own) as Record<string, string> };
  const stored = Object.fromEntries(Object.entries(written).map(([name, parameter]) => [name, parameters[parameter]!]));
  return { config, weights: encodeSafetensors(stored, { format: "pt" }) };
}
