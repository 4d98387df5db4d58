/** A model's numbers for a file, parameter by parameter: from tensors, or slice by slice from a checkpoint. */
import { allParameters } from "../checkpoint";
import type { Device } from "../device";
import { check } from "../errors";
import { decode, FILE_DTYPES, type FileDType } from "../fileDtype";
import type { Parameters, SequenceModel } from "../model";
import { readSlice } from "../safetensors";
import { quote } from "../strictJson";
import type { Tensor } from "../tensor";
import type { TensorFile } from "../tensorFile";

/** Elements read at a time; even, as halves lie in pairs. */
const SLICE = 1 << 20;

/** The numbers of the parameter of that name, in order, in pieces. Throws `E_UNKNOWN_NAME` for a name that the model has not. */
export type ParameterNumbers = (name: string) => AsyncIterable<Float32Array>;

/** Those of parameters in memory, which must live until all are read. */
export function numbersOf(parameters: Parameters): ParameterNumbers {
  return (name) => {
    check(Object.hasOwn(parameters, name), "E_UNKNOWN_NAME", () => `parameters: there is none named ${quote(name)}`);
    return slices(parameters[name]!);
  };
}

/**
 * Those of a checkpoint, which is held against the model at once (`E_WEIGHTS`, as `loadParameters`). What the file has in the same form is
 * read slice by slice; what its layout has otherwise is rearranged on the device, which is little.
 */
export function numbersIn(model: SequenceModel, file: TensorFile, device: Device): ParameterNumbers {
  const { weights, names } = allParameters(model, file);
  const { rearranged = {} } = model.checkpoint ?? {};
  return (name) => {
    const stored = names.get(name);
    check(stored !== undefined, "E_UNKNOWN_NAME", () => `weights: the model has no parameter named ${quote(name)}`);
    if (Object.hasOwn(rearranged, stored)) return loaded(() => weights.load(name, device, "f32"));
    return decoded(file.bytes(stored), file.tensors[stored]!.dtype as FileDType, `weights: ${stored}`);
  };
}

async function* loaded(load: () => Promise<Tensor>): AsyncIterable<Float32Array> {
  const tensor = await load();
  try {
    yield* slices(tensor);
  } finally {
    tensor.dispose();
  }
}

async function* decoded(pieces: AsyncIterable<Uint8Array>, dtype: FileDType, what: string): AsyncIterable<Float32Array> {
  for await (const bytes of pieces) {
    const values = new Float32Array(bytes.length / FILE_DTYPES[dtype].BYTES_PER_ELEMENT);
    decode(bytes, dtype, values, "f32", what);
    yield values;
  }
}

async function* slices(tensor: Tensor): AsyncIterable<Float32Array> {
  for (let start = 0; start < tensor.size; start += SLICE) {
    const values = await readSlice(tensor, start, Math.min(SLICE, tensor.size - start));
    yield values instanceof Float32Array ? values : Float32Array.from(values);
  }
}
